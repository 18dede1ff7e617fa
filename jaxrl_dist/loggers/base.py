"""What every logger is, and what it is given.

A metric's name is `group/name`, such as `losses/value` or `evaluation/return_mean`. Its
value is a number, or one number for each seed of a run that trains several at once.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

# Numbers of the host: a logger never waits for a device.
Metric = float | np.number | Sequence[float] | np.ndarray
Metrics = Mapping[str, Metric]


class Logger(Protocol):
    """Takes what a run reports."""

    def write(self, step: int, metrics: Metrics) -> None:
        """Takes one report.

        Args:
            step: environment steps taken so far, never less than before.
            metrics: by name; not every report has every metric.
        """

    def close(self) -> None:
        """Writes what is still held back. Nothing is written afterwards."""


class Many:
    """Several loggers as one.

    Attributes:
        loggers: each is given every report, in this order.
    """

    def __init__(self, *loggers: Logger) -> None:
        self.loggers = loggers

    def write(self, step: int, metrics: Metrics) -> None:
        """Passes one report on."""
        for logger in self.loggers:
            logger.write(step, metrics)

    def close(self) -> None:
        """Closes all, also when closing one fails."""
        with contextlib.ExitStack() as stack:
            for logger in reversed(self.loggers):
                stack.callback(logger.close)


def over_seeds(value: Metric) -> tuple[float, float]:
    """Mean and standard deviation of a metric over seeds; 0 deviation for one."""
    if isinstance(value, float | int):
        return float(value), 0.0
    values = np.asarray(value, np.float64)
    return float(values.mean()), float(values.std())
