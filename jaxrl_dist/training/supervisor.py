"""A supervisor: keeps the processes of a run running, and ends them all.

    outcome = Supervisor(specs, LocalLauncher(folder / "logs")).run()

A process that dies is started again after a pause; one that sends no heartbeat is
killed and replaced. The run is over when the process that finishes it has exited with
status 0, when another start of one that is essential would not help, or when the user
stops it; it has then failed if one that saves could not. Nothing that was started
outlives `run`, nor the process that called it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from jaxrl_dist.training.interruption import Interruption, interruptible
from jaxrl_dist.training.kept_process import Death, Event, KeptProcess
from jaxrl_dist.training.launchers import Launcher, ProcessSpec

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.05  # between two looks at the processes


class Outcome(NamedTuple):
    """How a run ended."""

    ended: Literal["finished", "interrupted", "failed"]
    cause: Death | None  # why it failed: the first death in a row of them, or that of
    # a process that was to save
    given_up: tuple[Death, ...]  # first deaths of processes the run went on without
    restarts: dict[str, int]  # by name of the process

    def __str__(self) -> str:
        before = "".join(f"; before, {death} (given up)" for death in self.given_up)
        if self.cause is None:
            return self.ended + before
        return f"{self.cause} (see {self.cause.where}){before}"


def log_event(event: Event) -> None:
    """Logs what a user should know."""
    level = logging.INFO if event.kind == "started" else logging.WARNING
    LOG.log(level, "%s", event.message)


class Supervisor:
    """Keeps the processes of a run running.

    Attributes:
        restarts: how often each process was started again, by name.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        launcher: Launcher,
        on_event: Callable[[Event], None] = log_event,
    ) -> None:
        """Describes a run; `run` runs it.

        Args:
            specs: its processes, in the order in which they are started; exactly one
                finishes the run.
            launcher: starts them.
            on_event: is told what happens, at once; it must not wait.

        Raises:
            ValueError: two have one name, or not exactly one finishes the run.
        """
        names = [spec.name for spec in specs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two processes have the name {name!r}")
        finishing = [spec.name for spec in specs if spec.finishes_run]
        if len(finishing) != 1:
            raise ValueError(
                f"exactly one process must have finishes_run, got {finishing}"
            )
        self._kept = [KeptProcess(spec, launcher, on_event) for spec in specs]

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again, by name."""
        return {each.spec.name: each.restarts for each in self._kept}

    def run(self, wish: Interruption | None = None) -> Outcome:
        """Runs the processes until the run is over.

        To be called once, by a thread that lives as long as the processes may.

        Args:
            wish: whether the user wants the run to stop; None: SIGINT and SIGTERM say
                so, the second one at once, if this is the main thread.

        Returns:
            How it ended; nothing runs any more.

        Raises:
            KeyboardInterrupt: a second signal; nothing runs any more.
        """
        try:
            if wish is not None:
                return self._run(wish)
            with interruptible() as own:
                return self._run(own)
        finally:
            for each in self._kept:
                each.kill()

    def _run(self, wish: Interruption) -> Outcome:
        while True:
            if wish:
                self._end()
                # What was to be saved may be lost: the disk was full, for one.
                failures = [each.check_that_it_saved() for each in self._kept]
                cause = next((each for each in failures if each is not None), None)
                return self._outcome("failed" if cause else "interrupted", cause)
            for each in self._kept:
                if each.look_after() == "finished":
                    self._end()
                    return self._outcome("finished")
                if each.lost is not None and each.spec.is_essential:
                    self._end()
                    return self._outcome("failed", each.lost)
            time.sleep(LOOK_SECONDS)

    def _outcome(
        self,
        ended: Literal["finished", "interrupted", "failed"],
        cause: Death | None = None,
    ) -> Outcome:
        lost = [each for each in self._kept if not each.spec.is_essential]
        given_up = tuple(each.lost for each in lost if each.lost is not None)
        return Outcome(ended, cause, given_up, self.restarts)

    def _end(self) -> None:
        """Has the processes end: the one that saves first, those others need last."""
        first = [each for each in self._kept if each.spec.finishes_run]
        last = [each for each in self._kept if each.spec.ends_last]
        rest = [each for each in self._kept if each not in (*first, *last)]
        for stage in (first, rest, last):
            _end_together(stage)


def _end_together(stage: Iterable[KeptProcess]) -> None:
    """Asks processes to end, and kills those that do not in time."""
    alive = [each for each in stage if each.is_running()]
    began = time.monotonic()
    for each in alive:
        each.ask_to_end()
    while alive:
        seconds = time.monotonic() - began
        for each in alive:
            if seconds > each.spec.stop_timeout_seconds:
                each.kill()
        alive = [each for each in alive if each.is_running()]
        time.sleep(LOOK_SECONDS if alive else 0.0)
