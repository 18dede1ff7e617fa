"""A run with actors in processes of its own, and what is needed to do it harm."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.processes import guard
from jaxrl_dist.processes.ports import check_port_is_free
from jaxrl_dist.training.supervision_record import NAME, read_restarts

PATIENCE_SECONDS = 900.0  # of a test; nothing here takes as long


def command(experiment: str, total_steps: int, *more: str) -> list[str]:
    """A run with two actors that is evaluated and saved often.

    Args:
        experiment: its module.
        total_steps: environment steps.
        *more: arguments.
    """
    return [
        *(experiment, "--runtime", "actors", "--actors", "2"),
        *("--budget.total-steps", str(total_steps), "--budget.evaluations", "40"),
        *("--budget.eval-episodes", "32", "--runtime.timeout-seconds", "300"),
        *("--runtime.server-checkpoint-seconds", "5", *more),
    ]


class Run:
    """A run that has been started.

    Attributes:
        folder: of the run.
        process: the user's.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, place: Path, **environ: str
    ) -> None:
        """Starts it; see `running`."""
        self.folder = folder
        self.temporary = place / "temporary"
        self.temporary.mkdir()
        self._seen: set[int] = set()
        self.port: int | None = None
        own = {"TMPDIR": str(self.temporary), "JAX_NUM_CPU_DEVICES": "1"}
        with (place / "output").open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=os.environ | own | environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._output = place / "output"

    def said(self) -> str:
        """What the user has read."""
        return self._output.read_text()

    def workers(self) -> dict[str, int]:
        """The processes that run now, `actor-0`, `reverb` and so on, to their ids."""
        found = {}
        for pid, arguments in processes():
            if not any(str(self.folder) in argument for argument in arguments):
                continue
            self._seen.add(pid)
            name = _name(arguments)
            if name is None:
                continue
            found[name] = pid
            address = arguments[arguments.index("--server") + 1]
            self.port = int(address.rpartition(":")[2])
        for pid, arguments in processes():
            script = any(x.endswith("server_script.py") for x in arguments)
            if script and _parent(pid) == found.get("server"):
                found["reverb"] = pid
                self._seen.add(pid)
        return found

    def step(self) -> int:
        """Environment steps so far, as reported."""
        file = self.folder / "metrics.jsonl"
        rows = list(read_rows(file)) if file.exists() else []
        return max((row["step"] for row in rows), default=0)

    def wait_until(self, true: Callable[[], object]) -> None:
        """Waits for something to come to pass while the run goes on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def wait_for_progress(self, steps: int = 10_000) -> None:
        """Waits until so many more environment steps have been learnt from."""
        goal = self.step() + steps
        self.wait_until(lambda: self.step() >= goal)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a worker a signal as soon as there is one of that name."""
        self.wait_until(lambda: name in self.workers())
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.workers()[name], number)

    def end(self) -> int:
        """Waits for the end; the exit status."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.workers()
            time.sleep(0.1)
        return self.process.wait(1)

    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        return read_restarts(self.folder / NAME)

    def final_return(self) -> float:
        """The mean return of the last evaluation."""
        summary = json.loads((self.folder / "summary.json").read_text())
        return summary["evaluation"]["return_mean"]

    def assert_nothing_is_left(self) -> None:
        """No process, no listener, no temporary file."""
        self.workers()
        deadline = time.monotonic() + 90
        while (alive := [x for x in self._seen if lives(x)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        assert not alive, [x for x in processes() if x[0] in alive]
        assert self.port is not None
        check_port_is_free(self.port)
        # uv locks its environments by a file of the same name each time.
        files = self.temporary.iterdir()
        left = [x for x in files if not x.match("uv-*.lock")]
        assert not left, left


@contextlib.contextmanager
def running(arguments: Sequence[str], place: Path, **environ: str) -> Iterator[Run]:
    """A new run, which is over afterwards whatever happens.

    Args:
        arguments: after `python -m`, without the folder.
        place: an empty folder, for that of the run and for temporary files.
        **environ: environment variables.
    """
    folder = place / "run"
    more = ("--output-dir", str(folder))
    with watched(Run([*arguments, *more], folder, place, **environ)) as run:
        yield run


@contextlib.contextmanager
def resumed(folder: Path, place: Path) -> Iterator[Run]:
    """An earlier run that goes on; see `running`."""
    with watched(Run(["jaxrl_dist", "resume", str(folder)], folder, place)) as run:
        yield run


@contextlib.contextmanager
def watched(run: Run) -> Iterator[Run]:
    """Ends a run whatever happens."""
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def processes() -> Iterator[tuple[int, list[str]]]:
    """All processes of this machine, with their arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_text().split("\0")[:-1]
                if arguments:  # the dead have none
                    yield int(entry.name), arguments


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    return any(pid == other for other, _ in processes())


def _name(arguments: Sequence[str]) -> str | None:
    if "jaxrl_dist.worker" not in arguments or str(guard.SCRIPT) in arguments:
        return None
    role = arguments[arguments.index("jaxrl_dist.worker") + 1]
    return f"actor-{arguments[-1]}" if role == "actor" else role


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])
