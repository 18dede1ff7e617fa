"""Heartbeats: how a supervised process says that it lives.

The child's side is `beat`, to be called in its main loop. A launcher gives its child a
pipe and names it in an environment variable; without one, nothing is sent. Each beat is
a line: the seconds until the next one at the latest, or nothing for the usual time.
"""

import functools
import os
import time

VARIABLE = "JAXRL_DIST_HEARTBEAT"  # "descriptor:inode" of the pipe
START_SECONDS = 600.0  # that connecting and compiling may take, each
BEAT_SECONDS = 0.1  # beats closer to each other than this are not sent


def beat(within_seconds: float | None = None) -> None:
    """Says that this process lives.

    Costs a look at the clock; sends ten times a second at most, and never waits.

    Args:
        within_seconds: the next beat comes within this time, whatever was agreed on:
            while starting, and before something that takes long, such as compiling.
            None for what was agreed on: this process is at work.
    """
    _sender().beat(within_seconds)


@functools.cache
def _sender() -> "_Sender":
    return _Sender(pipe_of_this_process())


def pipe_of_this_process() -> int | None:
    """The descriptor that a launcher gave this process; None if none did.

    A child of a supervised process inherits the variable and not the pipe, and may have
    something else under that number.
    """
    number, _, inode = os.environ.get(VARIABLE, "").partition(":")
    if not number:
        return None
    try:
        return int(number) if os.fstat(int(number)).st_ino == int(inode) else None
    except OSError:
        return None


class _Sender:
    """Sends beats, not too many."""

    def __init__(self, pipe: int | None) -> None:
        self._pipe = pipe
        self._sent = float("-inf")
        self._was_usual = True

    def beat(self, within_seconds: float | None) -> None:
        if self._pipe is None:
            return
        now = time.monotonic()
        is_usual = within_seconds is None
        if is_usual and self._was_usual and now - self._sent < BEAT_SECONDS:
            return
        line = b"\n" if within_seconds is None else b"%g\n" % within_seconds
        try:
            os.write(self._pipe, line)
        except (BlockingIOError, BrokenPipeError):  # nobody listens; the guard acts
            return
        self._sent, self._was_usual = now, is_usual


class Beats:
    """The other end: reads what a process says."""

    def __init__(self) -> None:
        """Opens a pipe; `child_end` goes to the child and is then closed here."""
        self._pipe, self.child_end = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(self.child_end, False)

    def variables(self) -> dict[str, str]:
        """What the child needs in its environment."""
        inode = os.fstat(self.child_end).st_ino
        return {VARIABLE: f"{self.child_end}:{inode}"}

    def newest(self) -> str | None:
        """The newest beat since the last call, without its line end; None for none."""
        newest = None
        try:
            while read := os.read(self._pipe, 1 << 16):
                newest = read.decode().splitlines()[-1]
        except BlockingIOError:
            pass
        return newest

    def close(self) -> None:
        """Closes this end."""
        os.close(self._pipe)
