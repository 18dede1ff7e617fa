"""Sums up finished runs as rows of a Markdown table, as RESULTS.md has them.

Runs that differ in nothing but their seeds become one row. Returns are those of the
final policy; each seed counts with the mean over its episodes.

    python -m experiments.summarise runs/cartpole_ppo/* runs/acrobot_ppo/*
"""

import dataclasses
import importlib
import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist import configuration
from jaxrl_dist.cli import with_one_line
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.plots import EVALUATION
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.saved_runs import NamedExperiment, read

HEADER = """\
| task | command | steps | IQM | mean ± std | min .. max | seeds | commit |
| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"""


class Result(NamedTuple):
    """How one run ended."""

    named: NamedExperiment
    returns: np.ndarray  # [seeds] mean over episodes, environment reward units
    steps: int  # environment steps of one seed, on average
    commit: str


def interquartile_mean(values: Sequence[float] | np.ndarray) -> float:
    """The mean of the middle half, a robust mean of few runs.

    The lowest and the highest quarter of the sorted values count nothing. Where a
    quarter is no whole number, the value it cuts counts in part: of five, sorted, the
    weights are 0, 0.3, 0.4, 0.3, 0.

    Args:
        values: [N], at least one.

    Source:
        Agarwal et al. 2021, Deep RL at the edge of the statistical precipice,
        arXiv:2108.13264; their implementation drops whole values only.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    lower = np.arange(ordered.size)
    quarter = ordered.size / 4
    inside = np.minimum(lower + 1, 3 * quarter) - np.maximum(lower, quarter)
    weights = np.maximum(inside, 0.0)
    return float(weights @ ordered / weights.sum())


def final_returns(folder: RunFolder) -> np.ndarray:
    """Mean return of each seed's final policy, [seeds].

    Raises:
        ValueError: the run was never evaluated.
    """
    rows = [row for row in read_rows(folder.metrics) if EVALUATION in row]
    if not rows:
        raise ValueError(f"{folder.path} has no evaluation in {folder.metrics.name}")
    return np.atleast_1d(np.asarray(rows[-1][EVALUATION], np.float64))


def read_result(path: Path) -> Result:
    """Reads how a run ended.

    Raises:
        ValueError: it is no run's folder, or the run has not ended, or was interrupted.
    """
    folder = RunFolder.open(path)
    if not folder.summary.is_file():
        raise ValueError(f"the run in {path} has not ended: no {folder.summary.name}")
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    if summary["evaluation"] is None:
        raise ValueError(f"the run in {path} was interrupted before its evaluation")
    return Result(
        named=read(folder),
        returns=final_returns(folder),
        steps=round(summary["env_steps"] / summary["num_seeds"]),
        commit=summary["versions"].get("commit", "unknown"),
    )


def without_seeds(named: NamedExperiment) -> NamedExperiment:
    """What runs of one row have in common, of what decides their results."""
    runtime = dataclasses.replace(named.experiment.runtime, num_devices=None)
    experiment = dataclasses.replace(
        named.experiment, runtime=runtime, seed=0, num_seeds=1, threshold=None
    )
    return dataclasses.replace(named, experiment=experiment)


def command(named: NamedExperiment) -> str:
    """The command line that makes such a run, without seeds and devices."""
    module = importlib.import_module(f"experiments.{named.name}")
    preset = without_seeds(NamedExperiment(named.name, module.experiment()))
    flags = _flags(preset.experiment, without_seeds(named).experiment)
    return " ".join([f"python -m experiments.{named.name}", *flags])


def _flags(preset: Experiment, experiment: Experiment) -> list[str]:
    before = dict(configuration.leaves(preset))
    return [
        _flag(name, value)
        for name, value in configuration.leaves(experiment)
        if value != before[name]
    ]


def _flag(name: str, value: Any) -> str:
    *parents, last = name.replace("_", "-").split(".")
    if isinstance(value, bool):
        return "--" + ".".join([*parents, last if value else f"no-{last}"])
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    words = value if isinstance(value, list | tuple) else [value]
    return " ".join(
        [f"--{'.'.join([*parents, last])}", *map(shlex.quote, map(str, words))]
    )


def row(results: Sequence[Result]) -> str:
    """One row of the table, of runs that differ in nothing but their seeds."""
    named = results[0].named
    returns = np.concatenate([result.returns for result in results])
    steps = np.mean([result.steps for result in results])
    commits = sorted({result.commit for result in results})
    numbers = [
        f"{steps:,.0f}",
        _number(interquartile_mean(returns)),
        f"{_number(returns.mean())} ± {_number(returns.std())}",
        f"{_number(returns.min())} .. {_number(returns.max())}",
        str(returns.size),
    ]
    task = named.experiment.environment.name
    cells = [task, f"`{command(named)}`", *numbers, ", ".join(commits)]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Three digits that matter, and none behind the point from 100 on but one."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.1f}"
    digits = max(1, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def table(paths: Sequence[Path]) -> str:
    """The table of some run folders, in the order in which they are named.

    Raises:
        ValueError: one is no folder of a finished run.
    """
    groups: dict[str, list[Result]] = {}
    for path in paths:
        result = read_result(path)
        groups.setdefault(repr(without_seeds(result.named)), []).append(result)
    return "\n".join([HEADER, *(row(results) for results in groups.values())])


def main(arguments: Sequence[str]) -> None:
    """Prints the table of the run folders that are named."""
    if not arguments:
        raise ValueError("name the folders of finished runs")
    print(table([Path(argument) for argument in arguments]))


if __name__ == "__main__":
    with_one_line(lambda: main(sys.argv[1:]))
