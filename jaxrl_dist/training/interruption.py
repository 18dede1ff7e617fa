"""SIGINT and SIGTERM as a wish: the run saves, and then ends."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAVING_SECONDS = 50.0  # that an interrupted learner waits for the disk, at most


class Interrupted(Exception):  # noqa: N818  it is no error
    """The user stopped the run, and it has been saved.

    Attributes:
        signal: number of the signal that stopped it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def going_on(folder: Path) -> str:
    """Says how to go on with a run that was stopped and saved."""
    return f"go on with: python -m jaxrl_dist resume {shlex.quote(str(folder))}"


def saved_and_interrupted(
    folder: Path, step: int, total_steps: int, signal: int
) -> Interrupted:
    """What is raised where a run was stopped, and saved.

    Args:
        folder: of the run.
        step: environment steps of one seed so far.
        total_steps: of the budget.
        signal: number of the signal that stopped it.
    """
    return Interrupted(
        f"interrupted at environment step {step:,} of {total_steps:,}, and saved; "
        + going_on(folder),
        signal,
    )


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
            raise KeyboardInterrupt(number)
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
