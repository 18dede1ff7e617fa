"""Rows of environments, as they come, into items of tables."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.checks import check_at_least
from jaxrl_dist.replay.reverb.connection import Connection
from jaxrl_dist.replay.reverb.encoding import (
    ChunkEncoder,
    ItemEncoder,
    Keys,
    delta_encodable,
    delta_encode,
)
from jaxrl_dist.replay.reverb.errors import SignatureError, TableError
from jaxrl_dist.replay.reverb.insert_stream import (
    Chunk,
    InsertConfig,
    InsertMetrics,
    InsertStream,
    Item,
)
from jaxrl_dist.replay.reverb.signature import ColumnSpec, Signature
from jaxrl_dist.types import ArrayTree

# Below this, handing a chunk to a thread costs more than compressing it.
_SMALLEST_THREADED_BYTES = 32 << 10
# A chunk says where in its episode it stands in 31 bits, for information only.
_ROW_INDICES = 1 << 30

Priorities = float | np.ndarray | Callable[[ArrayTree], Any]


@dataclasses.dataclass(frozen=True)
class WriterConfig:
    """Settings of a writer.

    Attributes:
        num_environments: B, rows per append, from 1.
        max_item_rows: rows of the longest item, from 1. Older rows are forgotten.
        chunk_length: rows that are compressed together and sent as a whole with every
            item that uses one of them, from 1. An item waits until its last chunk is
            full, or `flush`.
        delta_encoded: integers are differenced along the rows before compression.
        computed_priorities: rows are kept, so that priorities can be computed from
            them.
        num_threads: that compress large chunks, from 0.
        timeout_seconds: deadline of calls that are not given one.
        insert: how items are sent.

    Raises:
        ValueError: a setting is out of range.
    """

    num_environments: int = 1
    max_item_rows: int = 1
    chunk_length: int = 1
    delta_encoded: bool = False
    computed_priorities: bool = False
    num_threads: int = 2
    timeout_seconds: float = 30.0
    insert: InsertConfig = InsertConfig()

    def __post_init__(self) -> None:
        check_at_least(
            1,
            num_environments=self.num_environments,
            max_item_rows=self.max_item_rows,
            chunk_length=self.chunk_length,
        )
        check_at_least(0, num_threads=self.num_threads)


class _Group(NamedTuple):
    """The chunks of all environments for the same rows."""

    start: int  # index of the first row
    chunks: tuple[Chunk, ...]  # one per environment


class Writer:
    """Appends rows of B environments in step, and makes items of the last ones.

    An item is the last `num_rows` rows of one environment. Not for several threads at
    once.
    """

    def __init__(
        self,
        connection: Connection,
        row: Signature,
        config: WriterConfig,
        tables: dict[str, Signature | None],
    ):
        """Opens the stream; `Client.writer` calls this.

        Args:
            connection: to the server, shared.
            row: structure, shapes and dtypes of one row, without time or batch axes.
            config: settings.
            tables: their signatures, by name; None for a table without.
        """
        self._row = row
        self._config = config
        self._tables = tables
        self._checked: dict[tuple[str, int], ItemEncoder] = {}
        self._keys = Keys()
        self._encoder = ChunkEncoder(row.specs, config.delta_encoded)
        self._stream = InsertStream(connection, config.insert)
        sizes = [
            int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
            for spec in row.specs
        ]
        self._row_bytes = sum(sizes)
        self._pool: concurrent.futures.Executor | None = None
        chunk_bytes = self._row_bytes * config.chunk_length
        if config.num_threads and chunk_bytes >= _SMALLEST_THREADED_BYTES:
            self._pool = concurrent.futures.ThreadPoolExecutor(config.num_threads)
        self._recent: collections.deque[list[np.ndarray]] = collections.deque(
            maxlen=config.max_item_rows
        )
        self._groups: collections.deque[_Group] = collections.deque()
        self._buffers: list[np.ndarray] = []
        self._waiting: list[Item] = []
        self._closed = False
        self._num_rows = 0  # since rows were last forgotten
        self._episode = self._keys.draw(config.num_environments)

    def append(self, rows: ArrayTree) -> None:
        """Appends one row per environment.

        Args:
            rows: [B, ...] in the structure of the writer's row.

        Raises:
            SignatureError: structure, shape or dtype is another.
            ReverbError: earlier items were refused, or the writer is closed.
        """
        columns = self._read(rows)
        if self._config.computed_priorities:
            self._recent.append([column.copy() for column in columns])
        length = self._config.chunk_length
        if not self._is_open():
            self._begin_chunk()
        fill = self._num_rows - self._groups[-1].start
        if length == 1 and self._pool is None:
            self._buffers = [column[:, None] for column in columns]
        else:
            for buffer, column in zip(self._buffers, columns, strict=True):
                buffer[:, fill] = column
        self._num_rows += 1
        if fill + 1 == length:
            self._end_chunk()

    def create_items(
        self,
        table: str,
        num_rows: int,
        priorities: Priorities = 1.0,
        environments: Sequence[int] | None = None,
    ) -> list[int]:
        """Makes an item of the last rows of each environment.

        Args:
            table: where to insert.
            num_rows: T, from 1 to the number of rows there are, at most max_item_rows.
            priorities: one for all, [E], or a function of the items' rows [T, E, ...]
                that computes them. From 0.
            environments: E of them; None for all.

        Returns:
            The keys of the items, [E].

        Raises:
            ValueError: num_rows or a priority is out of range.
            SignatureError: the table's items are others.
            TableError: there is no such table.
            DeadlineError: too many items are unconfirmed, for too long.
            ReverbError: earlier items were refused, or the writer is closed.
        """
        encoder = self._item_encoder(table, num_rows)
        chosen = range(self._config.num_environments)
        chosen = chosen if environments is None else environments
        encoded_priorities = self._encode_priorities(priorities, num_rows, chosen)
        groups, slices = self._groups_of(num_rows)
        keys = self._keys.draw(len(chosen))
        items = []
        for (key, encoded_key), priority, environment in zip(
            keys, encoded_priorities, chosen, strict=True
        ):
            chunks = tuple(group.chunks[environment] for group in groups)
            chunk_keys = [chunk.key for chunk in chunks]
            encoded = encoder.encode(encoded_key, priority, slices, chunk_keys)
            items.append(Item(key, encoded, chunks))
        if groups[-1].chunks[0].encoded is None:
            self._waiting += items
        else:
            self._stream.offer(items, self._config.timeout_seconds)
        return [key for key, _ in keys]

    def flush(self, timeout_seconds: float | None = None) -> None:
        """Waits until every item is in its table; closes chunks that are not full.

        Raises:
            DeadlineError: some are not confirmed in time.
            ReverbError: some were refused, or the writer is closed.
        """
        if self._is_open():
            self._end_chunk()
        self._stream.flush(timeout_seconds or self._config.timeout_seconds)

    def forget_rows(self) -> None:
        """Starts anew: no later item will reach back to the rows so far."""
        if self._is_open():
            self._end_chunk()
        self._forget(len(self._groups))
        self._recent.clear()
        self._num_rows = 0
        self._episode = self._keys.draw(self._config.num_environments)

    def metrics(self) -> InsertMetrics:
        """What was done so far."""
        return self._stream.metrics()

    def close(self, timeout_seconds: float | None = None) -> None:
        """Flushes, then ends the stream; twice is once.

        Raises:
            DeadlineError: some items were not confirmed in time, and are dropped.
            ReverbError: some were refused.
        """
        if self._closed:
            return
        try:
            self.flush(timeout_seconds)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the stream without waiting; what is unconfirmed is dropped."""
        self._closed = True
        self._stream.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def _read(self, rows: ArrayTree) -> list[np.ndarray]:
        """The columns of rows, contiguous and checked."""
        columns = []
        batch = self._config.num_environments
        leaves = self._row.flatten(rows)
        for leaf, spec, path in zip(
            leaves, self._row.specs, self._row.paths, strict=True
        ):
            column = np.asarray(leaf)
            if column.dtype != spec.dtype or column.shape != (batch, *spec.shape):
                raise SignatureError(
                    f"{path} is {column.dtype}{list(column.shape)}, but the writer "
                    f"takes {spec.dtype}{[batch, *spec.shape]}"
                )
            columns.append(np.ascontiguousarray(column))
        return columns

    def _is_open(self) -> bool:
        return bool(self._groups) and self._groups[-1].chunks[0].encoded is None

    def _begin_chunk(self) -> None:
        batch, length = self._config.num_environments, self._config.chunk_length
        oldest = self._num_rows + 1 - self._config.max_item_rows
        ends = [group.start for group in self._groups][1:] + [self._num_rows]
        self._forget(sum(end <= oldest for end in ends[: len(self._groups)]))
        chunks = tuple(
            Chunk(key, self._row_bytes * length) for _, key in self._keys.draw(batch)
        )
        self._groups.append(_Group(self._num_rows, chunks))
        if length > 1 or self._pool is not None:
            self._buffers = [
                np.empty((batch, length, *spec.shape), spec.dtype)
                for spec in self._row.specs
            ]

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._stream.forget(self._groups.popleft().chunks)

    def _end_chunk(self) -> None:
        """Compresses the open chunks, and hands over the items that waited."""
        group = self._groups[-1]
        length = self._num_rows - group.start
        flat = [self._flat_bytes(buffer[:, :length]) for buffer in self._buffers]
        for index, chunk in enumerate(group.chunks):
            rows = (self._episode[index][1], group.start % _ROW_INDICES, length)
            columns = [column[index] for column in flat]
            if self._pool is None:
                chunk.encoded = self._encoder.encode(chunk.key, rows, columns)
            else:
                chunk.encoded = self._pool.submit(
                    self._encoder.encode, chunk.key, rows, columns
                )
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._stream.offer(waiting, self._config.timeout_seconds)

    def _flat_bytes(self, rows: np.ndarray) -> Sequence:
        """[B, L, ...] rows as one contiguous buffer of bytes per environment."""
        if (
            self._config.delta_encoded
            and rows.shape[1] > 1
            and delta_encodable(rows.dtype, rows.ndim - 1)
        ):
            rows = delta_encode(rows, axis=1)
        rows = np.ascontiguousarray(rows)
        batch = rows.shape[0]
        if rows.size == 0:
            return [b""] * batch
        return list(rows.reshape(batch, -1).view(np.uint8))

    def _groups_of(
        self, num_rows: int
    ) -> tuple[list[_Group], tuple[tuple[int, int], ...]]:
        """The groups that hold the last rows, and which of their rows those are."""
        begin, end = self._num_rows - num_rows, self._num_rows
        groups, slices = [], []
        for group in reversed(self._groups):
            offset = max(0, begin - group.start)
            groups.append(group)
            slices.append((offset, end - group.start - offset))
            end = group.start
            if end <= begin:
                break
        return groups[::-1], tuple(slices[::-1])

    def _item_encoder(self, table: str, num_rows: int) -> ItemEncoder:
        rows = min(self._num_rows, self._config.max_item_rows)
        if not 1 <= num_rows <= rows:
            raise ValueError(
                f"num_rows must be in [1, {rows}]: {self._num_rows} rows were appended,"
                f" and items have at most {self._config.max_item_rows}; got {num_rows}"
            )
        encoder = self._checked.get((table, num_rows))
        if encoder is None:
            self._check_signature(table, num_rows)
            encoder = ItemEncoder(table, len(self._row.specs))
            self._checked[table, num_rows] = encoder
        return encoder

    def _check_signature(self, table: str, num_rows: int) -> None:
        if table not in self._tables:
            known = sorted(self._tables)
            raise TableError(f"no table {table!r}; the server has {known}")
        signature = self._tables[table]
        if signature is None:
            return
        specs = [
            ColumnSpec((num_rows, *spec.shape), spec.dtype) for spec in self._row.specs
        ]
        difference = signature.difference(Signature(self._row.unflatten(specs)))
        if difference:
            raise SignatureError(f"items of table {table!r} are others: {difference}")

    def _encode_priorities(
        self, priorities: Priorities, num_rows: int, chosen: Sequence[int]
    ) -> list[bytes]:
        if callable(priorities):
            if not self._config.computed_priorities:
                raise ValueError("computed priorities need computed_priorities=True")
            steps = list(self._recent)[-num_rows:]
            leaves = [
                np.stack([step[index][list(chosen)] for step in steps])
                for index in range(len(self._row.specs))
            ]
            priorities = priorities(self._row.unflatten(leaves))
        values = np.asarray(priorities, "<f8")
        if not np.all(values >= 0) or not np.all(np.isfinite(values)):
            raise ValueError(f"priorities must be finite and at least 0, got {values}")
        if values.ndim and values.shape != (len(chosen),):
            raise ValueError(f"priorities must be [{len(chosen)}], got {values.shape}")
        values = np.ascontiguousarray(np.broadcast_to(values, (len(chosen),)))
        raw = values.tobytes()
        return [raw[start : start + 8] for start in range(0, len(raw), 8)]
