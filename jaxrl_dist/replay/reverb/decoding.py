"""Bytes of a server to arrays, with every size checked before memory is taken.

Whatever the bytes say, the outcome is arrays of the expected shapes and dtypes, or a
ProtocolError. Nothing is executed, and no more is allocated than the limits allow.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cramjam
import numpy as np

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.connection import parse
from jaxrl_dist.replay.reverb.dtypes import dtype_of_number
from jaxrl_dist.replay.reverb.encoding import delta_encodable, varint
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError

_CACHED_SHAPES = 1024
_CACHED_LAYOUTS = 256
MAX_AXES = 32


class Slice(NamedTuple):
    """Consecutive rows of one tensor of a chunk."""

    chunk: int  # key
    offset: int
    length: int
    tensor: int  # which of the chunk's


class Column(NamedTuple):
    """Where the rows of one column of an item are."""

    slices: tuple[Slice, ...]
    squeeze: bool  # a single row without a row axis


class Decoder:
    """Decodes items, remembering shapes and layouts it has seen.

    Args:
        max_item_bytes: uncompressed size of the largest chunk or column, from 1.
    """

    def __init__(self, max_item_bytes: int):
        self._max_bytes = max_item_bytes
        self._shapes: dict[tuple[int, bytes], tuple] = {}
        self._layouts: dict[tuple, tuple[Column, ...]] = {}

    def columns(
        self, trajectory: bytes, chunk_keys: Sequence[int]
    ) -> tuple[Column, ...]:
        """Reads where the rows of an item's columns are.

        Args:
            trajectory: an encoded FlatTrajectory.
            chunk_keys: of the chunks that came with the item. The layout of an item of
                one chunk is looked up with the key cut out, for it is mostly the same.

        Raises:
            ProtocolError: it is malformed, or names rows that cannot be.
        """
        if len(chunk_keys) != 1:
            return self._read_columns(trajectory)
        key = chunk_keys[0]
        encoded_key = b"\x08" + varint(key)
        layout = (len(encoded_key), *trajectory.split(encoded_key))
        columns = self._layouts.get(layout)
        if columns is None:
            columns = self._read_columns(trajectory)
            # Cutting is reversible, so equal pieces mean equal bytes but for the key.
            # Only if the cuts are exactly where the keys are does that mean an equal
            # layout, too.
            slices = [each for column in columns for each in column.slices]
            plain = tuple(
                column._replace(
                    slices=tuple(s._replace(chunk=0) for s in column.slices)
                )
                for column in columns
            )
            if len(layout) - 2 == len(slices) and all(s.chunk == key for s in slices):
                if len(self._layouts) >= _CACHED_LAYOUTS:
                    self._layouts.clear()
                self._layouts[layout] = plain
            else:
                return columns
            columns = plain
        return columns

    def tensor_shape(self, tensor: Any) -> tuple[tuple[int, ...], np.dtype, int]:
        """The shape, dtype and size in bytes of an encoded tensor.

        Raises:
            ProtocolError: they are impossible, unknown or too large.
        """
        cached = self._shapes.get((tensor.dtype, tensor.tensor_shape))
        if cached is not None:
            return cached
        message = parse(wire.TensorShape, tensor.tensor_shape)
        dtype = dtype_of_number(tensor.dtype)
        shape = tuple(dim.size for dim in message.dim)
        if message.unknown_rank or not 1 <= len(shape) <= MAX_AXES or min(shape) < 0:
            raise ProtocolError(f"a chunk's tensor has the impossible shape {shape}")
        num_bytes = math.prod(shape) * dtype.itemsize
        largest = math.prod(size for size in shape if size) * dtype.itemsize
        if largest > self._max_bytes:
            raise ProtocolError(
                f"a tensor of shape {shape} is larger than {self._max_bytes} bytes"
            )
        if len(self._shapes) >= _CACHED_SHAPES:
            self._shapes.clear()
        found = (shape, dtype, num_bytes)
        self._shapes[tensor.dtype, tensor.tensor_shape] = found
        return found

    def _read_columns(self, trajectory: bytes) -> tuple[Column, ...]:
        message = parse(wire.FlatTrajectory, trajectory)
        columns = []
        for column in message.columns:
            slices = tuple(
                Slice(part.chunk_key, part.offset, part.length, part.index)
                for part in column.chunk_slices
            )
            if not slices or any(min(each[1:]) < 0 or not each[2] for each in slices):
                raise ProtocolError(f"an item names impossible rows: {slices[:3]}")
            if column.squeeze and (len(slices) != 1 or slices[0].length != 1):
                raise ProtocolError("a column without a row axis has several rows")
            columns.append(Column(slices, column.squeeze))
        return tuple(columns)


def decompress_into(content: bytes, target: Any) -> None:
    """Decompresses into the whole of a contiguous array of bytes.

    Args:
        content: raw snappy.
        target: [size] uint8 array, written.

    Raises:
        ProtocolError: the content is corrupt or of another size.
    """
    try:
        if cramjam.snappy.decompress_raw_len(content) != target.size:
            raise ProtocolError(f"a tensor's content is not {target.size} bytes long")
        if target.size:
            cramjam.snappy.decompress_raw_into(content, target)
    except cramjam.DecompressionError as error:
        raise ProtocolError(f"a tensor's content is corrupt: {error}") from None


def delta_decode(rows: np.ndarray) -> None:
    """Undoes the differencing of integer rows along the leading axis, in place."""
    unsigned = rows.view(f"u{rows.dtype.itemsize}")
    for index in range(1, len(unsigned)):
        unsigned[index] += unsigned[index - 1]


class ChunkReader:
    """Decompresses the tensors of one item's chunks, each once."""

    def __init__(self, decoder: Decoder, chunks: Sequence[Any]):
        self._decoder = decoder
        self._chunks = {chunk.chunk_key: chunk for chunk in chunks}
        self._tensors: dict[tuple[int, int], np.ndarray] = {}

    def find(self, part: Slice, only: bool) -> Any:
        """The encoded tensor that holds a slice, and its chunk.

        Args:
            part: the slice.
            only: the item has one chunk, whatever key the slice names.

        Raises:
            ProtocolError: the chunk or tensor did not come with the item.
        """
        if only:
            (chunk,) = self._chunks.values()
        else:
            chunk = self._chunks.get(part.chunk)
            if chunk is None:
                raise ProtocolError(f"chunk {part.chunk} did not come with its item")
        tensors = chunk.data.tensors
        if part.tensor >= len(tensors):
            raise ProtocolError(f"a chunk has no tensor {part.tensor}")
        return chunk, tensors[part.tensor]

    def rows(self, part: Slice, only: bool) -> np.ndarray:
        """The rows of a slice.

        Raises:
            ProtocolError: there are no such rows, or their bytes are corrupt.
        """
        chunk, tensor = self.find(part, only)
        found = self._tensors.get((chunk.chunk_key, part.tensor))
        if found is None:
            shape, dtype, _ = self._decoder.tensor_shape(tensor)
            found = np.empty(shape, dtype)
            decompress_into(tensor.tensor_content, _as_bytes(found))
            if chunk.delta_encoded and delta_encodable(dtype, len(shape)):
                delta_decode(found)
            self._tensors[chunk.chunk_key, part.tensor] = found
        if part.offset + part.length > len(found):
            raise ProtocolError(
                f"rows {part.offset} to {part.offset + part.length} of a chunk "
                f"of {len(found)}"
            )
        return found[part.offset : part.offset + part.length]


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def check_column(path: str, expected: Any, shape: Sequence[int], dtype: Any) -> None:
    """Checks that decoded rows are what a signature promises.

    Raises:
        SignatureError: they are not.
    """
    fits = dtype == expected.dtype and len(shape) == len(expected.shape)
    if not fits or any(
        want is not None and want != have
        for want, have in zip(expected.shape, shape, strict=True)
    ):
        raise SignatureError(
            f"{path} is {dtype}{list(shape)}, but the signature says "
            f"{expected.dtype}{list(expected.shape)}"
        )
