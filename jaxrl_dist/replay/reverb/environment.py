"""The server's environment: made by uv from the script's own metadata, kept by uv."""

import os
import pathlib
import platform
import shutil
import subprocess
import threading
from collections.abc import Callable

from jaxrl_dist.replay.reverb.errors import ServerError

SCRIPT = pathlib.Path(__file__).parent / "server_script.py"
PYTHON = "3.11"
_HEARTBEAT_SECONDS = 5.0
_QUICK_SECONDS = 60.0
_INSTALL_SECONDS = 3600.0

Report = Callable[[str], None]


def find_uv() -> str:
    """The path of uv: the one installed with the extra, or one on the PATH.

    Raises:
        ServerError: there is none.
    """
    try:
        from uv import find_uv_bin
    except ImportError:
        found = shutil.which("uv")
        if found is None:
            raise ServerError(
                "uv is missing: pip install 'jaxrl-dist[reverb]'"
            ) from None
        return found
    return os.fspath(find_uv_bin())


def server_variables() -> dict[str, str]:
    """Environment variables for the server: none that point to this Python's modules.

    TensorFlow is only a container of bytes there: it takes no accelerator, and no log.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name != "VIRTUAL_ENV" and not name.startswith("PYTHON")
    }
    return variables | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def _run_uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(find_uv(), *arguments)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_QUICK_SECONDS,
            env=server_variables(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"{' '.join(command)} takes more than {_QUICK_SECONDS:.0f} s"
        ) from error


def is_installed() -> bool:
    """Whether the server's environment is complete."""
    return (
        _run_uv("sync", "--script", str(SCRIPT), "--check", "--offline").returncode == 0
    )


def interpreter() -> str:
    """The path of the environment's Python.

    Raises:
        ServerError: uv cannot say.
    """
    answer = _run_uv("python", "find", "--script", str(SCRIPT))
    if answer.returncode != 0:
        raise ServerError(f"uv does not find the server's Python: {answer.stderr}")
    return answer.stdout.strip()


def requirements() -> list[str]:
    """The packages that the server's environment consists of."""
    lines = SCRIPT.read_text().split("# ///")[1].splitlines()
    return [line.split('"')[1] for line in lines if line.startswith('#   "')]


def prepare(report: Report = print) -> str:
    """Makes the server's environment if it is not there yet.

    Args:
        report: receives lines that say what is being done, at least every 5 seconds.

    Returns:
        The path of its Python.

    Raises:
        ServerError: it cannot be made; the message says why.
    """
    if not is_installed():
        report(
            f"Reverb server: installing {len(requirements())} packages, among them "
            "dm-reverb 0.14.0 and TensorFlow 2.15.1, into an environment of their own "
            "(about 0.6 GB to download, 2 GB on disk, once)"
        )
        _install(report)
        report("Reverb server: installed")
    return interpreter()


def _install(report: Report) -> None:
    command = [find_uv(), "sync", "--script", str(SCRIPT)]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=server_variables(),
    ) as process:
        heart = _Heartbeat(report, process)
        assert process.stderr is not None
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                report(f"  {line.rstrip()}")
        except BaseException:  # what `report` raised, or Ctrl-C
            process.kill()
            raise
        finally:
            heart.stop()
    if process.returncode != 0:
        raise ServerError(
            "uv could not make the Reverb server's environment: "
            + "; ".join([*lines[-5:], *missing(check_install=False)])
        )


class _Heartbeat:
    """Says that a process still installs, and ends it if it takes too long."""

    def __init__(self, report: Report, process: subprocess.Popen[str]):
        self._report = report
        self._process = process
        self._done = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it, and raises what `report` raised in its thread."""
        self._done.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _beat(self) -> None:
        seconds = 0.0
        try:
            while not self._done.wait(_HEARTBEAT_SECONDS):
                seconds += _HEARTBEAT_SECONDS
                self._report(f"Reverb server: still installing after {seconds:.0f} s")
                if seconds >= _INSTALL_SECONDS:
                    self._process.kill()
        except Exception as fault:
            self._fault = fault
            self._process.kill()


def missing(check_install: bool = True) -> list[str]:
    """What a Reverb server needs and this machine lacks, one sentence each.

    Args:
        check_install: whether an environment that is not made yet counts.
    """
    lacks = []
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        lacks.append(
            "dm-reverb exists for Linux on x86_64 only, this is "
            f"{system} on {machine}: run the server elsewhere and use its address"
        )
    try:
        found = _run_uv("python", "find", PYTHON)
    except ServerError as error:
        return [*lacks, str(error)]
    if found.returncode != 0 and not (check_install and is_installed()):
        lacks.append(
            f"no Python {PYTHON} on this machine: install it (`uv python install "
            f"{PYTHON}`, or your system's package manager)"
        )
    if check_install and not lacks and not is_installed():
        lacks.append(
            "the server's environment is not installed yet: `python -m "
            "jaxrl_dist.replay.reverb check --install`, or the first start, does it"
        )
    return lacks


def import_fault(python: str) -> str:
    """Why Reverb cannot be imported by an interpreter; empty if it can.

    Raises:
        ServerError: the interpreter takes too long to say.
    """
    answer = _run(python, "-I", "-c", "import reverb")
    return "" if answer.returncode == 0 else answer.stderr.strip()[-500:]
