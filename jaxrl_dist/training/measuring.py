"""What a run of actors and a learner tells of itself."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training import reporting
from jaxrl_dist.training.experience import (
    EVALUATIONS,
    EXPERIENCE,
    OLD,
    TELEMETRY,
    TO_EVALUATE,
)
from jaxrl_dist.training.feeds import Fed
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.telemetry import ActorReport

SILENT_SECONDS = 30.0  # after which an actor's last report counts no more
SHARES = ("acting", "sending", "waiting", "idle")  # of an actor's time


class Lag:
    """How old the parameters were that acted, of the batches since the last report."""

    def __init__(self) -> None:
        self._published: dict[int, float] = {}  # version to time.monotonic()
        self._lags: list[float] = []
        self._longest = 0.0
        self._ages: list[float] = []

    def published(self, version: int) -> None:
        """Notes that parameters were published now."""
        self._published[version] = time.monotonic()
        if len(self._published) > 10_000:
            self._published.pop(next(iter(self._published)))

    def used(self, version: int, fed: Fed) -> None:
        """Notes a batch.

        Args:
            version: of the parameters that learn from it.
            fed: the batch.
        """
        # A learner that went back to its checkpoint may be behind its actors.
        lags = np.maximum(0, version - fed.versions)
        self._lags.append(float(lags.mean()))
        self._longest = max(self._longest, float(lags.max()))
        now = time.monotonic()
        times = [self._published.get(int(x)) for x in np.unique(fed.versions)]
        self._ages += [now - x for x in times if x is not None]

    def take(self) -> dict[str, float]:
        """The metrics since the last call."""
        metrics = {}
        if self._lags:
            metrics["actors/policy_lag_mean"] = float(np.mean(self._lags))
            metrics["actors/policy_lag_max"] = self._longest
        if self._ages:
            metrics["actors/parameter_age_seconds"] = float(np.mean(self._ages))
        self._lags, self._longest, self._ages = [], 0.0, []
        return metrics


class Actors:
    """What all actors did, from their reports."""

    def __init__(self) -> None:
        self.num_steps = 0  # environment steps since this learner began
        self._latest: dict[int, tuple[float, ActorReport]] = {}
        self._unreported: list[ActorReport] = []

    def add(self, reports: Sequence[ActorReport]) -> None:
        """Takes reports."""
        now = time.monotonic()
        for report in reports:
            actor = int(report.actor)
            self.num_steps += int(report.num_steps)
            self._latest[actor] = (now, report)
            self._unreported.append(report)

    def take(self) -> dict[str, Any]:
        """The metrics since the last call."""
        now = time.monotonic()
        live = [r for t, r in self._latest.values() if now - t < SILENT_SECONDS]
        reports, self._unreported = self._unreported, []
        metrics: dict[str, Any] = {}
        if live:
            metrics["actors/alive"] = float(len(live))
            rates = [r.num_steps / r.seconds for r in live]
            metrics["actors/steps_per_second"] = float(sum(rates))
        seconds = sum(float(r.seconds) for r in reports)
        for name in SHARES if seconds else ():
            spent = sum(float(getattr(r, f"{name}_seconds")) for r in reports)
            metrics[f"actors/{name}_share"] = spent / seconds
        return metrics | _episodes(reports)


def _episodes(reports: Sequence[ActorReport]) -> dict[str, float]:
    ended = [r for r in reports if r.num_episodes]
    count = float(sum(r.num_episodes for r in ended))
    if not count:
        return {}
    return {
        "training/return_mean": float(sum(r.return_sum for r in ended)) / count,
        "training/length_mean": float(sum(r.length_sum for r in ended)) / count,
        "training/return_min": float(min(r.return_min for r in ended)),
        "training/return_max": float(max(r.return_max for r in ended)),
    }


def table_metrics(flow: Flow, info: reverb.ServerInfo) -> dict[str, float]:
    """What the server says about its tables."""
    table = info.tables[EXPERIENCE]
    least = table.table.rate_limiter.min_size_to_sample
    metrics = {}
    if flow.kind == "replay":
        # Nothing is drawn until the table holds its least number of items.
        counted = table.num_inserts - least
        if counted > 0:
            metrics["tables/samples_per_insert"] = table.num_samples / counted
        metrics["tables/samples_per_insert_asked"] = flow.samples_per_insert
    for name in (EXPERIENCE, OLD, TO_EVALUATE, EVALUATIONS, TELEMETRY):
        if name in info.tables:
            size = info.tables[name].current_size
            metrics[f"tables/{name}_size"] = float(size)
    return metrics


def telling_first(metrics: Mapping[str, float]) -> list[str]:
    """Names of the learner's metrics, those first that tell most."""
    known = [f"learner/{name}" for name in reporting.TELLING]
    first = [name for name in known if name in metrics]
    return first + [name for name in metrics if name not in first]
