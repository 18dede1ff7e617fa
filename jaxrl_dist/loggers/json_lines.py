"""Metrics as JSON lines: one object per report, readable while the run goes on."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_dist.loggers.base import Metrics


class JsonLines:
    """Appends each report to a file, as `{"step": 1024, "losses/value": 0.5, ...}`.

    A metric of several seeds is a list. What is not finite is null: JSON knows neither
    NaN nor infinity.

    Attributes:
        path: of the file; its folder must exist.
    """

    def __init__(self, path: str | os.PathLike, last_step: int | None = None) -> None:
        """Opens the file.

        Args:
            path: of the file.
            last_step: when resuming, the step that was restored: rows of later steps
                are removed, as the run will take those steps again.
        """
        self.path = Path(path)
        if last_step is not None and self.path.exists():
            _keep_until(self.path, last_step)
        self._stream = self.path.open("a", encoding="utf-8")

    def write(self, step: int, metrics: Metrics) -> None:
        """Appends one row, on the disk's side when it returns."""
        row = {"step": int(step)}
        row |= {name: _json_number(value) for name, value in metrics.items()}
        self._stream.write(json.dumps(row, allow_nan=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


def read_rows(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the rows of a file.

    Args:
        path: of the file.

    Returns:
        One dictionary per report, in order. A last row that was cut short, as when a
        process is killed, is left out.

    Raises:
        ValueError: another row is not JSON.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON: {error}") from error
    return rows


def _keep_until(path: Path, last_step: int) -> None:
    rows = [row for row in read_rows(path) if row["step"] <= last_step]
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    unfinished.replace(path)


def _json_number(value: Any) -> Any:
    if isinstance(value, float | int):
        return value if math.isfinite(value) else None
    values = np.asarray(value, np.float64).tolist()
    if isinstance(values, list):
        return [_json_number(each) for each in values]
    return _json_number(values)
