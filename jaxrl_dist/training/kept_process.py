"""A process over its lives: started, listened to, replaced, or given up."""

import collections
import signal
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from jaxrl_dist.exit_status import SIGNALLED
from jaxrl_dist.training.launchers import Launcher, Process, ProcessSpec

LAST_LINES = 20  # of a log, that are kept of a death
LONGEST_LINE = 200  # characters of one that the user is shown


class Death(NamedTuple):
    """How a process ended that should not have."""

    name: str
    status: int | None  # minus the number of a signal; None: it was not started
    reason: str  # such as "exited with status 1"
    last_lines: tuple[str, ...]  # of its log
    where: str  # its log can be read

    def __str__(self) -> str:
        said = next((x for x in reversed(self.last_lines) if x.strip()), "")
        said = said.strip().removeprefix("error: ")
        if len(said) > LONGEST_LINE:
            said = f"{said[:LONGEST_LINE]} ..."
        if not said or self.was_killed:
            return f"{self.name} {self.reason}"
        return f"{self.name} {self.reason}: {said}"

    @property
    def was_killed(self) -> bool:
        """Whether somebody else ended it: its log says nothing about that."""
        return self.status in (-signal.SIGKILL, -signal.SIGTERM)


class Event(NamedTuple):
    """What happened to a process."""

    kind: Literal["started", "died", "hung", "given up"]
    name: str
    restarts: int  # of this process, so far
    message: str  # for the user, one line
    death: Death | None  # if this is one


class KeptProcess:
    """A process over its lives.

    Attributes:
        spec: what it is.
        restarts: how often it was started again.
        lost: why it is not started any more: the first of too many deaths, or the one
            after which another start would not help.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        launcher: Launcher,
        on_event: Callable[[Event], None],
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self.lost: Death | None = None
        self._launcher = launcher
        self._on_event = on_event
        self._process: Process | None = None
        self._deaths: collections.deque[tuple[float, Death]] = collections.deque()
        self._early_deaths = 0  # in a row, before it was at work
        self._has_begun = False
        self._start_at = float("-inf")
        self._started = float("inf")
        self._beat_due = float("inf")
        self._has_beaten = False
        self._is_at_work = False
        self._was_asked = False  # to end

    def is_running(self) -> bool:
        """Whether it lives now."""
        return self._process is not None and self._process.poll() is None

    def ask_to_end(self) -> None:
        """Asks it to end, if it is running; does not wait."""
        assert self._process is not None
        self._was_asked = True
        self._process.ask_to_end()

    def kill(self) -> None:
        """Ends it and all that it has started, at once."""
        if self._process is not None:
            self._process.kill()

    def look_after(self) -> Literal["finished"] | None:
        """Starts, replaces or leaves the process; says whether it has finished."""
        now = time.monotonic()
        if self.lost is not None:
            return None
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
            return None
        status = self._process.poll()
        if status == 0 and self.spec.finishes_run:
            return "finished"
        if status is not None:
            self._bury(now, status, how_it_exited(status), "died")
            return None
        self._listen(now)
        if now > self._beat_due:
            self._process.kill()
            self._bury(now, -signal.SIGKILL, self._silence(), "hung")
        return None

    def check_that_it_saved(self) -> Death | None:
        """Tells, and answers, how it ended if it had to save and that went wrong."""
        if not (self._was_asked and self.spec.saves and self._process is not None):
            return None
        status = self._process.poll()
        # By the signal itself it ends only before it was at work.
        if status in (None, 0, -signal.SIGTERM) or status >= SIGNALLED:
            return None
        death = self._death(status, f"{how_it_exited(status)} when it was to save")
        self._tell("given up", str(death), death)
        return death

    def _start(self, now: float) -> None:
        self.restarts += self._has_begun
        self._has_begun, self._has_beaten, self._is_at_work = True, False, False
        seconds = self.spec.start_timeout_seconds
        if self.spec.heartbeat_timeout_seconds is None or seconds is None:
            seconds = float("inf")
        self._started, self._beat_due = now, now + seconds
        try:
            self._process = self._launcher.start(self.spec)
        except OSError as error:
            self._bury(now, None, f"cannot be started: {error}", "died")
            return
        again = f" again (restart {self.restarts})" if self.restarts else ""
        self._tell("started", f"{self.spec.name} started{again}")

    def _listen(self, now: float) -> None:
        assert self._process is not None
        beat = self._process.newest_beat()
        usual = self.spec.heartbeat_timeout_seconds
        if beat is None or usual is None:
            return
        self._has_beaten = True
        self._is_at_work = self._is_at_work or not beat
        self._beat_due = now + (float(beat) if beat else usual)

    def _silence(self) -> str:
        if not self._has_beaten:
            seconds = f"{self.spec.start_timeout_seconds:g} s after its start"
            return f"sent no heartbeat within {seconds} and was killed"
        return "sent no heartbeat in time and was killed"

    def _bury(
        self,
        now: float,
        status: int | None,
        reason: str,
        kind: Literal["died", "hung"],
    ) -> None:
        """Notes a death, and decides whether another start follows."""
        death = self._death(status, reason)
        self._process = None
        # Whoever is killed while it starts might have begun.
        lived = self._is_at_work or (kind == "died" and death.was_killed)
        lived = lived or now - self._started > self.spec.max_backoff_seconds
        self._early_deaths = 0 if lived else self._early_deaths + 1
        self._deaths.append((now, death))
        while self._deaths[0][0] < now - self.spec.restart_window_seconds:
            self._deaths.popleft()
        if status in self.spec.lasting_statuses:
            self.lost = death
        elif self._has_died_too_often():
            self.lost = self._first_of_deaths()
        if self.lost is not None:
            self._tell("given up", f"{death}; it is not started again", death)
            return
        longer = 2.0 ** min(30, max(0, self._early_deaths - 1))
        pause = min(self.spec.backoff_seconds * longer, self.spec.max_backoff_seconds)
        self._start_at = now + pause
        self._tell(kind, f"{death}; it is started again in {pause:g} s", death)

    def _death(self, status: int | None, reason: str) -> Death:
        lines, where = (), "the message"
        if self._process is not None:
            lines, where = self._process.last_lines(LAST_LINES), self._process.where
        return Death(self.spec.name, status, reason, tuple(lines), where)

    def _has_died_too_often(self) -> bool:
        return (
            len(self._deaths) > self.spec.max_restarts
            or self._early_deaths > self.spec.max_early_restarts
        )

    def _first_of_deaths(self) -> Death:
        first = self._deaths[0][1]
        if len(self._deaths) == 1:
            return first
        seconds = self.spec.restart_window_seconds
        times = f"ended {len(self._deaths)} times within {seconds:g} s, first it"
        return first._replace(reason=f"{times} {first.reason}")

    def _tell(
        self,
        kind: Literal["started", "died", "hung", "given up"],
        message: str,
        death: Death | None = None,
    ) -> None:
        self._on_event(Event(kind, self.spec.name, self.restarts, message, death))


def how_it_exited(status: int) -> str:
    """Words for an exit status."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
