"""Batches drawn from a table, fetched and decoded ahead of the learner."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay.reverb.batches import Batch, DrawInfo
from jaxrl_dist.replay.reverb.connection import Connection, chosen_timeout
from jaxrl_dist.replay.reverb.errors import (
    ClosedError,
    DeadlineError,
    ReverbError,
    UnavailableError,
    raise_again,
)
from jaxrl_dist.replay.reverb.sample_stream import (
    SamplerConfig,
    SampleStream,
    Source,
)
from jaxrl_dist.types import Sample

_POLL_SECONDS = 0.5


class SamplerMetrics(NamedTuple):
    """What a sampler has done so far."""

    items_received: int
    batches_taken: int
    bytes_received: int  # messages as encoded
    items_discarded: int  # in part before a loss, or after the end
    waiting_seconds: float  # of callers, for a batch
    reconnects: int
    epoch: int  # restarts of the server that were noticed


def importance_weights(info: DrawInfo, exponent: float) -> np.ndarray:
    """Weights that correct for drawing by priority.

        w_i = (N P_i)^-beta / max_j (N P_j)^-beta

    Args:
        info: of the batch: P and N, [B].
        exponent: beta, in [0, 1]; 0 gives ones.

    Returns:
        [B] float32, in (0, 1].

    Source:
        Schaul et al. 2016, Prioritized Experience Replay, section 3.4,
        arXiv:1511.05952.
    """
    expected = np.maximum(info.table_size * info.probability, np.finfo(np.float64).tiny)
    weights = expected**-exponent
    return (weights / weights.max()).astype(np.float32)


class Sampler:
    """Draws batches from one table: an iterator of Sample.

    Attributes:
        signature: of the table's items.
        importance_exponent: beta, which may be changed between batches.
    """

    def __init__(
        self,
        connection: Connection,
        source: Source,
        config: SamplerConfig,
    ):
        """Begins to fetch; `Client.sampler` calls this."""
        self.signature = source.signature
        self.importance_exponent = config.importance_exponent
        self._connection = connection
        self._table = source.table
        self._config = config
        self._ready: queue.SimpleQueue[tuple[SampleStream, Batch | ReverbError]] = (
            queue.SimpleQueue()
        )
        self._stopped = threading.Event()
        self._error: ReverbError | None = None
        self._batches_taken = 0
        self._owed = False  # a batch that was asked for by a call that found none
        self._waiting_seconds = 0.0
        self._streams = [
            SampleStream(connection, source, config, self._ready)
            for _ in range(config.num_streams)
        ]

    def next(self, timeout_seconds: float | None = None) -> Sample:
        """The next batch, as `Sample`: arrays [T, B, ...], weights and keys [B].

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: no batch in time: too few items, or a rate limiter waits.
            ReverbError: what was received cannot be decoded, or the sampler is closed.
        """
        return self.draw(timeout_seconds)[0]

    def draw(self, timeout_seconds: float | None = None) -> tuple[Sample, DrawInfo]:
        """The next batch, and what the server says about its items.

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: no batch in time: too few items, or a rate limiter waits.
            ReverbError: what was received cannot be decoded, or the sampler is closed.
        """
        timeout = chosen_timeout(timeout_seconds, self._config.timeout_seconds)
        batch = self._take(timeout)
        weight = importance_weights(batch.info, self.importance_exponent)
        trajectory = self.signature.unflatten(batch.columns)
        return Sample(trajectory, weight, batch.info.key), batch.info  # pyright: ignore[reportArgumentType] - numpy until the learner moves them

    def __iter__(self) -> Iterator[Sample]:
        while True:
            yield self.next()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._stopped.is_set()

    def metrics(self) -> SamplerMetrics:
        """What was done so far."""
        streams = self._streams
        return SamplerMetrics(
            items_received=sum(stream.items_received for stream in streams),
            batches_taken=self._batches_taken,
            bytes_received=sum(stream.bytes_received for stream in streams),
            items_discarded=sum(stream.items_discarded for stream in streams),
            waiting_seconds=self._waiting_seconds,
            reconnects=sum(stream.reconnects for stream in streams),
            epoch=self._connection.epoch,
        )

    def close(self) -> None:
        """Ends the streams; twice is once.

        Takes up to `request_seconds` if the table removes what was sampled: until then
        the server may give items to requests that nobody waits for.
        """
        self._stopped.set()
        for stream in self._streams:
            stream.stop_asking()
        for stream in self._streams:
            stream.close()
        while not self._ready.empty():  # batches nobody will take are large
            self._ready.get()

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _take(self, timeout_seconds: float) -> Batch:
        began = time.monotonic()
        ahead = self._config.batches_ahead > 0
        if not ahead and not self._owed:
            self._owed = True
            self._streams[0].ask_for_batch()
        try:
            stream, batch = self._wait(began + timeout_seconds)
        except queue.Empty:
            raise DeadlineError(
                f"no batch of {self._config.batch_size} from table {self._table!r} "
                f"within {timeout_seconds} s"
            ) from None
        finally:
            self._waiting_seconds += time.monotonic() - began
        if isinstance(batch, ReverbError):
            self._error = batch
            raise batch
        self._batches_taken += 1
        self._owed = False
        if ahead:
            stream.ask_for_batch()
        return batch

    def _wait(self, deadline: float) -> tuple[SampleStream, Batch | ReverbError]:
        """Waits for a stream to hand something over; queue.Empty after the deadline."""
        while True:
            if self._error is not None:
                raise_again(self._error)
            if self._stopped.is_set():
                raise ClosedError("the sampler is closed")
            left = deadline - time.monotonic()
            try:
                return self._ready.get(timeout=max(0.0, min(left, _POLL_SECONDS)))
            except queue.Empty:
                if left <= 0:
                    raise
                self._check_silence(left)

    def _check_silence(self, left: float) -> None:
        """Cuts connections to a server that vanished without closing them."""
        now = time.monotonic()
        heard = max(stream.heard for stream in self._streams)
        if now - heard < self._config.check_seconds:
            return
        try:
            self._connection.server_info(min(left, self._config.check_seconds))
            for stream in self._streams:
                stream.heard = now
        except (UnavailableError, DeadlineError):
            for stream in self._streams:
                stream.cut()
