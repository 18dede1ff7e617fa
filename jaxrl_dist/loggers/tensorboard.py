"""Metrics for TensorBoard, in the files that tensorboardX writes.

Its `SummaryWriter` takes half a millisecond for a report of 15 metrics, as each goes
through a queue between processes. One record for the whole report takes a tenth.
"""

import os
import socket
import time
from pathlib import Path
from typing import Any

from jaxrl_dist.loggers.base import Metrics, over_seeds

SECONDS_BETWEEN_FLUSHES = 5.0


class TensorBoard:
    """Writes each metric as a scalar; of several seeds, their mean.

    tensorboardX is imported, and the file made, with the first report.

    Attributes:
        folder: of the event files; a resumed run adds one.
        last_step: when resuming, the step that was restored: TensorBoard is told to
            forget later ones, as the run will take those steps again.
    """

    def __init__(self, folder: str | os.PathLike, last_step: int | None = None) -> None:
        self.folder = Path(folder)
        self.last_step = last_step
        self._writer: Any = None
        self._event: Any = None
        self._last_flush = time.monotonic()

    def write(self, step: int, metrics: Metrics) -> None:
        """Writes one report; it is on the disk some seconds later."""
        if self._writer is None:
            self._writer = self._open()
        values = [
            {"tag": name, "simple_value": over_seeds(value)[0]}
            for name, value in metrics.items()
        ]
        self._add(step=int(step), summary={"value": values})
        if time.monotonic() - self._last_flush > SECONDS_BETWEEN_FLUSHES:
            self._writer.flush()
            self._last_flush = time.monotonic()

    def close(self) -> None:
        """Writes what is still held back."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        from tensorboardX import RecordWriter
        from tensorboardX.proto import event_pb2

        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._writer = RecordWriter(str(self.folder / name))
        self._event = vars(event_pb2)["Event"]  # made as the module was imported
        self._add(file_version="brain.Event:2")
        if self.last_step is not None:
            self._add(step=self.last_step + 1, session_log={"status": "START"})
        return self._writer

    def _add(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._writer.write(event.SerializeToString())
