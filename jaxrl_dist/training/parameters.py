"""Parameters on their way from the learner to whoever acts, with a version.

A table of one item holds the newest. The learner publishes in a thread, and an actor
fetches in one, so that neither waits.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training.columns import Columns, only_row
from jaxrl_dist.training.experience import PARAMETERS
from jaxrl_dist.types import ArrayTree


class Published(NamedTuple):
    """What travels."""

    version: Any  # [] int32, updates that the parameters have seen
    serial: Any  # [] int64, of the publication; none comes twice, also after a restart
    arrays: ArrayTree  # what acting takes: parameters, and observation statistics


def published_like(arrays: ArrayTree) -> Published:
    """The shapes of what travels, from those of parameters and statistics."""
    return Published(np.zeros((), np.int32), np.zeros((), np.int64), arrays)


class Publication(NamedTuple):
    """One that was asked for."""

    version: int
    serial: int
    fetch: Callable[[], ArrayTree]


class Publisher:
    """Publishes parameters in the background; only the newest if they come fast.

    Attributes:
        serial: of the latest publication that was asked for.
    """

    def __init__(
        self,
        client: reverb.Client,
        columns: Columns,
        timeout_seconds: float,
        pause_seconds: float = 0.0,
    ) -> None:
        """Starts the thread.

        Args:
            client: to the server.
            columns: of `Published`.
            timeout_seconds: how long the server may take to confirm.
            pause_seconds: after each publication: actors that do not look so often need
                no more of them.
        """
        self._pause = pause_seconds
        self.serial = time.time_ns()
        self._columns = columns
        self._client = client
        self._timeout = timeout_seconds
        self._change = threading.Condition()
        self._next: Publication | None = None
        self._latest: Publication | None = None
        self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def publish(self, version: int, fetch: Callable[[], ArrayTree]) -> None:
        """Has parameters published.

        Args:
            version: updates that they have seen.
            fetch: () to what acting takes, in numpy; called in the thread, at once or
                not at all, and again if the server was lost.

        Raises:
            ReverbError: an earlier publication failed.
        """
        with self._change:
            self.check()
            self.serial += 1
            self._next = Publication(version, self.serial, fetch)
            self._latest = self._next
            self._change.notify()

    def again(self) -> None:
        """Publishes the newest once more: the server has lost them."""
        if self._latest is not None:
            self.publish(self._latest.version, self._latest.fetch)

    def close(self) -> None:
        """Publishes what is left, if that takes no longer than 5 s, and ends."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(min(self._timeout, 5.0))

    def check(self) -> None:
        """Raises what went wrong in the thread, if something did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._client.writer(self._columns.row()) as writer:
                while (job := self._take()) is not None:
                    arrays = job.fetch()
                    insert(
                        writer,
                        PARAMETERS,
                        self._columns,
                        Published(job.version, job.serial, arrays),
                    )
                    writer.flush(self._timeout)
                    time.sleep(self._pause)
        except Exception as error:  # told to the learner by its next call
            self._error = error

    def _take(self) -> Publication | None:
        with self._change:
            while self._next is None and not self._closed:
                self._change.wait()
            job, self._next = self._next, None
            return job


def insert(writer: reverb.Writer, table: str, columns: Columns, tree: ArrayTree) -> int:
    """Inserts a tree as an item of one row; the item's key."""
    writer.append({columns.key: columns.pack(tree)[None]})
    return writer.create_items(table, num_rows=1)[0]


class Fetched(NamedTuple):
    """Parameters as an actor has them."""

    version: int
    serial: int
    arrays: ArrayTree  # on the device
    fetched: float  # time.monotonic()


class Fetcher:
    """Keeps the newest parameters at hand; `latest` never waits."""

    def __init__(
        self, client: reverb.Client, columns: Columns, like: ArrayTree, seconds: float
    ) -> None:
        """Starts the thread.

        Args:
            client: to the server.
            columns: of `Published`, as they travel.
            like: shapes and dtypes of the arrays, as acting takes them.
            seconds: between two looks.
        """
        self._client = client
        self._columns = columns
        self._dtypes = jax.tree.map(lambda x: x.dtype, like)
        self._seconds = seconds
        self._latest: Fetched | None = None
        self._error: Exception | None = None
        self._change = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._thread.start()

    def latest(self) -> Fetched:
        """The newest parameters there are; `wait` must have answered before.

        Raises:
            ReverbError: they cannot be fetched, for another reason than a lost server.
        """
        if self._error is not None:
            raise self._error
        assert self._latest is not None
        return self._latest

    def wait(
        self,
        other_than: int | None,
        timeout_seconds: float,
        meanwhile: Callable[[], None],
    ) -> Fetched:
        """Waits for parameters of another publication.

        Args:
            other_than: serial of that publication; None for any.
            timeout_seconds: how long.
            meanwhile: called several times a second.

        Raises:
            TimeoutError: none came in time.
            ReverbError: they cannot be fetched.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._change:
            while self._latest is None or self._latest.serial == other_than:
                if self._error is not None:
                    raise self._error
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"no newer parameters from {self._client.address} within "
                        f"{timeout_seconds:g} s: does the learner run?"
                    )
                self._change.wait(0.2)
                meanwhile()
        return self._latest

    def close(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        config = reverb.SamplerConfig(batch_size=1, batches_ahead=0)
        seen = None
        try:
            with self._client.sampler(PARAMETERS, config) as sampler:
                while not self._stopped.wait(self._seconds):
                    try:
                        table = self._client.server_info().tables[PARAMETERS]
                        # A server that comes back counts anew.
                        now = (self._client.epoch, table.num_inserts)
                        if now == seen or not table.current_size:
                            continue
                        self._take(sampler.next(self._seconds + 5.0))
                        seen = now
                    except (reverb.DeadlineError, reverb.UnavailableError):
                        continue  # act on with what is there
        except Exception as error:  # told to the actor by its next call
            with self._change:
                self._error = error
                self._change.notify_all()

    def _take(self, sample: Any) -> None:
        published: Published = only_row(self._columns, sample)
        arrays = jax.tree.map(
            lambda x, dtype: x.astype(dtype), published.arrays, self._dtypes
        )
        fetched = Fetched(
            int(published.version),
            int(published.serial),
            jax.device_put(arrays),
            time.monotonic(),
        )
        with self._change:
            # A server that comes back may have older ones than are here.
            if self._latest is None or fetched.serial > self._latest.serial:
                self._latest = fetched
                self._change.notify_all()
