"""Rows to bytes: chunks and items as they go over the wire.

Written by hand rather than with protobuf classes: a small transition costs a few
microseconds, and building its message objects would cost more than all the rest. The
tests decode what is written here with the classes of wire.proto, and with Reverb.
"""

import functools
from collections.abc import Sequence
from typing import Any

import cramjam
import numpy as np

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.dtypes import dtype_number
from jaxrl_dist.replay.reverb.signature import ColumnSpec
from jaxrl_dist.replay.reverb.varints import (
    CONTINUED,
    KEY_BYTES,
    SHIFTS,
    ten_bytes,
    varint,
)

# Field numbers and wire types, as protobuf writes them.
_FIRST = b"\x0a"  # field 1, bytes
_SECOND = b"\x12"  # field 2, bytes
_THIRD = b"\x1a"  # field 3, bytes
_CONTENT = b"\x22"  # Tensor.tensor_content
_KEY = b"\x08"  # field 1, varint: the key of a chunk, of an item, of a slice
_PRIORITY = b"\x29"  # Item.priority, fixed 64 bits
_TRAJECTORY = b"\x42"  # Item.flat_trajectory

# Content up to here is not compressed: it costs more than it saves. Of a literal of at
# most 60 bytes Snappy writes the length in one byte.
LITERAL_BYTES = 60


def delta_encodable(dtype: np.dtype, num_axes: int) -> bool:
    """Whether Reverb differences a column of rows; others are sent as they are.

    Args:
        dtype: of its elements.
        num_axes: with the row axis.
    """
    return num_axes >= 2 and np.issubdtype(dtype, np.integer)


def delta_encode(rows: np.ndarray, axis: int) -> np.ndarray:
    """Differences integer rows along an axis, modulo the width of the type."""
    unsigned = rows.view(f"u{rows.dtype.itemsize}")
    encoded = unsigned.copy()
    later = (slice(None),) * axis + (slice(1, None),)
    earlier = (slice(None),) * axis + (slice(None, -1),)
    encoded[later] -= unsigned[earlier]
    return encoded


class ChunkEncoder:
    """Encodes chunks of one writer: all its columns side by side, one tensor each."""

    def __init__(self, row_specs: Sequence[ColumnSpec], delta_encoded: bool):
        """Prepares what does not change from chunk to chunk.

        Args:
            row_specs: shape and dtype of one row of each column.
            delta_encoded: whether the chunks say that integers were differenced.
        """
        self._specs = row_specs
        self._flags = b"\x20\x01" if delta_encoded else b""
        self._layout = functools.lru_cache(maxsize=64)(self._make_layout)

    def _make_layout(
        self, num_rows: int
    ) -> tuple[list[tuple[bytes, bool]], int, bytes]:
        """What chunks of so many rows have in common.

        Returns:
            Of each tensor what precedes its content, and whether that is known to the
            last byte; the length of those that are; the chunk's end.
        """
        tensors, length, num_bytes = [], 0, 0
        for spec in self._specs:
            dims = [{"size": size} for size in (num_rows, *spec.shape)]
            shape = wire.TensorShape(dim=dims).SerializeToString()
            dtype = np.dtype(spec.dtype)
            header = _KEY + varint(dtype_number(dtype))
            header += _SECOND + varint(len(shape)) + shape + _CONTENT
            size = num_rows * int(np.prod(spec.shape, dtype=np.int64)) * dtype.itemsize
            num_bytes += size
            if size <= LITERAL_BYTES:
                header = _tensor(header, size, before=literal_header(size))
                length += len(header) + size
            tensors.append((header, size <= LITERAL_BYTES))
        end = b"\x30" + varint(len(self._specs)) + b"\x38" + varint(num_bytes)
        return tensors, length, end

    def encode(
        self, key: bytes, rows: tuple[bytes, int, int], columns: Sequence
    ) -> bytes:
        """Compresses and encodes one chunk.

        Args:
            key: encoded.
            rows: the episode's encoded key, the first row's index and the row count.
            columns: of each column the rows' bytes, as contiguous buffers.
        """
        episode, start, count = rows
        tensors, length, end = self._layout(count)
        compress = cramjam.snappy.compress_raw
        parts: list[Any] = []
        for (header, is_whole), column in zip(tensors, columns, strict=True):
            if not is_whole:
                column = compress(column)
                header = _tensor(header, len(column))
                length += len(header) + len(column)
            parts.append(header)
            parts.append(column)
        before, after = _range_around(len(episode), start, count)
        begin = (
            _KEY,
            key,
            before,
            episode,
            after,
            self._flags,
            b"\x2a",
            varint(length),
        )
        return b"".join((*begin, *parts, end))


def _tensor(header: bytes, size: int, before: bytes = b"") -> bytes:
    """What precedes the content of a tensor: field, length, header, length again.

    Args:
        header: of the tensor.
        size: of the content, without what stands before it.
        before: the beginning of the content.
    """
    header += varint(len(before) + size) + before
    return _FIRST + varint(len(header) + size) + header


