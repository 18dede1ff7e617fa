"""Drawn items to batches: decoded straight into arrays [T, B, ...]."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay.reverb.decoding import (
    ChunkReader,
    Column,
    Decoder,
    check_column,
)
from jaxrl_dist.replay.reverb.errors import ProtocolError, SignatureError
from jaxrl_dist.replay.reverb.row_items import RowColumn, decode_rows, row_columns
from jaxrl_dist.replay.reverb.signature import Signature


class DrawInfo(NamedTuple):
    """What the server says about the items of a batch; [B] each."""

    key: np.ndarray  # uint64
    probability: np.ndarray  # float64, with which it was drawn
    priority: np.ndarray  # float64
    table_size: np.ndarray  # int64, items in the table when it was drawn
    times_sampled: np.ndarray  # int64, this time included
    rate_limited: np.ndarray  # bool; the draw had to wait


class Drawn(NamedTuple):
    """One item as it came."""

    info: Any  # SampleInfo
    chunks: list[Any]  # Chunk messages
    chunk_keys: list[bytes]  # encoded


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

    def add(self, items: Sequence[Drawn]) -> list[Batch]:
        """Adds items, and returns the batches that they completed.

        Raises:
            ProtocolError: the bytes are malformed, or ask for too much.
            SignatureError: an item is none of the signature's, or of another length
                than the first of its batch.
        """
        batches, begin = [], 0
        while begin < len(items):
            some = items[begin : begin + self.batch_size - self._fill]
            self._add_to_batch(some)
            begin += len(some)
            if self._fill == self.batch_size:
                batches.append(self._finish())
        return batches

    def _begin(self) -> None:
        self._columns: tuple[Column, ...] = ()  # of the batch's first item
        self._targets: list[np.ndarray] = []
        self._rows: list[RowColumn] = []  # empty if items have several rows
        self._infos: tuple[list, ...] = tuple([] for _ in DrawInfo._fields)
        self._fill = 0

    def _finish(self) -> Batch:
        kinds = (np.uint64, np.float64, np.float64, np.int64, np.int64, np.bool_)
        arrays = map(np.array, self._infos, kinds)
        batch = Batch(self._targets, DrawInfo(*arrays))
        self._begin()
        return batch

    def _add_to_batch(self, drawn: Sequence[Drawn]) -> None:
        """Adds items for which the batch has room."""
        infos = [each.info for each in drawn]
        items = [info.item for info in infos]
        layouts = [
            self._decoder.columns(item.flat_trajectory, each.chunk_keys)
            for item, each in zip(items, drawn, strict=True)
        ]
        chunks = [each.chunks for each in drawn]
        if not self._targets:
            self._allocate(layouts[0], chunks[0])
        alike = self._rows and layouts.count(self._columns) == len(layouts)
        if not (alike and decode_rows(self._rows, chunks, self._fill)):
            for place, (columns, of_item) in enumerate(
                zip(layouts, chunks, strict=True), start=self._fill
            ):
                self._decode(columns, of_item, place)
        for known, new in zip(
            self._infos,
            (
                [item.key for item in items],
                [info.probability for info in infos],
                [item.priority for item in items],
                [info.table_size for info in infos],
                [item.times_sampled for item in items],
                [info.rate_limited for info in infos],
            ),
            strict=True,
        ):
            known += new
        self._fill += len(drawn)

    def _allocate(self, columns: Sequence[Column], chunks: Sequence[Any]) -> None:
        """Makes room for a batch of items like this one, if they may be that large."""
        if len(columns) != len(self.signature.specs):
            raise SignatureError(
                f"an item has {len(columns)} columns, the signature "
                f"{len(self.signature.specs)}"
            )
        reader = ChunkReader(self._decoder, chunks)
        shapes, total = [], 0
        for column, spec, path in zip(
            columns, self.signature.specs, self.signature.paths, strict=True
        ):
            shape, dtype = reader.tensor_shape(column.slices[0])
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
        self._rows = row_columns(self._columns, reader, self._targets)

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
