"""Rows of environments into compressed chunks, in step for all environments."""

import collections
import concurrent.futures
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxrl_dist.checks import check_above, check_at_least
from jaxrl_dist.replay.reverb.encoding import (
    LITERAL_BYTES,
    ChunkEncoder,
    delta_encodable,
    delta_encode,
)
from jaxrl_dist.replay.reverb.in_flight import Chunk, InsertConfig
from jaxrl_dist.replay.reverb.signature import ColumnSpec
from jaxrl_dist.replay.reverb.varints import Keys

# Below this, handing a chunk to a thread costs more than compressing it.
_SMALLEST_THREADED_BYTES = 32 << 10
# A chunk says where in its episode it stands in 31 bits, for information only.
_ROW_INDICES = 1 << 30


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
        check_above(0, timeout_seconds=self.timeout_seconds)


class _Group(NamedTuple):
    """The chunks of all environments for the same rows."""

    start: int  # index of the first row
    chunks: tuple[Chunk, ...]  # one per environment


class Chunker:
    """Collects rows into chunks, and remembers as many as items may reach back to.

    Attributes:
        num_rows: appended since the last `clear`.
    """

    def __init__(
        self,
        row: Sequence[ColumnSpec],
        config: WriterConfig,
        keys: Keys,
        forget: Callable[[Sequence[Chunk]], None],
    ):
        """Begins without rows.

        Args:
            row: shape and dtype of one row of each column.
            config: settings.
            keys: of the chunks.
            forget: told of the chunks that no later item will use.
        """
        self.num_rows = 0
        self._row = row
        self._config = config
        self._keys = keys
        self._forget = forget
        self._encoder = ChunkEncoder(row, config.delta_encoded)
        self._row_bytes = sum(
            math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in row
        )
        self._pool: concurrent.futures.Executor | None = None
        chunk_bytes = self._row_bytes * config.chunk_length
        if config.num_threads and chunk_bytes >= _SMALLEST_THREADED_BYTES:
            self._pool = concurrent.futures.ThreadPoolExecutor(config.num_threads)
        self._groups: collections.deque[_Group] = collections.deque()
        self._buffers: list[np.ndarray] = []
        self._episodes = keys.draw(config.num_environments)

    @property
    def is_open(self) -> bool:
        """Whether the last rows are in chunks that are not full."""
        return bool(self._groups) and self._groups[-1].chunks[0].encoded is None

    def append(self, columns: Sequence[np.ndarray]) -> None:
        """Appends one row per environment; closes the chunks if that fills them.

        Args:
            columns: [B, ...] each, of the row's shapes and dtypes.
        """
        length = self._config.chunk_length
        if not self.is_open:
            self._open()
        fill = self.num_rows - self._groups[-1].start
        if length == 1 and self._pool is None:
            self._buffers = [column[:, None] for column in columns]
        else:
            for buffer, column in zip(self._buffers, columns, strict=True):
                buffer[:, fill] = column
        self.num_rows += 1
        if fill + 1 == length:
            self.close_chunks()

    def close_chunks(self) -> None:
        """Compresses the rows of the open chunks."""
        group = self._groups[-1]
        length = self.num_rows - group.start
        flat = [self._flat_bytes(buffer[:, :length]) for buffer in self._buffers]
        for index, chunk in enumerate(group.chunks):
            rows = (self._episodes[index][1], group.start % _ROW_INDICES, length)
            columns = [column[index] for column in flat]
            if self._pool is None:
                chunk.encoded = self._encoder.encode(chunk.key, rows, columns)
            else:
                chunk.encoded = self._pool.submit(
                    self._encoder.encode, chunk.key, rows, columns
                )

    def last(
        self, num_rows: int
    ) -> tuple[list[tuple[Chunk, ...]], tuple[tuple[int, int], ...]]:
        """Where the last rows are.

        Args:
            num_rows: at most as many as there are, and as an item may have.

        Returns:
            The chunks, one tuple of B for each stretch of rows; and of each stretch the
            first row within its chunk and the number of rows.
        """
        begin, end = self.num_rows - num_rows, self.num_rows
        chunks, slices = [], []
        for group in reversed(self._groups):
            offset = max(0, begin - group.start)
            chunks.append(group.chunks)
            slices.append((offset, end - group.start - offset))
            end = group.start
            if end <= begin:
                break
        return chunks[::-1], tuple(slices[::-1])

    def clear(self) -> None:
        """Forgets all rows."""
        if self.is_open:
            self.close_chunks()
        self._drop(len(self._groups))
        self.num_rows = 0
        self._episodes = self._keys.draw(self._config.num_environments)

    def shut_down(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _open(self) -> None:
        batch, length = self._config.num_environments, self._config.chunk_length
        oldest = self.num_rows + 1 - self._config.max_item_rows
        ends = [group.start for group in self._groups][1:] + [self.num_rows]
        self._drop(sum(end <= oldest for end in ends[: len(self._groups)]))
        num_bytes = self._row_bytes * length
        chunks = tuple(Chunk(key, num_bytes) for _, key in self._keys.draw(batch))
        self._groups.append(_Group(self.num_rows, chunks))
        if length > 1 or self._pool is not None:
            self._buffers = [
                np.empty((batch, length, *spec.shape), spec.dtype) for spec in self._row
            ]

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._forget(self._groups.popleft().chunks)

    def _flat_bytes(self, rows: np.ndarray) -> Sequence:
        """[B, L, ...] rows as one contiguous buffer of bytes per environment."""
        if (
            self._config.delta_encoded
            and rows.shape[1] > 1
            and delta_encodable(rows.dtype, rows.ndim - 1)
        ):
            rows = delta_encode(rows, axis=1)
        rows = np.ascontiguousarray(rows)
        batch, size = rows.shape[0], rows.nbytes // rows.shape[0]
        if size <= LITERAL_BYTES:
            raw = rows.tobytes()
            return [raw[index * size : (index + 1) * size] for index in range(batch)]
        return list(rows.reshape(batch, -1).view(np.uint8))
