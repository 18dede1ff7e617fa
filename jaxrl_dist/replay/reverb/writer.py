"""Rows of environments, as they come, into items of tables."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrl_dist.replay.reverb.chunking import Chunker, WriterConfig
from jaxrl_dist.replay.reverb.connection import Connection, chosen_timeout
from jaxrl_dist.replay.reverb.encoding import ItemEncoder
from jaxrl_dist.replay.reverb.errors import SignatureError, TableError
from jaxrl_dist.replay.reverb.in_flight import InsertMetrics, Item
from jaxrl_dist.replay.reverb.insert_stream import InsertStream
from jaxrl_dist.replay.reverb.signature import ColumnSpec, Signature
from jaxrl_dist.replay.reverb.varints import Keys
from jaxrl_dist.types import ArrayTree

Priorities = float | np.ndarray | Callable[[ArrayTree], Any]


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
        batch = config.num_environments
        self._expected = [
            (path, np.dtype(spec.dtype), (batch, *spec.shape))
            for path, spec in zip(row.paths, row.specs, strict=True)
        ]
        self._checked: dict[tuple[str, int], ItemEncoder] = {}
        self._keys = Keys()
        self._stream = InsertStream(connection, config.insert)
        self._chunker = Chunker(row.specs, config, self._keys, self._stream.forget)
        self._recent: collections.deque[list[np.ndarray]] = collections.deque(
            maxlen=config.max_item_rows
        )
        self._waiting: list[Item] = []  # for their last chunk to be full
        self._closed = False

    def append(self, rows: ArrayTree) -> None:
        """Appends one row per environment.

        Args:
            rows: [B, ...] in the structure of the writer's row.

        Raises:
            SignatureError: structure, shape or dtype is another.
            DeadlineError: too many items are unconfirmed, for too long.
            ReverbError: earlier items were refused, or the writer is closed.
        """
        columns = self._read(rows)
        if self._config.computed_priorities:
            self._recent.append([column.copy() for column in columns])
        self._chunker.append(columns)
        if not self._chunker.is_open:
            self._hand_over()

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
        stretches, slices = self._chunker.last(num_rows)
        keys = self._keys.draw(len(chosen))
        items = []
        by_stretch = ([stretch[each] for each in chosen] for stretch in stretches)
        for (key, encoded_key), priority, *chunks in zip(
            keys, encoded_priorities, *by_stretch, strict=True
        ):
            chunk_keys = [chunk.key for chunk in chunks]
            encoded = encoder.encode(encoded_key, priority, slices, chunk_keys)
            items.append(Item(key, encoded, tuple(chunks)))
        self._waiting += items
        if not self._chunker.is_open:
            self._hand_over()
        return [key for key, _ in keys]

    def flush(self, timeout_seconds: float | None = None) -> None:
        """Waits until every item is in its table; closes chunks that are not full.

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: some are not confirmed in time.
            ReverbError: some were refused, or the writer is closed.
        """
        timeout = chosen_timeout(timeout_seconds, self._config.timeout_seconds)
        self._close_chunks()
        self._stream.flush(timeout)

    def forget_rows(self) -> None:
        """Starts anew: no later item will reach back to the rows so far."""
        self._close_chunks()
        self._chunker.clear()
        self._recent.clear()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._closed

    def check(self) -> None:
        """Looks whether what was sent so far has been refused; waits for nothing.

        Raises:
            ReverbError: it has, or the writer is closed.
        """
        self._stream.check()

    def metrics(self) -> InsertMetrics:
        """What was done so far."""
        return self._stream.metrics()

    def close(self, timeout_seconds: float | None = None) -> None:
        """Flushes, then ends the stream; twice is once.

        Raises:
            ValueError: the timeout is not above 0; nothing was done.
            DeadlineError: some items were not confirmed in time, and are dropped.
            ReverbError: some were refused.
        """
        timeout = chosen_timeout(timeout_seconds, self._config.timeout_seconds)
        if self._closed:
            return
        try:
            self.flush(timeout)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the stream without waiting; what is unconfirmed is dropped."""
        self._closed = True
        self._stream.close()
        self._chunker.shut_down()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    def _read(self, rows: ArrayTree) -> list[np.ndarray]:
        """The columns of rows, checked."""
        columns = []
        leaves = self._row.flatten(rows)
        for leaf, (path, dtype, shape) in zip(leaves, self._expected, strict=True):
            column = np.asarray(leaf)
            if column.dtype != dtype or column.shape != shape:
                raise SignatureError(
                    f"{path} is {column.dtype}{list(column.shape)}, but the writer "
                    f"takes {dtype}{list(shape)}"
                )
            columns.append(column)
        return columns

    def _close_chunks(self) -> None:
        if self._chunker.is_open:
            self._chunker.close_chunks()
            self._hand_over()

    def _hand_over(self) -> None:
        """Gives the stream the items that waited for their last chunk."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._stream.offer(waiting, self._config.timeout_seconds)

    def _item_encoder(self, table: str, num_rows: int) -> ItemEncoder:
        appended = self._chunker.num_rows
        rows = min(appended, self._config.max_item_rows)
        if not 1 <= num_rows <= rows:
            raise ValueError(
                f"num_rows must be in [1, {rows}]: {appended} rows were appended,"
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
