"""Drawn items to batches: decoded straight into arrays [T, B, ...]."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cramjam
import numpy as np

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.connection import parse
from jaxrl_dist.replay.reverb.decoding import (
    ChunkReader,
    Column,
    Decoder,
    check_column,
)
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.replay.reverb.signature import Signature
from jaxrl_dist.replay.reverb.varints import encode_keys


class DrawInfo(NamedTuple):
    """What the server says about the items of a batch; [B] each."""

    key: np.ndarray  # uint64
    probability: np.ndarray  # float64, with which it was drawn
    priority: np.ndarray  # float64
    table_size: np.ndarray  # int64, items in the table when it was drawn
    times_sampled: np.ndarray  # int64, this time included
    rate_limited: np.ndarray  # bool; the draw had to wait


class Batch(NamedTuple):
    """B items of equal length."""

    columns: list[np.ndarray]  # [T, B, ...] each, or [B, ...] where items have no rows
    info: DrawInfo


class BatchBuilder:
    """Fills one batch after another.

    Attributes:
        signature: of the items.
        batch_size: B.
        max_batch_bytes: a batch is not allocated beyond this.
    """

    def __init__(self, signature: Signature, batch_size: int, max_batch_bytes: int):
        self.signature = signature
        self.batch_size = batch_size
        self.max_batch_bytes = max_batch_bytes
        self._decoder = Decoder(max_batch_bytes)
        self._begin()

    def add(
        self, info: Any, chunks: Sequence[Any], chunk_keys: Sequence[bytes]
    ) -> Batch | None:
        """Adds one item.

        Args:
            info: its SampleInfo.
            chunks: its Chunk messages.
            chunk_keys: their keys, encoded.

        Returns:
            The batch, if this item completed it.

        Raises:
            ProtocolError: the bytes are malformed, or ask for too much.
            SignatureError: the item is none of the signature's, or of another length
                than the first of the batch.
        """
        item = info.item
        columns = self._decoder.columns(item.flat_trajectory, chunk_keys)
        if not self._targets:
            self._allocate(columns, chunks)
        position = self._fill
        if not (self._rows and self._decode_in_place(columns, chunks, position)):
            self._decode(columns, chunks, position)
        self._infos.append(
            (
                item.key,
                info.probability,
                item.priority,
                info.table_size,
                item.times_sampled,
                info.rate_limited,
            )
        )
        self._fill = position + 1
        return self._finish() if self._fill == self.batch_size else None

    def _begin(self) -> None:
        self._columns: tuple[Column, ...] = ()  # of the batch's first item
        self._targets: list[np.ndarray] = []
        # Of items of one row: per column how its tensor must look, and of each item
        # the bytes to decompress into. Empty for others.
        self._rows: list[tuple[int, bytes, list[Any]]] = []
        self._infos: list[tuple] = []
        self._fill = 0

    def _finish(self) -> Batch:
        kinds = (np.uint64, np.float64, np.float64, np.int64, np.int64, np.bool_)
        info = DrawInfo(
            *(
                np.array(values, kind)
                for values, kind in zip(
                    zip(*self._infos, strict=True), kinds, strict=True
                )
            )
        )
        batch = Batch(self._targets, info)
        self._begin()
        return batch

    def _allocate(self, columns: Sequence[Column], chunks: Sequence[Any]) -> None:
        """Makes room for a batch of items like this one, if they may be that large."""
        if len(columns) != len(self.signature.specs):
            raise SignatureError(
                f"an item has {len(columns)} columns, the signature "
                f"{len(self.signature.specs)}"
            )
        reader = ChunkReader(self._decoder, chunks)
        tensors = [reader.tensor(column.slices[0]) for column in columns]
        shapes, total = [], 0
        for column, tensor, spec, path in zip(
            columns, tensors, self.signature.specs, self.signature.paths, strict=True
        ):
            shape, dtype, _ = self._decoder.tensor_shape(tensor)
            length = sum(part.length for part in column.slices)
            item = shape[1:] if column.squeeze else (length, *shape[1:])
            check_column(path, spec, item, dtype)
            total += math.prod(item) * dtype.itemsize * self.batch_size
            batch = (self.batch_size, *shape[1:])
            shapes.append((batch if column.squeeze else (length, *batch), dtype))
        if total > self.max_batch_bytes:
            raise ProtocolError(
                f"{self.batch_size} items like the first take {total} bytes, "
                f"more than {self.max_batch_bytes}"
            )
        self._columns = tuple(columns)
        self._targets = [np.empty(shape, dtype) for shape, dtype in shapes]
        if all(
            self._is_single_row(*pair) for pair in zip(columns, tensors, strict=True)
        ):
            self._rows = [
                (
                    tensor.dtype,
                    tensor.tensor_shape,
                    list(target.reshape(self.batch_size, -1).view(np.uint8)),
                )
                for tensor, target in zip(tensors, self._targets, strict=True)
            ]

    def _is_single_row(self, column: Column, tensor: Any) -> bool:
        """Whether a column is all of a chunk of one row, and not empty."""
        shape, _, size = self._decoder.tensor_shape(tensor)
        first, *more = column.slices
        whole = (first.offset, first.length, shape[0]) == (0, 1, 1)
        return whole and not more and size > 0

    def _decode_in_place(
        self, columns: tuple[Column, ...], chunks: Sequence[Any], position: int
    ) -> bool:
        """Decodes an item of one row; False if it is laid out unlike the first."""
        if columns is not self._columns and columns != self._columns:
            return False
        decompress = cramjam.snappy.decompress_raw_into
        try:
            for column, (dtype, shape, rows) in zip(columns, self._rows, strict=True):
                part = column.slices[0]
                tensors = chunks[part.chunk].data.tensors
                if part.tensor >= len(tensors):
                    return False
                tensor, row = tensors[part.tensor], rows[position]
                if tensor.tensor_shape != shape or tensor.dtype != dtype:
                    return False
                if decompress(tensor.tensor_content, row) != row.size:
                    raise ProtocolError(f"a row is not {row.size} bytes long")
        except cramjam.DecompressionError as error:
            raise ProtocolError(f"a row's content is corrupt: {error}") from None
        return True

    def _decode(
        self, columns: Sequence[Column], chunks: Sequence[Any], position: int
    ) -> None:
        if len(columns) != len(self._targets):
            raise SignatureError(
                f"an item has {len(columns)} columns, the batch's first item "
                f"{len(self._targets)}"
            )
        reader = ChunkReader(self._decoder, chunks)
        for index, column in enumerate(columns):
            path, target = self.signature.paths[index], self._targets[index]
            if column.squeeze != self._columns[index].squeeze:
                raise SignatureError(f"{path} has a row axis in some items only")
            if column.squeeze:
                row = reader.rows(column.slices[0])[0]
                self._check_like_first(path, row, target[position])
                target[position] = row
                continue
            begin = 0
            for part in column.slices:
                rows = reader.rows(part)
                end = begin + part.length
                self._check_like_first(path, rows, target[begin:end, position])
                target[begin:end, position] = rows
                begin = end
            if begin != len(target):
                raise SignatureError(
                    f"{path} has {begin} rows, but the batch's first item {len(target)}"
                )

    def _check_like_first(self, path: str, rows: np.ndarray, room: np.ndarray) -> None:
        if rows.dtype != room.dtype or rows.shape != room.shape:
            raise SignatureError(
                f"{path} is {rows.dtype}{list(rows.shape)}, but the batch has room for "
                f"{room.dtype}{list(room.shape)}"
            )


class Assembler:
    """Turns messages into batches: an item may span several, a message hold many.

    Attributes:
        items: completed so far.
    """

    def __init__(self, signature: Signature, batch_size: int, max_batch_bytes: int):
        self.items = 0
        self._builder = BatchBuilder(signature, batch_size, max_batch_bytes)
        self._info: Any = None  # of an item that arrived in part
        self._chunks: list[Any] = []
        self._keys: list[bytes] = []
        self._part_bytes = 0

    def add(self, message: bytes) -> list[Batch]:
        """Takes one encoded SampleResponse, and returns the batches it completed.

        Raises:
            ProtocolError: the bytes are malformed, or ask for too much.
            SignatureError: an item is none of the signature's.
        """
        entries = parse(wire.SampleResponse, message).entries
        chunks = [list(entry.data) for entry in entries]
        keys = encode_keys([chunk.chunk_key for part in chunks for chunk in part])
        batches, begin = [], 0
        for entry, part in zip(entries, chunks, strict=True):
            begin, part_keys = begin + len(part), keys[begin : begin + len(part)]
            if self._info is not None or not entry.end_of_sequence:
                self._info = self._info or entry.info
                self._chunks += part
                self._keys += part_keys
                if not entry.end_of_sequence:
                    continue
                info, part, part_keys = self._info, self._chunks, self._keys
                self.drop_part()
            else:
                info = entry.info
            batch = self._builder.add(info, part, part_keys)
            self.items += 1
            if batch is not None:
                batches.append(batch)
        if self._info is not None:
            self._part_bytes += len(message)
            if self._part_bytes > self._builder.max_batch_bytes:
                raise ProtocolError("an item does not end")
        return batches

    def drop_part(self) -> int:
        """Forgets an item that arrived in part; the number of items so lost."""
        lost = self._info is not None
        self._info, self._chunks, self._keys, self._part_bytes = None, [], [], 0
        return int(lost)
