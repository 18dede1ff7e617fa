"""What happened to the processes of a run, in a file of its folder.

`supervision.json` says how often each was started again, and keeps the first death:
{"restarts": {name: number}, "first_death": null or {"name", "status", "reason",
"last_lines", "where"}}.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from jaxrl_dist.training.kept_process import Event

NAME = "supervision.json"


class Record:
    """Keeps the file up to date.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        """Begins the file anew.

        Args:
            path: of the file.
            names: of the processes.

        Raises:
            OSError: it cannot be written.
        """
        self.path = path
        self._restarts = dict.fromkeys(names, 0)
        self._first_death: dict | None = None
        self._write()

    def note(self, event: Event) -> None:
        """Takes an event in.

        Raises:
            OSError: the file cannot be written.
        """
        self._restarts[event.name] = event.restarts
        if self._first_death is None and event.death is not None:
            self._first_death = event.death._asdict()
        self._write()

    def _write(self) -> None:
        content = {"restarts": self._restarts, "first_death": self._first_death}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.path)


def read_restarts(path: Path) -> dict[str, int]:
    """How often each process was started again; nothing where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["restarts"]
    except FileNotFoundError:
        return {}
