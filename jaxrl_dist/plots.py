"""Pictures of a run, drawn by matplotlib without a screen and without global state."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EVALUATION = "evaluation/return_mean"
TRAINING = "training/return_mean"
INK, ACCENT, PALE = "#333333", "#1f5fa8", "#9aa7b4"


class Curve(NamedTuple):
    """One metric against environment steps, for each seed."""

    steps: np.ndarray  # [N] environment steps
    values: np.ndarray  # [N, num_seeds]; NaN where a seed reported none


def read_curve(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    """Takes one metric out of a run's rows.

    Args:
        rows: as `loggers.json_lines.read_rows` gives them: a metric is a number, a list
            with one for each seed, or None.
        name: of the metric.

    Returns:
        The rows that have it.

    Raises:
        ValueError: the number of seeds changes on the way.
    """
    found = [(row["step"], np.atleast_1d(row[name])) for row in rows if name in row]
    sizes = {len(values) for _, values in found}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} has rows of {sorted(sizes)} seeds; expected one number"
        )
    steps = np.array([step for step, _ in found], np.int64)
    values = np.array([values for _, values in found], np.float64)
    return Curve(steps, values.reshape(len(found), max(sizes, default=1)))


def learning_curve(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike,
    *,
    title: str,
    threshold: float | None = None,
) -> bool:
    """Draws the return against environment steps, as a PNG.

    Evaluations are a strong line: the mean over seeds, with a band of one standard
    deviation and a faint line for each seed if there are several. Returns of the
    episodes of training are a paler line behind.

    Args:
        rows: of the run, as `loggers.json_lines.read_rows` gives them.
        path: of the picture.
        title: what was run.
        threshold: return at which the task counts as solved, drawn as a dotted line.

    Returns:
        False if there was nothing to draw, and nothing was.
    """
    evaluation, training = read_curve(rows, EVALUATION), read_curve(rows, TRAINING)
    if not any(np.isfinite(curve.values).any() for curve in (evaluation, training)):
        return False

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if threshold is not None:
        axes.axhline(threshold, color=INK, linewidth=1, linestyle=":")
        axes.annotate(
            f"solved: {threshold:g}",
            (0, threshold),  # on the left, where a curve that rises is far below
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            color=INK,
            fontsize=8,
        )
    _draw(axes, training, "training", PALE, emphasis=False)
    _draw(axes, evaluation, "evaluation", ACCENT, emphasis=True)
    _dress(axes, title)

    # Renamed when complete, so that no viewer meets half a picture.
    unfinished = Path(path).with_name(f".{Path(path).name}.unfinished")
    FigureCanvasAgg(figure).print_png(unfinished)
    unfinished.replace(path)
    return True


def _draw(axes: Any, curve: Curve, label: str, color: str, *, emphasis: bool) -> None:
    seen = np.isfinite(curve.values).any(axis=1)
    steps, values = curve.steps[seen], curve.values[seen]
    if not len(steps):
        return
    mean, std, seeds = np.nanmean(values, 1), np.nanstd(values, 1), values.shape[1]
    style = {"color": color, "zorder": 3 if emphasis else 2}
    if seeds > 1:
        label = f"{label}, mean ± std of {seeds} seeds"
        axes.fill_between(
            steps, mean - std, mean + std, alpha=0.2, linewidth=0, **style
        )
        if emphasis:
            axes.plot(steps, values, linewidth=0.5, alpha=0.35, **style)
    # A point for each evaluation, as long as they can be told apart.
    marker = "o" if (emphasis and len(steps) <= 40) or len(steps) == 1 else None
    width = 2.0 if emphasis else 1.2
    axes.plot(
        steps, mean, label=label, linewidth=width, marker=marker, markersize=4, **style
    )


def _dress(axes: Any, title: str) -> None:
    from matplotlib.ticker import EngFormatter

    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel("environment steps", color=INK)
    axes.set_ylabel("undiscounted return per episode", color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.legend(frameon=False, fontsize=9, loc="best", reverse=True)
