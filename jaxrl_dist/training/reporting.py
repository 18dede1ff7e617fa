"""From what the devices report to the metrics that loggers show."""

from typing import Any

import jax
import numpy as np

from jaxrl_dist.environments import statistics
from jaxrl_dist.training.on_device import Report

# Shown first, in this order: what tells most about how learning goes. Others follow.
TELLING = ("value_loss", "loss", "q_mean", "entropy", "policy_loss", "kl")


def fetch(report: Report) -> Report:
    """Brings a report to the host, and joins the devices, [D, S] to [S]."""
    report = jax.device_get(report)
    return Report(
        metrics={name: values.mean(0) for name, values in report.metrics.items()},
        num_updates=report.num_updates[0],
        episodes=statistics.join(report.episodes, axis=0),
        finite=report.finite.all(0),
    )


def join(reports: list[Report]) -> Report:
    """Joins what chunks that follow one another report.

    Args:
        reports: of `fetch`, [S]; at least one.

    Returns:
        One report [S] on all of them: means of metrics, sums over episodes.
    """
    chunks = jax.tree.map(lambda *x: np.stack(x), *reports)
    num_updates = chunks.num_updates.sum(0)
    weights = chunks.num_updates / np.maximum(num_updates, 1)
    return Report(
        metrics={
            name: (weights * values.astype(np.float64)).sum(0)
            for name, values in chunks.metrics.items()
        },
        num_updates=num_updates,
        episodes=statistics.join(chunks.episodes, axis=0),
        finite=chunks.finite.all(0),
    )


def training_metrics(report: Report) -> dict[str, Any]:
    """Names what a joined report says.

    Args:
        report: of `join`.

    Returns:
        Metrics, a number each for one seed and one for each of several. Returns and
        lengths are there if episodes ended in every seed, and the learner's metrics if
        it has learned.
    """
    metrics = {}
    episodes = report.episodes
    if episodes.num_episodes.all():
        metrics = {
            "training/return_mean": episodes.return_sum / episodes.num_episodes,
            "training/length_mean": episodes.length_sum / episodes.num_episodes,
            "training/return_min": episodes.return_min,
            "training/return_max": episodes.return_max,
        }
    if report.num_updates.all():
        metrics |= _learner_metrics(report)
    return {name: _by_seed(values) for name, values in metrics.items()}


def evaluation_metrics(returns: np.ndarray) -> dict[str, Any]:
    """Sums up an evaluation.

    Args:
        returns: [S, episodes], environment reward units.
    """
    metrics = {
        "evaluation/return_mean": returns.mean(1),
        "evaluation/return_std": returns.std(1),
        "evaluation/return_min": returns.min(1),
        "evaluation/return_max": returns.max(1),
    }
    return {name: _by_seed(values) for name, values in metrics.items()}


def by_seed(returns: Any) -> np.ndarray:
    """Lays the returns of an evaluation out, [D, S, E, B] to [S, episodes]."""
    returns = np.moveaxis(np.asarray(returns), 1, 0)
    return returns.reshape(returns.shape[0], -1)


def not_finite(report: Report, first_seed: int) -> list[str]:
    """Names what became NaN or infinite, and of which seed if there are several.

    Args:
        report: of `fetch`.
        first_seed: of the run.
    """
    metrics = _learner_metrics(report)
    wrong = {name: ~np.isfinite(values) for name, values in metrics.items()}
    if not any(seeds.any() for seeds in wrong.values()):
        wrong = {"a parameter": ~np.asarray(report.finite)}
    several = len(report.finite) > 1
    return [
        f"{name} of seed {first_seed + seeds.argmax()}" if several else name
        for name, seeds in wrong.items()
        if seeds.any()
    ]


def _learner_metrics(report: Report) -> dict[str, np.ndarray]:
    """The agent's metrics, those that tell most first."""
    known = [name for name in TELLING if name in report.metrics]
    names = known + [name for name in report.metrics if name not in known]
    return {f"learner/{name}": report.metrics[name] for name in names}


def _by_seed(values: Any) -> Any:
    """One number for one seed, else one for each."""
    return float(values[0]) if len(values) == 1 else values
