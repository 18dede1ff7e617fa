"""SIGINT and SIGTERM as a wish: the run saves, and then ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the user asked the run to stop.

    Attributes:
        signal: number of the signal that asked; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turns the first SIGINT or SIGTERM into a wish, so that the run can save and end.

    A second one, of either kind, raises KeyboardInterrupt. Outside the main thread,
    where Python lets nobody handle signals, nothing is changed.
    """
    wish = Interruption()

    def note(number: int, frame: Any) -> None:
        del frame
        if wish:
            raise KeyboardInterrupt
        wish.signal = number

    before = {}
    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread
        pass
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