def literal_header(size: int) -> bytes:
    """What Snappy puts before so few bytes when it takes them as they are."""
    return varint(size) + (bytes([size - 1 << 2]) if size else b"")


@functools.lru_cache(maxsize=64)
def _range_around(key_length: int, start: int, count: int) -> tuple[bytes, bytes]:
    """What precedes and what follows the episode's key in a chunk's range of rows."""
    after = b"\x10" + varint(start) + b"\x18" + varint(start + count - 1)
    size = len(_KEY) + key_length + len(after)
    return _SECOND + varint(size) + _KEY, after


@functools.lru_cache(maxsize=1024)
def _trajectory_template(
    slices: tuple[tuple[int, int], ...], num_columns: int
) -> tuple[bytes, ...]:
    """What stands between the chunk keys of an item's trajectory."""
    between, gap = [], b""
    for index in range(num_columns):
        encoded = [
            (b"\x10" + varint(offset) + b"\x18" + varint(length) + b"\x20")
            + varint(index)
            for offset, length in slices
        ]
        sizes = [1 + KEY_BYTES + len(rest) for rest in encoded]
        column = sum(1 + len(varint(size)) + size for size in sizes)
        gap += _FIRST + varint(column)
        for rest, size in zip(encoded, sizes, strict=True):
            between.append(gap + _FIRST + varint(size) + _KEY)
            gap = rest
    return (*between, gap)


def encode_trajectory(
    slices: tuple[tuple[int, int], ...], chunk_keys: Sequence[bytes], num_columns: int
) -> bytes:
    """Encodes which rows of which chunks an item consists of, alike for all columns.

    Args:
        slices: of each chunk the first row and the number of rows.
        chunk_keys: encoded.
        num_columns: of the chunks.
    """
    template = _trajectory_template(slices, num_columns)
    if len(chunk_keys) == 1:
        return chunk_keys[0].join(template)
    keys = list(chunk_keys) * num_columns
    pairs = zip(template, keys, strict=False)
    return b"".join(piece for pair in pairs for piece in pair) + template[-1]


class ItemEncoder:
    """Encodes items of one table."""

    def __init__(self, table: str, num_columns: int):
        """Prepares what does not change from item to item."""
        name = table.encode()
        self._table = _SECOND + varint(len(name)) + name + _PRIORITY
        self._num_columns = num_columns

    def encode(
        self,
        key: bytes,
        priority: bytes,
        slices: tuple[tuple[int, int], ...],
        chunk_keys: Sequence[bytes],
    ) -> bytes:
        """Encodes one item.

        Args:
            key: encoded.
            priority: a little-endian double.
            slices: as of encode_trajectory.
            chunk_keys: as of encode_trajectory.
        """
        trajectory = encode_trajectory(slices, chunk_keys, self._num_columns)
        size = varint(len(trajectory))
        return b"".join(
            (_KEY, key, self._table, priority, _TRAJECTORY, size, trajectory)
        )


def encode_mutation(
    table: str, keys: Any, priorities: np.ndarray, delete_keys: Any
) -> bytes:
    """Encodes a MutatePrioritiesRequest.

    Every key takes ten bytes, needed or not, so that all records have one length.

    Args:
        table: name.
        keys: [N] uint64, of items to update.
        priorities: [N] float64, little-endian and contiguous.
        delete_keys: [M] uint64.
    """
    updates = _blank_updates(len(keys)).copy()
    encoded_keys = updates[:, 3:13]
    encoded_keys[...] = keys[:, None] >> SHIFTS
    encoded_keys |= CONTINUED
    updates[:, 14:] = priorities[:, None].view(np.uint8)
    encoded = _encoded_name(table) + updates.tobytes()
    if len(delete_keys) == 0:
        return encoded
    deletes = ten_bytes(delete_keys).tobytes()
    return encoded + _THIRD + varint(len(deletes)) + deletes


@functools.lru_cache(maxsize=64)
def _encoded_name(table: str) -> bytes:
    name = table.encode()
    return _FIRST + varint(len(name)) + name


@functools.lru_cache(maxsize=8)
def _blank_updates(count: int) -> np.ndarray:
    """[N, 22] updates without keys and priorities: field 2 of 20 bytes, two fields."""
    record = b"\x12\x14" + _KEY + bytes(KEY_BYTES) + b"\x11" + bytes(8)
    return np.tile(np.frombuffer(record, np.uint8), (count, 1))


def encode_insert(
    chunks: Sequence[bytes], items: Sequence[bytes], keep: Sequence[bytes]
) -> bytes:
    """Encodes an InsertRequest.

    Args:
        chunks: as ChunkEncoder returns them.
        items: as ItemEncoder returns them.
        keep: encoded keys of the chunks that later items will use.
    """
    pieces = []
    for chunk in chunks:
        pieces.append(_FIRST + varint(len(chunk)))
        pieces.append(chunk)
    for item in items:
        pieces.append(_SECOND + varint(len(item)))
        pieces.append(item)
    if keep:
        packed = b"".join(keep)
        pieces.append(_THIRD + varint(len(packed)))
        pieces.append(packed)
    return b"".join(pieces)
