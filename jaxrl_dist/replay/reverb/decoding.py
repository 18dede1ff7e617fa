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
from jaxrl_dist.replay.reverb.encoding import delta_encodable
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.replay.reverb.varints import varint

_CACHED_SHAPES = 1024
_CACHED_LAYOUTS = 256
_MOST_CHUNKS = 6  # of an item whose layout is remembered
_LEAST_KEY_BYTES = 8
MAX_AXES = 32


class Slice(NamedTuple):
    """Consecutive rows of one tensor of a chunk."""

    chunk: int  # which of the chunks that came with the item
    offset: int
    length: int
    tensor: int  # which of the chunk's


class Column(NamedTuple):
    """Where the rows of one column of an item are."""

    slices: tuple[Slice, ...]
    squeeze: bool  # a single row without a row axis


class _Layout(NamedTuple):
    """A trajectory that was read before, as it would be with other keys."""

    pieces: tuple[bytes, ...]  # between the keys
    chunks: tuple[int, ...]  # whose key stands after each piece but the last
    columns: tuple[Column, ...]


class Decoder:
    """Decodes items, remembering shapes and layouts it has seen.

    Args:
        max_item_bytes: uncompressed size of the largest chunk or column, from 1.
    """

    def __init__(self, max_item_bytes: int):
        self._max_bytes = max_item_bytes
        self._shapes: dict[tuple[int, bytes], tuple] = {}
        self._layouts: dict[tuple[int, ...], _Layout] = {}
        self._scratch = np.empty(0, np.uint8)

    def columns(
        self, trajectory: bytes, chunk_keys: Sequence[bytes]
    ) -> tuple[Column, ...]:
        """Reads where the rows of an item's columns are.

        Mostly, only the keys differ from item to item. A layout that was read before
        is used again if its bytes, with these keys put in, are the trajectory's.

        Args:
            trajectory: an encoded FlatTrajectory.
            chunk_keys: encoded, of the chunks that came with the item.

        Raises:
            ProtocolError: it is malformed, or names rows that cannot be.
        """
        if len(chunk_keys) > _MOST_CHUNKS:
            return self._read_columns(trajectory, chunk_keys)
        lengths = (len(trajectory), *map(len, chunk_keys))
        layout = self._layouts.get(lengths)
        if layout is not None:
            if len(chunk_keys) == 1:
                expected = chunk_keys[0].join(layout.pieces)
            else:
                joined = list(layout.pieces)
                for place, chunk in enumerate(layout.chunks):
                    joined[place] += chunk_keys[chunk]
                expected = b"".join(joined)
            if expected == trajectory:
                return layout.columns
        columns = self._read_columns(trajectory, chunk_keys)
        layout = _layout_of(trajectory, chunk_keys, columns)
        if layout is not None:
            if len(self._layouts) >= _CACHED_LAYOUTS:
                self._layouts.clear()
            self._layouts[lengths] = layout
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

    def scratch(self, num_bytes: int) -> np.ndarray:
        """[num_bytes] uint8 to decompress into, the same memory at every call.

        Fresh memory for every large tensor would cost more than copying out of this.
        """
        if len(self._scratch) < num_bytes:
            self._scratch = np.empty(num_bytes, np.uint8)
        return self._scratch[:num_bytes]

    def _read_columns(
        self, trajectory: bytes, chunk_keys: Sequence[bytes]
    ) -> tuple[Column, ...]:
        message = parse(wire.FlatTrajectory, trajectory)
        places = {key: place for place, key in enumerate(chunk_keys)}
        columns = []
        for column in message.columns:
            slices = []
            for part in column.chunk_slices:
                chunk = places.get(varint(part.chunk_key))
                if chunk is None:
                    raise ProtocolError(
                        f"chunk {part.chunk_key} did not come with its item"
                    )
                if part.offset < 0 or part.length < 1 or part.index < 0:
                    raise ProtocolError(
                        f"an item names impossible rows: {part.length} from "
                        f"{part.offset} of tensor {part.index}"
                    )
                slices.append(Slice(chunk, part.offset, part.length, part.index))
            if not slices:
                raise ProtocolError("an item has a column without rows")
            if column.squeeze and (len(slices) != 1 or slices[0].length != 1):
                raise ProtocolError("a column without a row axis has several rows")
            columns.append(Column(tuple(slices), column.squeeze))
        return tuple(columns)


