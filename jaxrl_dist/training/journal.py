"""Reports in the order of their steps, though evaluations come late."""

import time
from collections.abc import Mapping
from typing import Any

from jaxrl_dist.loggers import Logger

LONGEST_HELD_SECONDS = 20.0  # reports wait no longer for an evaluation before them


class Journal:
    """Holds reports back while an evaluation of an earlier step is being made."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._held: dict[int, dict[str, Any]] = {}
        self._awaited: dict[int, float] = {}  # step to time.monotonic()
        self._last = 0

    def expect(self, step: int) -> None:
        """Says that a report of this step will come."""
        self._awaited[step] = time.monotonic()

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Takes a report, also one that was expected."""
        self._held[step] = self._held.get(step, {}) | dict(metrics)

    def arrived(self, step: int) -> None:
        """Says that what was expected has been written."""
        self._awaited.pop(step, None)

    def release(self, everything: bool = False) -> None:
        """Passes on what need not wait any longer."""
        now = time.monotonic()
        first = min(
            (s for s, t in self._awaited.items() if now - t < LONGEST_HELD_SECONDS),
            default=None,
        )
        for step in sorted(self._held):
            if first is not None and step >= first and not everything:
                return
            # What comes too late is shown where the run is by then.
            self._last = max(self._last, step)
            self._logger.write(self._last, self._held.pop(step))
