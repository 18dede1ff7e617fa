"""The processes of a run with actors, on this machine."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from jaxrl_dist.training.interruption import Interruption

LOG = logging.getLogger(__name__)
WORKER = ("-m", "jaxrl_dist.worker")
POLL_SECONDS = 0.05
LASTING = (2, 3)  # exit status after which another start would not help
FIRST_PAUSE_SECONDS = 0.5  # before a process is started again; doubled each time
STOP_SECONDS = 60.0  # for a last checkpoint


class ProcessSpec(NamedTuple):
    """A process to be kept running."""

    name: str
    arguments: tuple[str, ...]  # after the interpreter
    log: Path  # where its standard error goes, and its output unless that is shown
    restarts: int  # how often it may be started again
    shown: bool = False  # its output is the user's


class Place(NamedTuple):
    """What the processes must be told."""

    folder: Path  # of the run
    config: Path
    tables: Path
    port: int
    num_actors: int
    began: float  # time.time() when the user's process started


class ProcessFailedError(RuntimeError):
    """A process of a run has ended, and starting it again would not help.

    Attributes:
        status: its exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]


def check_port(port: int) -> None:
    """Checks that nobody listens on a port.

    Raises:
        ValueError: somebody does.
    """
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::", port))
        except OSError as error:
            raise ValueError(
                f"runtime.port {port} cannot be used: {error.strerror}; name another, "
                "or none to have a free one chosen"
            ) from None


def specs(place: Place, server_checkpoint_seconds: float) -> list[ProcessSpec]:
    """The processes of a run: server, learner, evaluator, actors."""
    logs = place.folder / "logs"
    address = f"localhost:{place.port}"
    common = ("--config", str(place.config), "--server", address)

    def worker(role: str, *more: str) -> tuple[str, ...]:
        return (*WORKER, role, *common, *more)

    learner = ("--run", str(place.folder), "--began", str(place.began))
    server = (
        *("--tables", str(place.tables), "--run", str(place.folder)),
        *("--checkpoint-seconds", str(server_checkpoint_seconds)),
    )
    return [
        ProcessSpec("server", worker("server", *server), logs / "server.log", 10),
        ProcessSpec(
            "learner", worker("learner", *learner), logs / "learner.log", 10, True
        ),
        ProcessSpec("evaluator", worker("evaluator"), logs / "evaluator.log", 10),
        *(
            ProcessSpec(
                f"actor-{index}",
                worker("actor", "--index", str(index)),
                logs / f"actor-{index}.log",
                1_000,
            )
            for index in range(place.num_actors)
        ),
    ]


class _Kept:
    """One process, and how often it was started."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.starts = 0
        self.due = 0.0  # time.monotonic() of the next start
        self.process: subprocess.Popen | None = None
        self._log: IO[str] | None = None

    def start(self) -> None:
        self.spec.log.parent.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        with self.spec.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.spec.arguments],
                stdin=subprocess.DEVNULL,
                stdout=None if self.spec.shown else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process, which ends them
            )

    def last_line(self) -> str:
        """What the process said last."""
        lines = self.spec.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "it said nothing"


def run(processes: Sequence[ProcessSpec], wish: Interruption) -> int:
    """Keeps processes running until the learner is done, and ends all.

    Args:
        processes: of `specs`.
        wish: of the user to stop; the learner is then asked to save and end.

    Returns:
        The learner's exit status: 0, or how it was interrupted.

    Raises:
        ProcessFailedError: one has ended for good.
    """
    kept = [_Kept(spec) for spec in processes]
    (learner,) = (each for each in kept if each.spec.name == "learner")
    try:
        for each in kept:
            each.start()
        while True:
            time.sleep(POLL_SECONDS)
            if wish:
                return _stop(learner)
            for each in kept:
                status = _look_at(each)
                if status == 0 and each is learner:
                    return 0
    finally:
        _end([each for each in kept if each is not learner], learner)


def _look_at(each: _Kept) -> int | None:
    """Starts a process again if it has ended; its exit status, or None."""
    if each.process is None:
        if time.monotonic() >= each.due:
            each.start()
        return None
    status = each.process.poll()
    if status is None or (status == 0 and each.spec.name == "learner"):
        return status
    if status in LASTING or each.starts > each.spec.restarts:
        raise ProcessFailedError(
            f"{each.spec.name}: {each.last_line()}", status if status > 0 else 1
        )
    pause = min(10.0, FIRST_PAUSE_SECONDS * 2 ** min(10, each.starts - 1))
    LOG.warning(
        "%s ended with %s and is started again in %.1f s: %s",
        each.spec.name,
        status,
        pause,
        each.last_line(),
    )
    each.process, each.due = None, time.monotonic() + pause
    return status


def _stop(learner: _Kept) -> int:
    """Has the learner save and end; its exit status."""
    if learner.process is None:
        return 1
    learner.process.terminate()
    try:
        return learner.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return 1


def _end(others: Sequence[_Kept], learner: _Kept) -> None:
    """Ends all that still run: politely, then at once."""
    alive = [x.process for x in (*others, learner) if x.process is not None]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
