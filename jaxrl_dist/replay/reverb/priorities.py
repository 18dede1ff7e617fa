"""Priorities sent in the background: a learner need not wait for the server."""

import logging
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay.reverb import wire
from jaxrl_dist.replay.reverb.connection import Connection, chosen_timeout
from jaxrl_dist.replay.reverb.encoding import encode_mutation
from jaxrl_dist.replay.reverb.errors import (
    ClosedError,
    DeadlineError,
    ReverbError,
    UnavailableError,
    defect_error,
    raise_again,
)

LOG = logging.getLogger(__name__)

_INFINITE = np.array(np.inf).view(np.uint64)  # the least bits of no finite number
_NO_KEYS = np.empty(0, np.uint64)


def check_priorities(keys: Any, priorities: Any) -> tuple[np.ndarray, np.ndarray]:
    """Keys and priorities as arrays that can be sent.

    Args:
        keys: [N].
        priorities: [N] from 0.

    Returns:
        [N] uint64 and [N] float64.

    Raises:
        ValueError: the lengths differ, or a priority is below 0 or not finite.
    """
    keys = np.asarray(keys, np.uint64)
    values = np.ascontiguousarray(priorities, "<f8")
    if keys.ndim != 1 or values.shape != keys.shape:
        raise ValueError(f"keys {keys.shape} and priorities {values.shape} differ")
    # One reduction tells most good priorities: negative numbers, infinities and NaN
    # have larger bits than any finite number. So has -0.0, which is fine.
    suspect = np.maximum.reduce(values.view(np.uint64), initial=0) >= _INFINITE
    if suspect and not np.all((values >= 0) & np.isfinite(values)):
        raise ValueError("priorities must be finite and at least 0")
    return keys, values


class PriorityMetrics(NamedTuple):
    """What an updater has done so far."""

    keys_sent: int
    keys_waiting: int
    keys_dropped: int  # the server was lost while they were sent
    calls: int


class PriorityUpdater:
    """Sends priorities of one table in order, as many per call as have come together.

    Updates that were on their way when the server was lost are dropped and counted: it
    comes back with older items and priorities anyway.
    """

    def __init__(
        self,
        connection: Connection,
        table: str,
        max_waiting_keys: int,
        timeout_seconds: float,
    ):
        """Starts the thread; `Client.priority_updater` calls this."""
        self._connection = connection
        self._table = table
        self._max_waiting = max_waiting_keys
        self._timeout = timeout_seconds
        self._change = threading.Condition()
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._num_waiting = 0
        self._busy = False
        self._sent = self._dropped = self._calls = 0
        self._error: ReverbError | None = None
        self._stopped = threading.Event()
        name = f"reverb-priorities-{connection.address}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def update(self, keys: Any, priorities: Any) -> None:
        """Queues new priorities; waits only if too many are queued.

        Args:
            keys: [N] uint64; those that are gone are ignored by the server.
            priorities: [N] from 0.

        Raises:
            ValueError: the lengths differ, or a priority is below 0 or not finite.
            DeadlineError: too many are queued for too long.
            ReverbError: earlier updates were refused, or the updater is closed.
        """
        keys, values = check_priorities(keys, priorities)
        deadline = time.monotonic() + self._timeout
        with self._change:
            self._check()
            while self._num_waiting and self._num_waiting + len(keys) > (
                self._max_waiting
            ):
                self._wait(deadline, "no room for more priorities")
            # Copies, because the caller may reuse its arrays.
            self._waiting.append((keys.copy(), values.copy()))
            self._num_waiting += len(keys)
            if not self._busy:
                self._change.notify_all()

    def flush(self, timeout_seconds: float | None = None) -> None:
        """Waits until the server has all of them.

        Raises:
            ValueError: the timeout is not above 0.
            DeadlineError: it has not, in time.
            ReverbError: some were refused, or the updater is closed.
        """
        deadline = time.monotonic() + chosen_timeout(timeout_seconds, self._timeout)
        with self._change:
            self._check()
            while self._num_waiting or self._busy:
                self._wait(deadline, "priorities are not sent")

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._stopped.is_set()

    def metrics(self) -> PriorityMetrics:
        """What was done so far."""
        with self._change:
            return PriorityMetrics(
                self._sent, self._num_waiting, self._dropped, self._calls
            )

    def close(self) -> None:
        """Ends at once; what is queued is dropped. `flush` first to keep it."""
        with self._change:
            self._stopped.set()
            self._error = self._error or ClosedError("the updater is closed")
            self._change.notify_all()
        self._thread.join(timeout=self._timeout + 1.0)

    def __enter__(self) -> "PriorityUpdater":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def _check(self) -> None:
        if self._error is not None:
            raise_again(self._error)

    def _wait(self, deadline: float, problem: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(f"{problem}: {self._num_waiting} keys are queued")
        self._change.wait(left)
        self._check()

    def _run(self) -> None:
        while True:
            with self._change:
                self._busy = False
                self._change.notify_all()
                while not self._waiting and not self._stopped.is_set():
                    self._change.wait()
                if self._stopped.is_set():
                    return
                batch, self._waiting = self._waiting, []
                count, self._num_waiting = self._num_waiting, 0
                self._busy = True
            try:
                self._send(batch, count)
            except ReverbError as error:
                self._fail(error)
            except Exception as error:  # a defect must not die with this thread
                LOG.exception("a defect in updates to %s", self._connection.address)
                self._fail(defect_error(error))

    def _fail(self, error: ReverbError) -> None:
        with self._change:
            self._error = self._error or error
            self._stopped.set()

    def _send(self, batch: list[tuple[np.ndarray, np.ndarray]], count: int) -> None:
        """Sends what has come together; drops it and waits if the server is lost."""
        keys, values = map(np.concatenate, zip(*batch, strict=True))
        request = encode_mutation(self._table, keys, values, _NO_KEYS)
        try:
            self._connection.call_again_if_lost(
                "MutatePriorities", request, wire.Empty, self._timeout
            )
        except (UnavailableError, DeadlineError):
            self._dropped += count
            self._connection.wait_for_server(self._stopped)
        else:
            self._sent += count
            self._calls += 1
