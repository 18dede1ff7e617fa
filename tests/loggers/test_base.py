"""Several loggers are one, and metrics of several seeds have a mean."""

import pytest

from jaxrl_dist.loggers import JsonLines, Many, Metrics
from jaxrl_dist.loggers.base import over_seeds
from jaxrl_dist.loggers.json_lines import read_rows


def test_each_logger_is_given_every_report(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    logger = Many(*map(JsonLines, paths))
    logger.write(1, {"x": 1.0})
    logger.close()
    assert [read_rows(path) for path in paths] == [[{"step": 1, "x": 1.0}]] * 2


class Unclosable:
    """A logger whose disk is full."""

    def write(self, step: int, metrics: Metrics) -> None:
        """Takes a report."""

    def close(self) -> None:
        """Fails."""
        raise OSError("disk full")


def test_all_are_closed_also_when_closing_one_fails(tmp_path):
    last = JsonLines(tmp_path / "b")
    logger = Many(Unclosable(), last)
    with pytest.raises(OSError, match="disk full"):
        logger.close()
    with pytest.raises(ValueError, match="closed file"):
        last.write(1, {})


def test_the_mean_and_deviation_are_over_seeds():
    assert over_seeds(3) == (3.0, 0.0)
    assert over_seeds([1.0, 3.0]) == (2.0, 1.0)
