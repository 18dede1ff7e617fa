"""Runs a command that ends with the process that started it, however that one went.

    python -I -S guard.py STARTER GRACE_SECONDS COMMAND [ARGUMENT ...]

The command takes this process over: its id and its exit status are its own. Before, a
watcher is forked off, which nothing in the command can block. Once whoever started it
has ended, by SIGKILL for instance, the watcher sends the command SIGTERM and, if it is
still there after the grace, SIGKILL. Once the command has ended, the watcher kills what
is left of its process group, that is its children.

Start it in a session of its own, with a pipe as standard input that nobody writes to
and whose other end only the starter holds. The command reads /dev/null instead.
"""

import itertools
import os
import select
import signal
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__)
LOOK_SECONDS = 0.2  # between looks where the system does not tell of a process' end
OPEN_MAX = os.sysconf("SC_OPEN_MAX")


def guarded(command: list[str], *, interpreter: str, grace_seconds: float) -> list[str]:
    """The command line that runs a command under guard, started by this process.

    Args:
        command: to run; its first word is a path.
        interpreter: the Python that runs the guard.
        grace_seconds: from SIGTERM to SIGKILL once the starter has ended, from 0.
    """
    guard = [interpreter, "-I", "-S", "-B", str(SCRIPT)]
    return [*guard, str(os.getpid()), str(grace_seconds), *command]


def end_of(process: int) -> list[int]:
    """A descriptor that becomes readable when a process ends; none if there is none."""
    try:
        return [os.pidfd_open(process)]
    except (AttributeError, OSError):  # not Linux, or an old one
        return []


def watch(command: int, starter: list[int], grace_seconds: float) -> None:
    """Waits for the end of the starter or of the command, and ends the whole group.

    Args:
        command: id of the process to watch, this one's parent.
        starter: what becomes readable when the starter ends.
        grace_seconds: from SIGTERM to SIGKILL.
    """
    own = end_of(command)

    def wait(descriptors: list[int]) -> list[int]:
        return select.select(descriptors, [], [], LOOK_SECONDS if not own else None)[0]

    while os.getppid() == command:
        if set(wait([*starter, *own])) & set(starter):
            os.kill(command, signal.SIGTERM)
            break
    deadline = time.monotonic() + grace_seconds
    while os.getppid() == command and (left := deadline - time.monotonic()) > 0:
        select.select(own, [], [], left if own else min(left, LOOK_SECONDS))
    os.killpg(command, signal.SIGKILL)  # with this process


def let_go(kept: list[int]) -> None:
    """Frees a forked process of all that its command has but some descriptors."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for low, high in itertools.pairwise([*kept, OPEN_MAX]):
        if low + 1 < high:  # else `closerange` would close them all
            os.closerange(low + 1, high)  # such as the ends of others' pipes
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def main(starter_id: str, grace: str, *command: str) -> None:
    """Forks the watcher off and becomes the command."""
    process, starter = os.getpid(), [0, *end_of(int(starter_id))]
    if os.getppid() != int(starter_id):
        sys.exit("whoever started this has ended")
    if os.fork() == 0:
        let_go(starter)
        watch(process, starter, float(grace))
    for descriptor in starter[1:]:
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
