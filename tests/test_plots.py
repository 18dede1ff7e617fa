"""Learning curves are drawn from rows as loggers leave them."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from jaxrl_dist.loggers import JsonLines
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.plots import (
    ACCENT,
    EVALUATION,
    PALE,
    TRAINING,
    learning_curve,
    read_curve,
)


def make_rows(num_seeds: int) -> list[dict]:
    """Training returns at every step, evaluations at every fifth."""
    rng = np.random.default_rng(0)
    rows = []
    for step in range(100, 2_100, 100):
        returns = (step / 4 + rng.normal(size=num_seeds)).tolist()
        row: dict = {"step": step, TRAINING: returns}
        if step % 500 == 0:
            row[EVALUATION] = returns
        rows.append(row)
    return rows


def pixels_like(path, color: str) -> int:
    """How many pixels of a picture have about this colour."""
    wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return int((np.abs(imread(path)[..., :3] - wanted).max(axis=-1) < 0.02).sum())


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_both_curves_are_drawn(tmp_path, num_seeds):
    path = tmp_path / "learning_curve.png"
    rows = make_rows(num_seeds)
    assert learning_curve(rows, path, title="a run", threshold=475)
    assert pixels_like(path, ACCENT) > 500
    assert pixels_like(path, PALE) > 300
    assert [x.name for x in tmp_path.iterdir()] == ["learning_curve.png"]

    training_only = [{k: v for k, v in row.items() if k != EVALUATION} for row in rows]
    assert learning_curve(training_only, path, title="a run")
    assert pixels_like(path, ACCENT) == 0


def test_a_curve_holds_each_seed_and_what_is_missing():
    rows = [
        {"step": 1, TRAINING: [1.0, None]},
        {"step": 2, EVALUATION: 5.0},
        {"step": 3, TRAINING: [2.0, 4.0]},
    ]
    training = read_curve(rows, TRAINING)
    np.testing.assert_array_equal(training.steps, [1, 3])
    np.testing.assert_array_equal(training.values, [[1.0, np.nan], [2.0, 4.0]])
    np.testing.assert_array_equal(read_curve(rows, EVALUATION).values, [[5.0]])


def test_rows_of_a_file_can_be_drawn_whatever_is_missing(tmp_path):
    logger = JsonLines(tmp_path / "metrics.jsonl")
    logger.write(0, {TRAINING: float("nan")})  # no episode has ended yet
    logger.write(10, {TRAINING: 1.0, EVALUATION: 2.0})
    logger.close()
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert learning_curve(rows, tmp_path / "curve.png", title="")
    assert pixels_like(tmp_path / "curve.png", ACCENT) > 50


def test_without_returns_nothing_is_drawn(tmp_path):
    path = tmp_path / "curve.png"
    assert not learning_curve([], path, title="")
    assert not learning_curve([{"step": 1, "losses/value": 1.0}], path, title="")
    assert not learning_curve([{"step": 1, TRAINING: None}], path, title="")
    assert not path.exists()


def test_the_number_of_seeds_may_not_change():
    rows = [{"step": 1, TRAINING: 1.0}, {"step": 2, TRAINING: [1.0, 2.0]}]
    with pytest.raises(ValueError, match=r"training/return_mean has rows of \[1, 2\]"):
        read_curve(rows, TRAINING)


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    script = f"""
import sys
from jaxrl_dist import plots
assert "matplotlib" not in sys.modules
rows = [{{"step": 1, "training/return_mean": 1.0}}]
assert plots.learning_curve(rows, {str(tmp_path / "curve.png")!r}, title="")
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)
