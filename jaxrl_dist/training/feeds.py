"""Where a learner's batches come from, each made ready while the one before is used."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training.columns import Columns
from jaxrl_dist.training.experience import EXPERIENCE, OLD, Row
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.learning import Batch, spread

TICK_SECONDS = 0.2


class Fed(NamedTuple):
    """A batch for the learner, and what the host must know of it."""

    batch: Batch  # [D, 1, ...]
    keys: np.ndarray  # [B] of the items
    versions: np.ndarray  # [B] of the parameters that acted in the first row
    num_steps: int  # new environment steps


class Feed:
    """Makes batches in a thread, one ahead."""

    def __init__(self, make: Callable[[float], Fed]) -> None:
        """Starts the thread.

        Args:
            make: (seconds) to a batch; raises DeadlineError if there is none in time.
        """
        self.waiting_seconds = 0.0
        self._make = make
        self._ready: queue.Queue[Fed | Exception] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def next(self, meanwhile: Callable[[], bool], timeout: float) -> Fed | None:
        """The next batch.

        Args:
            meanwhile: called several times a second; True gives up.
            timeout: seconds to wait.

        Returns:
            The batch; None if `meanwhile` gave up.

        Raises:
            TimeoutError: none came in time.
            ReverbError: none can come.
        """
        began = time.monotonic()
        while not meanwhile():
            tick = time.monotonic()
            try:
                fed = self._ready.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if time.monotonic() - began > timeout:
                    raise TimeoutError(
                        f"no experience came within {timeout:g} s: do actors run?"
                    ) from None
                continue
            finally:
                self.waiting_seconds += time.monotonic() - tick
            if isinstance(fed, Exception):
                raise fed
            return fed
        return None

    def close(self) -> None:
        """Ends the thread; what is ready is given up."""
        self._stopped.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    fed = self._make(TICK_SECONDS)
                except (reverb.DeadlineError, reverb.UnavailableError):
                    continue
                self._put(fed)
        except Exception as error:  # told to the learner by its next call
            self._put(error)

    def _put(self, fed: Fed | Exception) -> None:
        while not self._stopped.is_set():
            try:
                return self._ready.put(fed, timeout=TICK_SECONDS)
            except queue.Full:
                continue


class Source:
    """What all feeds do: draw from the server, and turn columns into a batch."""

    def __init__(
        self, client: reverb.Client, flow: Flow, row: Columns, num_devices: int
    ) -> None:
        self.client = client
        self.flow = flow
        self.row = row
        self.num_devices = num_devices

    def sampler(self, table: str, batch_size: int, batches_ahead: int = 0) -> Any:
        """Opens a sampler of one of the tables of experience."""
        return self.client.sampler(
            table, reverb.SamplerConfig(batch_size, batches_ahead)
        )

    def packed(self, sample: Any) -> np.ndarray:
        """The rows of a sample, as bytes [T, B, N]."""
        drawn = sample.trajectory[self.row.key]
        if not self.flow.whole:
            return drawn
        shape = (drawn.shape[1], self.flow.item_rows, self.row.num_bytes)
        return drawn[0].reshape(shape).swapaxes(0, 1)

    def fed(
        self, packed: np.ndarray, sample: Any = None, new: int | None = None
    ) -> Fed:
        """Makes a batch out of rows.

        Args:
            packed: bytes [T, B, N].
            sample: where weights and keys come from; None without.
            new: how many of the trajectories are new; None for all.
        """
        rows: Row = self.row.unpack(packed)
        trajectory, carried = rows.trajectory, rows.carried
        first: Any = () if isinstance(carried, tuple) else carried[0]
        batch = Batch(
            spread(self.num_devices, 1, trajectory),
            spread(self.num_devices, 0, sample.weight) if sample is not None else (),
            spread(self.num_devices, 0, first) if self.flow.kind == "queue" else (),
        )
        return Fed(
            batch=batch,
            keys=np.empty(0, np.uint64) if sample is None else np.asarray(sample.slot),
            versions=rows.version[0],
            num_steps=int(np.sum(~np.asarray(trajectory.is_last)[:-1, :new])),
        )


class QueueSource(Source):
    """Each trajectory once, as they come; and old ones besides, if asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._new = self.flow.batch_size - self.flow.replayed
        self._fresh = self.sampler(EXPERIENCE, self._new)
        self._old = None
        if self.flow.replayed:
            self._old = self.sampler(OLD, self.flow.replayed, 1)

    def make(self, seconds: float) -> Fed:
        """The next batch; see `Feed`."""
        packed = self.packed(self._fresh.next(seconds))
        if self._old is not None:
            # There are old ones: every new trajectory is one of them as well.
            packed = np.concatenate([packed, self.packed(self._old.next())], axis=1)
        return self.fed(packed, new=self._new)


class ReplaySource(Source):
    """Sequences as a table draws them.

    Attributes:
        beta: of importance weights.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.beta = 0.0
        self._sampler = self.sampler(EXPERIENCE, self.flow.batch_size, 1)

    def make(self, seconds: float) -> Fed:
        """The next batch; see `Feed`."""
        self._sampler.importance_exponent = self.beta
        sample = self._sampler.next(seconds)
        return self.fed(self.packed(sample), sample)


class RoundsSource(Source):
    """One rollout of each environment, all by the parameters of this round.

    Attributes:
        version: of these parameters.
    """

    def __init__(self, *arguments: Any, num_actors: int) -> None:
        super().__init__(*arguments)
        self.version = 0
        # Rows that an earlier learner has asked for, and nobody waits for.
        self.client.reset(EXPERIENCE)
        self._size = self.flow.num_envs // num_actors
        self._sampler = self.sampler(EXPERIENCE, self._size)
        self._found: dict[int, np.ndarray] = {}

    def make(self, seconds: float) -> Fed:
        """The next batch; see `Feed`."""
        deadline = time.monotonic() + seconds
        while len(self._found) < self.flow.num_envs:
            left = deadline - time.monotonic()
            if left <= 0:  # rows came, of another round
                raise reverb.DeadlineError(f"no whole round within {seconds:g} s")
            packed = self.packed(self._sampler.next(left))
            rows: Row = self.row.unpack(packed[0])
            for index, source in enumerate(rows.source):
                if rows.version[index] == self.version:
                    self._found.setdefault(int(source), packed[:, index])
        parts = [self._found[source] for source in range(self.flow.num_envs)]
        self._found, self.version = {}, self.version + 1
        return self.fed(np.stack(parts, axis=1))
