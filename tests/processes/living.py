"""What tests of processes need: whether they live, and waiting for that."""

import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 60.0  # for what takes no time, on a machine that does other things


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; fails if it does not come to that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def pids_in(folder: Path) -> set[int]:
    """What processes wrote down with `note_pid`."""
    return {int(path.name) for path in folder.glob("[0-9]*")}


def note_pid(folder: Path) -> str:
    """A line of Python with which a process writes down its id."""
    return f"import os; open(os.path.join({str(folder)!r}, str(os.getpid())), 'w')"


def session_of(pid: int) -> set[int]:
    """The processes of a session that live, zombies not counted."""
    members = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == pid and is_alive(int(path.name)):
                members.add(int(path.name))
        except ProcessLookupError:
            continue
    return members
