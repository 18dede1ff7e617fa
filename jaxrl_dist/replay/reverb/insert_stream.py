"""Items on their way to a server: sent in batches, confirmed, sent again if lost."""

import collections
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.connection import Connection, parse, typed_error
from jaxrl_dist.replay.reverb.encoding import encode_insert
from jaxrl_dist.replay.reverb.errors import (
    ClosedError,
    DeadlineError,
    RefusedError,
    ReverbError,
    UnavailableError,
    defect_error,
    raise_again,
)
from jaxrl_dist.replay.reverb.in_flight import (
    Chunk,
    InFlight,
    InsertConfig,
    InsertMetrics,
    Item,
)

LOG = logging.getLogger(__name__)
# Streams in a row that the server ends by itself, without taking anything.
_FRUITLESS_STREAMS = 5


class InsertStream:
    """Sends items over one connection, through restarts of the server."""

    def __init__(self, connection: Connection, config: InsertConfig):
        self._connection = connection
        self._config = config
        self.lock = threading.Lock()  # guards the chunks of this stream's writer, too
        self._work = threading.Condition(self.lock)
        self._room = threading.Condition(self.lock)
        self._items = InFlight(config)
        self._kept: list[Chunk] = []  # what the server holds for this stream
        self._fruitless = 0
        self._counts: collections.Counter[str] = collections.Counter()
        self._blocked_seconds = 0.0
        self._stream = 0
        self._idle = False
        self._flushing = 0
        self._error: ReverbError | None = None
        self._stopped = threading.Event()
        self._call: Any = None
        name = f"reverb-writer-{connection.address}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, items: Sequence[Item], timeout_seconds: float) -> None:
        """Takes items over, waiting for room or dropping what has none.

        Raises:
            DeadlineError: no room in time; the items without room were dropped.
            ReverbError: the server refused earlier items, or the writer is closed.
        """
        deadline = time.monotonic() + timeout_seconds
        with self.lock:
            self._counts["created"] += len(items)
            taken = 0
            while (taken := self._items.take(items, taken)) < len(items):
                self._check()
                if self._config.when_full == "drop":
                    self._counts["dropped"] += len(items) - taken
                    return
                self._wait_for_room(deadline, len(items) - taken)
            self._check()
            if self._idle or len(self._items.unsent) >= self._config.items_per_message:
                self._work.notify()

    def flush(self, timeout_seconds: float) -> None:
        """Waits until every item is confirmed.

        Raises:
            DeadlineError: some are not, in time.
            ReverbError: the server refused some, or the writer is closed.
        """
        deadline = time.monotonic() + timeout_seconds
        with self.lock:
            self._flushing += 1
            self._work.notify()
            try:
                while self._items:
                    self._check()
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise DeadlineError(
                            f"{len(self._items)} items unconfirmed after "
                            f"{timeout_seconds} s"
                        )
                    self._room.wait(left)
                self._check()
            finally:
                self._flushing -= 1

    def forget(self, chunks: Sequence[Chunk]) -> None:
        """Says that no later item will use these chunks."""
        with self.lock:
            for chunk in chunks:
                chunk.in_history = False

    def metrics(self) -> InsertMetrics:
        """What was done so far."""
        with self.lock:
            return InsertMetrics(
                items_created=self._counts["created"],
                items_confirmed=self._counts["confirmed"],
                items_dropped=self._counts["dropped"],
                items_resent=self._counts["resent"],
                items_in_flight=len(self._items),
                bytes_in_flight=self._items.num_bytes,
                bytes_sent=self._counts["bytes"],
                blocked_seconds=self._blocked_seconds,
                reconnects=self._counts["reconnects"],
                epoch=self._connection.epoch,
            )

    def close(self) -> None:
        """Ends the stream at once; what is unconfirmed counts as dropped."""
        with self.lock:
            self._stopped.set()
            self._error = self._error or ClosedError("the writer is closed")
            self._counts["dropped"] += self._items.clear()
            self._work.notify_all()
            self._room.notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        self._thread.join(timeout=5.0)

    def _wait_for_room(self, deadline: float, waiting: int) -> None:
        began = time.monotonic()
        if began >= deadline:
            self._counts["dropped"] += waiting
            raise DeadlineError(
                f"no room for {waiting} items in time: "
                f"{len(self._items)} are unconfirmed"
            )
        self._work.notify()
        self._room.wait(deadline - began)
        self._blocked_seconds += time.monotonic() - began

    def check(self) -> None:
        """Raises what the server refused, if it did."""
        with self.lock:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise_again(self._error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._run_once()
            except UnavailableError:
                if self._stopped.is_set():
                    return
                with self.lock:
                    self._counts["reconnects"] += 1
                # A pause even if the server answers at once: a stream that breaks
                # again and again must not keep a core busy.
                self._stopped.wait(self._connection.config.first_pause_seconds)
                try:
                    self._connection.wait_for_server(self._stopped)
                except ReverbError as error:
                    self._fail(error)
            except ReverbError as error:
                self._fail(error)
            except Exception as error:  # a defect must not die with this thread
                self._fail(self._defect(error))

    def _fail(self, error: ReverbError) -> None:
        with self.lock:
            self._error = self._error or error
            self._stopped.set()
            self._work.notify_all()
            self._room.notify_all()

    def _defect(self, error: Exception) -> ReverbError:
        LOG.exception("a defect in a stream to %s", self._connection.address)
        return defect_error(error)

    def _run_once(self) -> None:
        with self.lock:
            self._stream += 1
            self._kept = []
            self._requeue()
            stream = self._stream
            self._call = self._connection.stream("InsertStream", self._messages(stream))
        try:
            for response in self._call:
                self._confirm(parse(wire.InsertResponse, response).keys)
            self._end_without_error()
        except grpc.RpcError as error:
            raise typed_error(error) from None
        finally:
            with self.lock:
                self._stream += 1  # ends the generator of this stream's messages
                self._work.notify_all()

    def _end_without_error(self) -> None:
        """After the server ended a stream: as it does with one that it cannot read.

        Raises:
            RefusedError: it did so with several streams, and takes nothing.
            UnavailableError: it may take another.
        """
        self._fruitless += bool(self._items.sent)
        if self._fruitless >= _FRUITLESS_STREAMS:
            raise RefusedError(
                f"{self._connection.address} ended {self._fruitless} streams in a row "
                "without taking an item: what was sent is nothing that it can read"
            )
        raise UnavailableError("the server ended the stream")

    def _requeue(self) -> None:
        if self._config.unconfirmed == "drop":
            self._counts["dropped"] += self._items.drop_sent()
            self._room.notify_all()
        else:
            self._counts["resent"] += self._items.send_again()

    def _messages(self, stream: int) -> Iterator[bytes]:
        """What a stream sends. An error ends it here: gRPC would not say which."""
        try:
            yield from self._batches(stream)
        except Exception as error:  # a defect, or a chunk that cannot be compressed
            self._fail(self._defect(error))
            self._call.cancel()

    def _batches(self, stream: int) -> Iterator[bytes]:
        while True:
            with self.lock:
                self._wait_for_work(stream)
                if stream != self._stream or self._stopped.is_set():
                    return
                chunks, items, keep = self._next_batch(stream)
            message = encode_insert([c.compressed() for c in chunks], items, keep)
            self._counts["bytes"] += len(message)
            yield message

    def _wait_for_work(self, stream: int) -> None:
        def over() -> bool:
            return stream != self._stream or self._stopped.is_set()

        while not self._items.unsent and not over():
            self._idle = True
            self._work.wait()
            self._idle = False
        enough = self._config.items_per_message
        deadline = time.monotonic() + self._config.linger_seconds
        waiting = self._items.unsent
        while len(waiting) < enough and not self._flushing and not over():
            left = deadline - time.monotonic()
            if left <= 0 or self._items.num_bytes >= self._config.bytes_per_message:
                return
            self._work.wait(left)

    def _next_batch(self, stream: int) -> tuple[list[Chunk], list[bytes], list[bytes]]:
        chunks, items, num_bytes = [], [], 0
        while self._items.unsent and len(items) < self._config.items_per_message:
            item = self._items.send()
            items.append(item.encoded)
            for chunk in item.chunks:
                if chunk.stream != stream:
                    chunk.stream = stream
                    num_bytes += chunk.num_bytes
                    chunks.append(chunk)
            if num_bytes >= self._config.bytes_per_message:
                break
        kept = []
        for chunk in self._kept + chunks:
            if chunk.in_history or chunk.unsent:
                kept.append(chunk)
            else:
                chunk.stream = 0
        self._kept = kept
        return chunks, items, [chunk.key for chunk in kept]

    def _confirm(self, keys: Sequence[int]) -> None:
        with self.lock:
            self._counts["confirmed"] += self._items.confirm(keys)
            self._fruitless = 0
            self._room.notify_all()
