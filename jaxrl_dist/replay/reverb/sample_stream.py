"""One stream of samples: asked for by credit, decoded in a thread, reopened if lost."""

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc

from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.assembler import Assembler
from jaxrl_dist.replay.reverb.batches import Batch
from jaxrl_dist.replay.reverb.connection import Connection, parse, typed_error
from jaxrl_dist.replay.reverb.errors import (
    DeadlineError,
    ProtocolError,
    ReverbError,
    UnavailableError,
    defect_error,
)
from jaxrl_dist.replay.reverb.signature import Signature

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """Settings of a sampler.

    Attributes:
        batch_size: B, items per batch, from 1.
        batches_ahead: that each stream asks for before the learner takes them, from 0.
            Their items count as sampled at once, for rate limiters and for
            max_times_sampled, also if nobody ever takes them. With 0 nothing is asked
            for before `next`, so nothing is lost when the sampler is closed.
        num_streams: each with a thread that decodes, from 1. With several, large items
            are decoded in parallel, and a queue's order is lost.
        importance_exponent: beta, in [0, 1]: an item drawn with probability P from N
            has weight (N P)^-beta, divided by the batch's largest.
        max_batch_bytes: decoded; larger batches are refused before they are
            allocated, from 1.
        timeout_seconds: deadline of calls that are not given one.
        request_seconds: how long the server holds a request that it cannot serve,
            before it is made anew, above 0. A request outlives the sampler that made
            it by so long, and takes an item from a queue if one comes meanwhile:
            closing a sampler of such a table waits for it.
        check_seconds: after so long a silence the server is asked whether it lives,
            above 0.

    Raises:
        ValueError: a setting is out of range.
    """

    batch_size: int
    batches_ahead: int = 2
    num_streams: int = 1
    importance_exponent: float = 0.0
    max_batch_bytes: int = 1 << 30
    timeout_seconds: float = 60.0
    request_seconds: float = 2.0
    check_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_above(
            0,
            timeout_seconds=self.timeout_seconds,
            request_seconds=self.request_seconds,
            check_seconds=self.check_seconds,
        )
        check_at_least(0, batches_ahead=self.batches_ahead)
        check_at_least(
            1,
            batch_size=self.batch_size,
            num_streams=self.num_streams,
            max_batch_bytes=self.max_batch_bytes,
        )
        check_in_range(0, 1, importance_exponent=self.importance_exponent)


class Source(NamedTuple):
    """A table to draw from."""

    table: str
    signature: Signature
    removes_sampled: bool  # it removes items that were sampled often enough


class SampleStream:
    """Fetches batches from one table.

    Attributes:
        heard: time.monotonic() of the last message.
        reconnects: how often the stream was lost.
        bytes_received: messages as encoded.
        items_discarded: items that arrived after the end, or in part before a loss.
    """

    def __init__(
        self,
        connection: Connection,
        source: Source,
        config: SamplerConfig,
        ready: "queue.SimpleQueue[tuple[SampleStream, Batch | ReverbError]]",
    ):
        """Begins to fetch.

        Args:
            connection: to the server, shared.
            source: what to draw from.
            config: settings.
            ready: where complete batches go, and the error that ends the stream.
        """
        self._connection = connection
        self._source = source
        self._config = config
        self._ready = ready
        self._assembler = Assembler(
            source.signature, config.batch_size, config.max_batch_bytes
        )
        self.heard = time.monotonic()
        self.reconnects = 0
        self.bytes_received = 0
        self.items_discarded = 0
        self._asked = config.batch_size * config.batches_ahead  # items, ever
        self._credit = threading.Condition()
        self._stopped = threading.Event()
        self._over = threading.Event()  # the present stream asks for no more
        self._call: Any = None
        self._lost = False  # the last stream ended for want of a server
        name = f"reverb-sampler-{connection.address}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def items_received(self) -> int:
        """Items decoded so far."""
        return self._assembler.items

    def ask_for_batch(self) -> None:
        """Asks for one more batch: the learner has taken one."""
        with self._credit:
            self._asked += self._config.batch_size
            self._credit.notify_all()

    def cut(self) -> None:
        """Gives the present stream up; another one is opened."""
        call = self._call
        if call is not None:
            call.cancel()

    def stop_asking(self) -> None:
        """Begins to end: the stream ends when the server has answered what it has."""
        self._stopped.set()
        self._over.set()
        with self._credit:
            self._credit.notify_all()
        if not self._source.removes_sampled:
            self.cut()

    def close(self) -> None:
        """Ends fetching."""
        self.stop_asking()
        self._thread.join(timeout=self._config.request_seconds + 1.0)
        self.cut()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._run_once()
                self._end_well()
            except ReverbError as error:
                self._fail(error)
            except Exception as error:  # a defect must not die with this thread
                self._fail(self._defect(error))

    def _fail(self, error: ReverbError) -> None:
        self._stopped.set()
        self._ready.put((self, error))

    def _defect(self, error: Exception) -> ReverbError:
        LOG.exception("a defect in a stream to %s", self._connection.address)
        return defect_error(error)

    def _run_once(self) -> None:
        over = self._over = threading.Event()
        if self._stopped.is_set():
            return
        self._lost = True
        self._call = self._connection.stream("SampleStream", self._requests(over))
        try:
            for message in self._call:
                self._take(message)
        except grpc.RpcError as error:
            failure = typed_error(error)
            # The error is the call, which this object keeps; its traceback would keep
            # the last batch.
            error.__traceback__ = None
            # Nothing to sample for request_seconds is no loss: ask anew.
            self._lost = not isinstance(failure, DeadlineError)
            if not isinstance(failure, (DeadlineError, UnavailableError)):
                raise failure from None
        finally:
            over.set()
            self._call.cancel()
            with self._credit:
                self._credit.notify_all()

    def _take(self, message: bytes) -> None:
        self.heard = time.monotonic()
        self.bytes_received += len(message)
        if self._stopped.is_set():
            entries = parse(wire.SampleResponse, message).entries
            self.items_discarded += sum(entry.end_of_sequence for entry in entries)
            return
        for batch in self._assembler.add(message):
            self._ready.put((self, batch))
        if self._assembler.items > self._asked:
            raise ProtocolError("the server sent more than it was asked for")

    def _end_well(self) -> None:
        """After a stream has ended without a defect: waits for the server if lost."""
        self.items_discarded += self._assembler.drop_part()
        if not self._lost or self._stopped.is_set():
            return
        self.reconnects += 1
        # A pause even if the server answers at once: a stream that breaks again and
        # again must not keep a core busy.
        self._stopped.wait(self._connection.config.first_pause_seconds)
        self._connection.wait_for_server(self._stopped)

    def _requests(self, over: threading.Event) -> Iterator[bytes]:
        """What a stream asks for. An error ends it here: gRPC would not say which."""
        try:
            yield from self._requests_for_room(over)
        except Exception as error:  # a defect, or more items than a request can name
            self._fail(self._defect(error))
            self.cut()

    def _requests_for_room(self, over: threading.Event) -> Iterator[bytes]:
        """Asks for what the learner has room for and this stream did not ask for."""
        asked = self._assembler.items
        milliseconds = max(1, round(1000 * self._config.request_seconds))
        while True:
            with self._credit:
                while self._asked == asked and not over.is_set():
                    self._credit.wait()
                if over.is_set():
                    return
                count, asked = self._asked - asked, self._asked
            yield wire.SampleRequest(
                table=self._source.table,
                num_samples=count,
                rate_limiter_timeout={"milliseconds": milliseconds},
            ).SerializeToString()
