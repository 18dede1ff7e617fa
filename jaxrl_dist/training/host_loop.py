"""The loop on the host: between compiled chunks it reports, evaluates and saves."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.environments import statistics
from jaxrl_dist.loggers import Logger
from jaxrl_dist.training.on_device import Report


class NotFiniteError(ArithmeticError):
    """A loss or a parameter became NaN or infinite; the run has been stopped."""


class Schedule(NamedTuple):
    """When the host acts, in updates of the agent."""

    total: int  # the run is over
    report_every: int
    evaluate_every: int  # a checkpoint follows each evaluation


class Counters(NamedTuple):
    """How far a run has come; stored beside every checkpoint."""

    updates: int = 0
    env_steps: int = 0  # transitions of all seeds
    train_seconds: float = 0.0


class Functions(NamedTuple):
    """The compiled parts of a run."""

    train: Callable  # (state, num_updates) to (state, Report)
    evaluate: Callable  # (state, key) to Episodes [D, S, E, B]
    eval_key: jax.Array


class Outcome(NamedTuple):
    """How a run ended."""

    state: Any
    counters: Counters
    returns: np.ndarray | None  # [S, episodes] of the last evaluation; None without
    interrupted: bool


class Interruption:
    """Whether the user asked the run to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turns the first SIGINT or SIGTERM into a wish, so that the run can save and end.

    A second one ends the process at once. Outside the main thread, where Python lets
    nobody handle signals, nothing is changed.
    """
    wish = Interruption()

    def note(number: int, frame: Any) -> None:
        del frame
        wish.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        pass
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class HostLoop:
    """Drives a run from where it stands to its end.

    Attributes:
        functions: compiled.
        schedule: when to report and evaluate.
        logger: takes the reports.
        checkpoints: takes the states.
        num_seeds: S. Steps of one seed are what is logged, on average over seeds.
        metadata: stored with every checkpoint.
    """

    def __init__(
        self,
        functions: Functions,
        schedule: Schedule,
        *,
        logger: Logger,
        checkpoints: Checkpoints,
        num_seeds: int,
        metadata: dict[str, Any],
    ) -> None:
        self.functions = functions
        self.schedule = schedule
        self.num_seeds = num_seeds
        self.logger = logger
        self.checkpoints = checkpoints
        self.metadata = metadata
        self._last_good = checkpoints.latest()

    def run(self, state: Any, counters: Counters, wish: Interruption) -> Outcome:
        """Trains until the schedule's end, or until the user wishes to stop.

        Args:
            state: of the run; its memory is reused.
            counters: how far it has come.
            wish: looked at after every chunk.

        Returns:
            How it ended. When interrupted, the state has been saved.

        Raises:
            NotFiniteError: a loss or a parameter became NaN or infinite; no state with
                such a number is ever saved.
        """
        returns = None
        while counters.updates < self.schedule.total and not wish:
            state, counters = self._train_until_evaluation(state, counters, wish)
            if not wish:
                returns = self._evaluate(state, counters)
                self._save(state, counters, metric=float(returns.mean()))
        if wish and self._last_good != self.step(counters):
            self._save(state, counters, metric=None)
        return Outcome(state, counters, returns, interrupted=bool(wish))

    def step(self, counters: Counters) -> int:
        """Environment steps of one seed."""
        return counters.env_steps // self.num_seeds

    def _train_until_evaluation(
        self, state: Any, counters: Counters, wish: Interruption
    ) -> tuple[Any, Counters]:
        """Runs chunks; each is reported while the next is already running."""
        goal = _next_multiple(counters.updates, self.schedule.evaluate_every)
        goal = min(goal, self.schedule.total)
        started = time.perf_counter()
        waiting: tuple[int, Report] | None = None
        done = counters.updates
        while done < goal and not wish:
            until = min(goal, _next_multiple(done, self.schedule.report_every))
            state, report = self.functions.train(state, jnp.int32(until - done))
            done = until
            if waiting is not None:
                counters = self._report(*waiting, counters)
            waiting = (until, report)
        if waiting is not None:
            jax.block_until_ready(waiting[1])
            elapsed = time.perf_counter() - started
            counters = counters._replace(train_seconds=counters.train_seconds + elapsed)
            counters = self._report(*waiting, counters)
        return state, counters

    def _report(self, updates: int, report: Report, counters: Counters) -> Counters:
        """Checks and logs what a chunk did."""
        report = jax.tree.map(np.asarray, report)
        episodes = statistics.join(report.episodes, axis=0)
        counters = counters._replace(
            updates=updates,
            env_steps=counters.env_steps + int(episodes.num_steps.sum()),
        )
        metrics = {
            f"learner/{name}": _seeds(values.mean(0))
            for name, values in report.metrics.items()
        }
        self._check_finite(metrics, report.finite, counters)
        ended = np.maximum(episodes.num_episodes, 1)
        if episodes.num_episodes.all():
            metrics |= {
                "training/return_mean": _seeds(episodes.return_sum / ended),
                "training/return_min": _seeds(episodes.return_min),
                "training/return_max": _seeds(episodes.return_max),
                "training/length_mean": _seeds(episodes.length_sum / ended),
            }
        self.logger.write(self.step(counters), metrics)
        return counters

    def _check_finite(
        self, metrics: dict[str, Any], finite: Any, counters: Counters
    ) -> None:
        wrong = [name for name, x in metrics.items() if not np.isfinite(x).all()]
        if not wrong and finite.all():
            return
        what = " and ".join(wrong) if wrong else "a parameter"
        good = "none was saved"
        if self._last_good is not None:
            good = f"step {self._last_good} in {self.checkpoints.folder}"
        raise NotFiniteError(
            f"{what} became NaN or infinite by environment step {self.step(counters)} "
            f"(update {counters.updates}); the last good checkpoint: {good}"
        )

    def _evaluate(self, state: Any, counters: Counters) -> np.ndarray:
        """Plays whole episodes and logs their returns, [S, episodes]."""
        key = jax.random.fold_in(self.functions.eval_key, counters.updates)
        episodes = jax.device_get(self.functions.evaluate(state, key))
        returns = np.moveaxis(episodes.returns, 1, 0)
        returns = returns.reshape(returns.shape[0], -1)
        metrics = {
            "evaluation/return_mean": _seeds(returns.mean(1)),
            "evaluation/return_std": _seeds(returns.std(1)),
            "evaluation/return_min": _seeds(returns.min(1)),
            "evaluation/return_max": _seeds(returns.max(1)),
        }
        if counters.train_seconds:
            speed = counters.env_steps / counters.train_seconds
            metrics["speed/steps_per_second"] = speed
        self.logger.write(self.step(counters), metrics)
        return returns

    def _save(self, state: Any, counters: Counters, metric: float | None) -> None:
        metadata = self.metadata | {"counters": counters._asdict()}
        step = self.step(counters)
        self.checkpoints.save(step, state, metric=metric, metadata=metadata)
        self._last_good = step


def _next_multiple(number: int, of: int) -> int:
    return (number // of + 1) * of


def _seeds(values: Any) -> Any:
    """One number for one seed, else one for each."""
    return float(values[0]) if len(values) == 1 else values
