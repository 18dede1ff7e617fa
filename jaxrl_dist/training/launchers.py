"""Launchers: how the processes of a run are described, started, watched and ended.

`LocalLauncher` runs them on this machine. Another kind, for several machines, is
whatever has the two protocols' methods.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from jaxrl_dist.processes import guard
from jaxrl_dist.training.heartbeat import Beats

_TAIL_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class ProcessSpec:
    """A process that a supervisor keeps running.

    Attributes:
        name: of the process and its log file, of its own in a run.
        arguments: after the interpreter, such as ("-m", "module", "--flag").
        environ: environment variables beside those of the supervisor.
        shows_output: its standard output is the user's; else it goes to the log, where
            its standard error always goes.
        finishes_run: its exit with status 0 ends the run, well; any other process is
            started again, however it ended. When the run is interrupted, it is the one
            that is asked to end first.
        ends_last: it is asked to end only when all others have, because they need it.
        saves: it saves when it is asked to end; an interrupted run has failed if it
            then ends by itself with another status than 0 or that of a signal, or does
            not end in time.
        is_essential: the run fails if it cannot be kept running; else it goes on.
        lasting_statuses: exit statuses after which another start would not help.
        max_restarts: within `restart_window_seconds`, from 0.
        restart_window_seconds: above 0.
        max_early_restarts: in a row, after deaths before it was at work, from 0: what
            cannot even begin is not tried for long. It is at work from its first usual
            heartbeat on, or, if it sends none, after `max_backoff_seconds`. Being
            killed by somebody else does not count.
        backoff_seconds: before it is started again, from 0; doubled for each time in a
            row that it has ended before it was at work.
        max_backoff_seconds: the doubling ends here.
        start_timeout_seconds: from a start to its first heartbeat, above 0; None if it
            may take for ever.
        heartbeat_timeout_seconds: between two heartbeats, above 0, after which it hangs
            and is replaced; None if it sends none.
        stop_timeout_seconds: from the wish that it ends until it is killed, from 0.

    Raises:
        ValueError: a setting is out of its range.
    """

    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shows_output: bool = False
    finishes_run: bool = False
    ends_last: bool = False
    saves: bool = False
    is_essential: bool = True
    lasting_statuses: tuple[int, ...] = (2,)
    max_restarts: int = 10
    restart_window_seconds: float = 600.0
    max_early_restarts: int = 5
    backoff_seconds: float = 0.5
    max_backoff_seconds: float = 30.0
    start_timeout_seconds: float | None = 600.0
    heartbeat_timeout_seconds: float | None = 60.0
    stop_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"name must be that of a file, got {self.name!r}")
        # Not with jaxrl_dist.checks: that one imports JAX.
        for setting in (
            "max_restarts",
            "max_early_restarts",
            "backoff_seconds",
            "stop_timeout_seconds",
        ):
            if not (value := getattr(self, setting)) >= 0:
                raise ValueError(f"{setting} must be at least 0, got {value}")
        for setting in (
            "restart_window_seconds",
            "start_timeout_seconds",
            "heartbeat_timeout_seconds",
        ):
            value = getattr(self, setting)
            if value is not None and not value > 0:
                raise ValueError(f"{setting} must be above 0, got {value}")


class Process(Protocol):
    """One life of a process, from its start to its end."""

    @property
    def where(self) -> str:
        """Where its log can be read, for the user."""
        ...

    def poll(self) -> int | None:
        """Its exit status, minus the number of a signal; None while it runs."""
        ...

    def newest_beat(self) -> str | None:
        """Its newest heartbeat since the last call; None for none. See `heartbeat`."""
        ...

    def ask_to_end(self) -> None:
        """Asks it to end, as SIGTERM does; does not wait."""
        ...

    def kill(self) -> None:
        """Ends it and all that it has started, at once; waits for its own end."""
        ...

    def last_lines(self, number: int) -> tuple[str, ...]:
        """What it wrote last, in this life."""
        ...


class Launcher(Protocol):
    """Starts processes."""

    def start(self, spec: ProcessSpec) -> Process:
        """Starts a process.

        Raises:
            OSError: it cannot be started.
        """
        ...


class LocalLauncher:
    """Starts processes on this machine, with this interpreter.

    Each is the leader of a session of its own: Ctrl-C does not reach it. It ends, with
    all that it has started, when the process that started it ends, however that goes.

    Attributes:
        logs: folder of the log files, `<name>.log`, which are added to.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs

    def start(self, spec: ProcessSpec) -> "LocalProcess":
        """Starts a process.

        Raises:
            OSError: it cannot be started, or its log not be written.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{spec.name}.log"
        beats = Beats()
        command = guard.guarded(
            [sys.executable, *spec.arguments],
            interpreter=sys.executable,
            grace_seconds=spec.stop_timeout_seconds,
        )
        try:
            with log.open("ab") as file:
                file.write(f"--- {time.strftime('%F %T')} started\n".encode())
                file.flush()
                begin = file.tell()
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=None if spec.shows_output else file,
                    stderr=file,
                    env={**os.environ, **spec.environ, **beats.variables()},
                    pass_fds=[beats.child_end],
                    start_new_session=True,
                )
        except BaseException:
            beats.close()
            raise
        finally:
            os.close(beats.child_end)
        return LocalProcess(process, beats, log, begin)


class LocalProcess:
    """One life of a process on this machine."""

    def __init__(
        self, process: subprocess.Popen[bytes], beats: Beats, log: Path, begin: int
    ) -> None:
        """Takes a started process over.

        Args:
            process: leader of its process group, guarded.
            beats: of its pipe.
            log: its log file.
            begin: where its part of the log begins, in bytes.
        """
        self._process = process
        self._beats = beats
        self._log = log
        self._begin = begin
        self._is_over = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def where(self) -> str:
        """The path of its log file."""
        return str(self._log)

    def poll(self) -> int | None:
        """Its exit status, minus the number of a signal; None while it runs."""
        if not self._is_over and self._has_ended():
            self.kill()
        return self._process.returncode

    def newest_beat(self) -> str | None:
        """Its newest heartbeat since the last call; None for none."""
        return None if self._is_over else self._beats.newest()

    def ask_to_end(self) -> None:
        """Sends SIGTERM."""
        if not self._is_over:
            # Not by `terminate`, which waits for a process that has just ended.
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Ends its whole process group at once, and waits for it."""
        if self._is_over:
            return
        # As long as it has not been waited for, the group's number is its own. Some
        # systems refuse where nobody in the group lives any more.
        with contextlib.suppress(PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._is_over = True
        self._beats.close()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def last_lines(self, number: int) -> tuple[str, ...]:
        """What it wrote to its log last, in this life."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._begin, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return tuple(lines[-number:])

    def _has_ended(self) -> bool:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None
