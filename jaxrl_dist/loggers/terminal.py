"""A run as its user sees it: a display that renews itself, or plain lines.

rich draws the display, and is imported when one is drawn. Where nobody watches (no
terminal, `NO_COLOR` or `CI` set) there are plain lines at intervals instead.
"""

import collections
import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TextIO

from jaxrl_dist.loggers.base import Metrics, over_seeds

STEPS_PER_SECOND = "speed/steps_per_second"
FIRST_GROUPS = ("evaluation", "training")  # shown before the others
SECONDS_BETWEEN_DRAWINGS = 0.5  # one takes some 5 ms
SECONDS_BETWEEN_LINES = 5.0
LINE_METRICS = 2  # of each group, in a plain line
GROUP_WIDTH = 30  # characters of a group's column in the display


class Shown(NamedTuple):
    """A metric as it was last reported."""

    mean: float  # over seeds
    std: float  # over seeds; 0 for one
    step: int  # of that report


class Terminal:
    """Shows how far a run is, how fast it goes, and the latest of each metric.

    It never stops a run: when its output is closed, it falls silent.

    Attributes:
        title: the first line.
        total_steps: environment steps at which the run ends.
        first_step: environment steps taken before, by the run that is resumed.
        stream: where to write.
        live: a display that renews itself; False for plain lines.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        first_step: int = 0,
        *,
        stream: TextIO | None = None,
        live: bool | None = None,
    ) -> None:
        """Writes nothing yet.

        Args:
            title: what is being run, in a few words.
            total_steps: environment steps at which the run ends.
            first_step: environment steps taken before.
            stream: where to write; None for standard output.
            live: None to find out from the stream and the environment.
        """
        self.title = title
        self.total_steps = total_steps
        self.first_step = first_step
        self.stream = sys.stdout if stream is None else stream
        self.live = can_be_live(self.stream, os.environ) if live is None else live
        self._step = first_step
        self._shown: dict[str, Shown] = {}
        # Times of the latest reports, from which speed and time left are estimated.
        self._start = time.monotonic()
        self._times = collections.deque([(self._start, first_step)], maxlen=50)
        self._time_of_output = -float("inf")
        self._step_of_output = -1
        self._display: Any = None
        self._closing = False
        self._silent = False

    def write(self, step: int, metrics: Metrics) -> None:
        """Takes one report, and shows it unless the last was shown just now."""
        self._step = step
        for name, value in metrics.items():
            self._shown[name] = Shown(*over_seeds(value), step)
        now = time.monotonic()
        self._times.append((now, step))
        if self.live:
            due = now - self._time_of_output >= SECONDS_BETWEEN_DRAWINGS
        else:
            due = now - self._time_of_output >= SECONDS_BETWEEN_LINES
            # A line is all that is ever seen of an evaluation.
            due = due or any(name.startswith("evaluation/") for name in metrics)
        if due:
            self._time_of_output = now
            self._output()

    def note(self, text: str) -> None:
        """Writes a line of its own, above the display if there is one."""
        if self._display is not None:
            self._guarded(self._display.console.print, text, highlight=False)
        else:
            self._guarded(self._print, text)

    def close(self) -> None:
        """Shows the last report and leaves it standing."""
        self._closing = True
        if self._display is not None or self._step > max(0, self._step_of_output):
            self._output()
        if self._display is not None:
            # Even if nothing can be shown: it also gives standard output back.
            with contextlib.suppress(OSError, ValueError):
                self._display.stop()
            self._display = None

    def steps_per_second(self) -> float | None:
        """The run's own figure if it reports one, else that of the latest reports."""
        if STEPS_PER_SECOND in self._shown:
            return self._shown[STEPS_PER_SECOND].mean
        return self._pace()

    def seconds_left(self) -> float | None:
        """Until the end at the pace of the latest reports, evaluations included."""
        pace = self._pace()
        return None if not pace else max(0, self.total_steps - self._step) / pace

    def _pace(self) -> float | None:
        (start, first), (now, step) = self._times[0], self._times[-1]
        return (step - first) / (now - start) if now > start else None

    def _output(self) -> None:
        if self.live:
            self._draw()
        else:
            if self._step_of_output < 0:
                self._guarded(self._print, self.title)
            self._guarded(self._print, self._line())
        self._step_of_output = self._step

    def _draw(self) -> None:
        if self._display is None:
            self._display = _make_display(self.stream)
            self._guarded(self._display.start)
        self._guarded(self._display.update, self._drawing(), refresh=True)

    def _guarded(self, write: Any, *args: Any, **kwargs: Any) -> None:
        if self._silent:
            return
        try:
            write(*args, **kwargs)
        except (OSError, ValueError):  # a broken pipe; a closed file
            self._silent = True
            _forget(self.stream)

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def _line(self) -> str:
        parts = [part for part in self._progress() if part]
        for group in self._groups():
            fresh = [
                f"{name} {show(value)}"
                for name, value in self._members(group).items()
                if value.step > self._step_of_output
            ]
            if fresh:
                parts.append(f"{group}: {', '.join(fresh[:LINE_METRICS])}".lstrip(": "))
        return " | ".join(parts)

    def _progress(self) -> list[str]:
        """Steps, speed and time left, as far as they are known."""
        speed, left = self.steps_per_second(), self.seconds_left()
        clock = "" if left is None else f"{show_seconds(left)} left"
        if self._closing:
            clock = f"in {show_seconds(time.monotonic() - self._start)}"
        return [
            f"{self._step:,} / {self.total_steps:,} steps",
            "" if speed is None else f"{speed:,.0f} steps/s",
            clock,
        ]

    def _drawing(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        share = min(1.0, self._step / max(1, self.total_steps))
        bar = Table.grid(padding=(0, 2))
        steps, speed, left = self._progress()
        bar.add_row(
            ProgressBar(1.0, share, 24, complete_style="cyan"),
            f"{share:4.0%}",
            steps,
            Text(speed, style="cyan"),
            Text(left, style="dim"),
        )
        columns = Table.grid(padding=(0, 3))
        fitting = max(1, self._display.console.width // (GROUP_WIDTH + 3))
        columns.add_row(*[self._group(x) for x in self._groups()[:fitting]])
        return Group(Text(self.title, style="bold"), bar, "", columns)

    def _groups(self) -> list[str]:
        names = [name for name, _ in sorted(self._shown.items(), key=_rank)]
        groups = dict.fromkeys(_split(name)[0] for name in names)
        return [group for group in groups if group != _split(STEPS_PER_SECOND)[0]]

    def _members(self, group: str) -> dict[str, Shown]:
        return {
            _split(name)[1]: value
            for name, value in self._shown.items()
            if _split(name)[0] == group
        }

    def _group(self, group: str) -> Any:
        from rich.table import Table
        from rich.text import Text

        members = self._members(group)
        at = max(value.step for value in members.values())
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=GROUP_WIDTH - 14)
        table.add_column(justify="right", no_wrap=True)
        since = "" if at == self._step else f"at {at:,}"
        table.add_row(Text(group, style="bold dim"), Text(since, style="dim"))
        for name, value in members.items():
            table.add_row(name.replace("_", " "), show(value))
        return table


def can_be_live(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a display that renews itself can be drawn.

    Args:
        stream: where to.
        environ: of the process.

    Returns:
        True on a terminal that can move its cursor, unless `NO_COLOR` or `CI` is set.
    """
    if environ.get("NO_COLOR") or environ.get("CI"):
        return False
    return stream.isatty() and environ.get("TERM", "dumb") != "dumb"


def show(value: Shown) -> str:
    """A metric in at most some 15 characters, such as 412 or -0.0132 or 412 ± 31."""
    return _show(value.mean) + (f" ± {_show(value.std)}" if value.std else "")


def show_seconds(seconds: float) -> str:
    """A duration as a person says it: 8 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _show(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.4g}"


def _split(name: str) -> tuple[str, str]:
    group, slash, rest = name.partition("/")
    return (group, rest) if slash else ("", name)


def _rank(item: tuple[str, Shown]) -> int:
    group = _split(item[0])[0]
    return FIRST_GROUPS.index(group) if group in FIRST_GROUPS else len(FIRST_GROUPS)


def _make_display(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.live import Live

    # Drawn by `write` alone: a thread that redraws would take time from the run.
    return Live(console=Console(file=stream), auto_refresh=False)


def _forget(stream: TextIO) -> None:
    """Keeps Python from complaining, as it ends, that it cannot flush the stream."""
    if stream is sys.__stdout__:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