def _layout_of(
    trajectory: bytes, chunk_keys: Sequence[bytes], columns: Sequence[Column]
) -> _Layout | None:
    """Cuts the keys out of a trajectory; None if they are not where they should be."""
    if min(map(len, chunk_keys), default=0) < _LEAST_KEY_BYTES:
        return None  # so short a key might stand elsewhere by chance
    chunks = tuple(part.chunk for column in columns for part in column.slices)
    pieces, begin = [], 0
    for chunk in chunks:
        place = trajectory.find(b"\x08" + chunk_keys[chunk], begin)
        if place < 0:
            return None
        pieces.append(trajectory[begin : place + 1])
        begin = place + 1 + len(chunk_keys[chunk])
    return _Layout((*pieces, trajectory[begin:]), chunks, tuple(columns))


def decompress_into(content: bytes, target: Any) -> None:
    """Decompresses into the whole of a contiguous array of bytes.

    Args:
        content: raw snappy.
        target: [size] uint8 array, written.

    Raises:
        ProtocolError: the content is corrupt or of another size.
    """
    size = target.size
    try:
        if size:
            written = cramjam.snappy.decompress_raw_into(content, target)
        else:
            written = cramjam.snappy.decompress_raw_len(content)
    except cramjam.DecompressionError as error:
        raise ProtocolError(f"a tensor's content is corrupt: {error}") from None
    if written != size:
        raise ProtocolError(f"a tensor's content is not {size} bytes long")


def delta_decode(rows: np.ndarray) -> None:
    """Undoes the differencing of integer rows along the leading axis, in place."""
    unsigned = rows.view(f"u{rows.dtype.itemsize}")
    for index in range(1, len(unsigned)):
        unsigned[index] += unsigned[index - 1]


class ChunkReader:
    """Decompresses the tensors of one item's chunks, one at a time."""

    def __init__(self, decoder: Decoder, chunks: Sequence[Any]):
        self._decoder = decoder
        self._chunks = chunks
        self._last: tuple[int, int] | None = None  # chunk and tensor
        self._rows = np.empty(0)

    def encoded(self, part: Slice) -> bytes:
        """The tensor that holds a slice, as it was sent.

        Raises:
            ProtocolError: its chunk has none of that number.
        """
        tensors = self._chunks[part.chunk].data.tensors
        if part.tensor >= len(tensors):
            raise ProtocolError(f"a chunk has no tensor {part.tensor}")
        return tensors[part.tensor]

    def tensor(self, part: Slice) -> Any:
        """The tensor that holds a slice, its content compressed.

        Raises:
            ProtocolError: its chunk has none of that number, or its bytes are none.
        """
        return parse(wire.Tensor, self.encoded(part))

    def tensor_shape(self, part: Slice) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of the tensor that holds a slice.

        Raises:
            ProtocolError: they are impossible, unknown or too large.
        """
        return self._decoder.tensor_shape(self.tensor(part))[:2]

    def rows(self, part: Slice) -> np.ndarray:
        """The rows of a slice, which are overwritten by the next call.

        Raises:
            ProtocolError: there are no such rows, or their bytes are corrupt.
        """
        if self._last != (part.chunk, part.tensor):
            tensor = self.tensor(part)
            shape, dtype, size = self._decoder.tensor_shape(tensor)
            room = self._decoder.scratch(size)
            decompress_into(tensor.tensor_content, room)
            self._rows = room.view(dtype).reshape(shape)
            delta = self._chunks[part.chunk].delta_encoded
            if delta and delta_encodable(dtype, len(shape)):
                delta_decode(self._rows)
            self._last = (part.chunk, part.tensor)
        if part.offset + part.length > len(self._rows):
            raise ProtocolError(
                f"rows {part.offset} to {part.offset + part.length} of a chunk "
                f"of {len(self._rows)}"
            )
        return self._rows[part.offset : part.offset + part.length]


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
