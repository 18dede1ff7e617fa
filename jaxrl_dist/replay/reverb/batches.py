"""Drawn items to batches: decoded straight into arrays [T, B, ...]."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay.reverb.decoding import (
    ChunkReader,
    Column,
    Decoder,
    check_column,
    decompress_into,
)
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.replay.reverb.signature import Signature


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

    def add(self, entries: Sequence[Any]) -> Batch | None:
        """Adds one item.

        Args:
            entries: its SampleResponse.Entry messages, in order.

        Returns:
            The batch, if this item completed it.

        Raises:
            ProtocolError: the bytes are malformed, or ask for too much.
            SignatureError: the item is none of the signature's, or of another length
                than the first of the batch.
        """
        info = entries[0].info
        item = info.item
        chunks = entries[0].data
        if len(entries) > 1:
            chunks = [chunk for entry in entries for chunk in entry.data]
        keys = [chunk.chunk_key for chunk in chunks]
        columns = self._decoder.columns(item.flat_trajectory, keys)
        if len(columns) != len(self.signature.specs):
            raise SignatureError(
                f"an item has {len(columns)} columns, the signature "
                f"{len(self.signature.specs)}"
            )
        if not self._targets:
            self._allocate(columns, chunks)
        position = self._fill
        if self._single_rows and len(chunks) == 1:
            self._decode_single_row(columns, chunks[0], position)
        else:
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
        self._targets: list[np.ndarray] = []
        self._flat: list[Any] = []
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
        reader = ChunkReader(self._decoder, chunks)
        shapes, total = [], 0
        for column, spec, path in zip(
            columns, self.signature.specs, self.signature.paths, strict=True
        ):
            _, tensor = reader.find(column.slices[0], len(chunks) == 1)
            shape, dtype, _ = self._decoder.tensor_shape(tensor)
            length = sum(part.length for part in column.slices)
            item = shape[1:] if column.squeeze else (length, *shape[1:])
            check_column(path, spec, item, dtype)
            size = dtype.itemsize * self.batch_size
            for axis in item:
                size *= axis
            total += size
            batch = (self.batch_size, *shape[1:])
            shapes.append((batch if column.squeeze else (length, *batch), dtype))
        if total > self.max_batch_bytes:
            raise ProtocolError(
                f"{self.batch_size} items like the first take {total} bytes, "
                f"more than {self.max_batch_bytes}"
            )
        self._targets = [np.empty(shape, dtype) for shape, dtype in shapes]
        # Items of one row are decompressed in place: contiguous in [1, B, ...].
        self._single_rows = all(
            column.squeeze or target.shape[0] == 1
            for column, target in zip(columns, self._targets, strict=True)
        )
        if self._single_rows:
            self._flat = [
                list(target.reshape(self.batch_size, -1).view(np.uint8))
                if target.size
                else [np.empty(0, np.uint8)] * self.batch_size
                for target in self._targets
            ]

    def _decode_single_row(
        self, columns: Sequence[Column], chunk: Any, position: int
    ) -> None:
        tensors = chunk.data.tensors
        reader = None
        for index, column in enumerate(columns):
            part = column.slices[0]
            target = self._targets[index]
            if part.tensor < len(tensors) and len(column.slices) == 1:
                tensor = tensors[part.tensor]
                shape, dtype, size = self._decoder.tensor_shape(tensor)
                flat = self._flat[index][position]
                if (
                    shape[0] == 1
                    and part.offset == 0
                    and dtype == target.dtype
                    and size == flat.size
                    and shape[1:] == target.shape[1 if column.squeeze else 2 :]
                    and part.length == 1
                ):
                    decompress_into(tensor.tensor_content, flat)
                    continue
            reader = reader or ChunkReader(self._decoder, [chunk])
            self._copy(index, column, reader, True, position)

    def _decode(
        self, columns: Sequence[Column], chunks: Sequence[Any], position: int
    ) -> None:
        reader = ChunkReader(self._decoder, chunks)
        only = len(chunks) == 1
        for index, column in enumerate(columns):
            self._copy(index, column, reader, only, position)

    def _copy(
        self,
        index: int,
        column: Column,
        reader: ChunkReader,
        only: bool,
        position: int,
    ) -> None:
        target, path = self._targets[index], self.signature.paths[index]
        spec = self.signature.specs[index]
        if column.squeeze:
            row = reader.rows(column.slices[0], only)[0]
            check_column(path, spec, row.shape, row.dtype)
            self._check_like_first(path, row, target[position])
            target[position] = row
            return
        begin = 0
        for part in column.slices:
            rows = reader.rows(part, only)
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
