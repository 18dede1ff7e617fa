"""The loop on the host: between compiled chunks it reports, evaluates and saves."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.loggers import Logger
from jaxrl_dist.training import reporting
from jaxrl_dist.training.interruption import Interruption
from jaxrl_dist.training.on_device import Report

# Chunks grow until they take this long; a signal is answered when one is done.
CHUNK_SECONDS = 0.5


class NotFiniteError(ArithmeticError):
    """A loss or a parameter became NaN or infinite; the run has been stopped."""


class Schedule(NamedTuple):
    """When the host acts, in updates: rollouts, each with what is learned after it."""

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

    train: Callable  # (state, updates so far, updates to do) to (state, Report)
    evaluate: Callable  # (state, first seed, number) to Episodes [D, S, ...]


class Outcome(NamedTuple):
    """How a run ended."""

    state: Any
    counters: Counters
    returns: np.ndarray | None  # [S, episodes] of `state`; None if not evaluated
    interrupted: bool  # before its end, and saved


class HostLoop:
    """Drives a run from where it stands to its end.

    Attributes:
        functions: compiled.
        schedule: when to report and evaluate.
        logger: takes the reports, one for each step that has any.
        checkpoints: takes the states.
        seed: the first one.
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
        seed: int,
        num_seeds: int,
        metadata: dict[str, Any],
    ) -> None:
        self.functions = functions
        self.schedule = schedule
        self.logger = logger
        self.checkpoints = checkpoints
        self.seed = seed
        self.num_seeds = num_seeds
        self.metadata = metadata
        self._chunk = 1  # updates
        self._clock = 0.0  # when the chunk before was done
        self._unreported: list[Report] = []
        self._last_good = checkpoints.latest()
        self._saving: tuple[int, Future] | None = None

    def run(self, state: Any, counters: Counters, wish: Interruption) -> Outcome:
        """Trains until the schedule's end, or until the user wishes to stop.

        Args:
            state: of the run; its memory is reused.
            counters: how far it has come.
            wish: looked at after every chunk.

        Returns:
            How it ended. The last state has been saved.

        Raises:
            NotFiniteError: a loss or a parameter became NaN or infinite; no state with
                such a number is ever saved.
        """
        try:
            return self._run(state, counters, wish)
        finally:
            if self._saving is not None:  # something was raised; orbax needs a process
                wait([self._saving[1]])

    def step(self, counters: Counters) -> int:
        """Environment steps of one seed."""
        return counters.env_steps // self.num_seeds

    def _run(self, state: Any, counters: Counters, wish: Interruption) -> Outcome:
        total, returns = self.schedule.total, None
        while counters.updates < total and not wish:
            goal = _next_multiple(counters.updates, self.schedule.evaluate_every)
            goal = min(goal, total)
            state, counters = self._train(state, counters, goal, wish)
            metrics, quality, returns = self._take_report(), None, None
            if counters.updates == goal:  # also when the wish came just now
                returns = self._evaluate(state, counters)
                metrics |= reporting.evaluation_metrics(returns)
                metrics["speed/steps_per_second"] = steps_per_second(counters)
                quality = float(returns.mean())
            if metrics:
                self.logger.write(self.step(counters), metrics)
            self._save(state, counters, quality)
        self._finish_saving()
        return Outcome(state, counters, returns, counters.updates < total)

    def _train(
        self, state: Any, counters: Counters, goal: int, wish: Interruption
    ) -> tuple[Any, Counters]:
        """Runs chunks up to a goal; each is looked at while the next is running."""
        self._clock = time.perf_counter()
        begun, running = counters.updates, None
        while running or (begun < goal and not wish):
            before, running = running, None
            if begun < goal and not wish:
                due = _next_multiple(begun, self.schedule.report_every)
                until = min(goal, due, begun + self._chunk)
                number = np.int32(until - begun)
                state, report = self.functions.train(state, np.int32(begun), number)
                begun, running = until, (until, report)
            if before:
                counters = self._look_at(*before, counters)
                due = counters.updates % self.schedule.report_every == 0
                if due and counters.updates < goal:
                    self.logger.write(self.step(counters), self._take_report())
        return state, counters

    def _look_at(self, until: int, report: Report, counters: Counters) -> Counters:
        """Waits for a chunk, checks it, and counts what it did."""
        jax.block_until_ready(report)
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        updates = until - counters.updates
        if updates == self._chunk and seconds < CHUNK_SECONDS:
            self._chunk *= 2
        elif seconds > 2 * CHUNK_SECONDS:
            self._chunk = max(1, updates // 2)
        report = reporting.fetch(report)
        counters = Counters(
            updates=until,
            env_steps=counters.env_steps + int(report.episodes.num_steps.sum()),
            train_seconds=counters.train_seconds + seconds,
        )
        if wrong := reporting.not_finite(report, self.seed):
            self._give_up(wrong, counters)
        self._unreported.append(report)
        return counters

    def _take_report(self) -> dict[str, Any]:
        """Sums up the chunks since the last report, if there are any."""
        if not self._unreported:
            return {}
        report, self._unreported = reporting.join(self._unreported), []
        return reporting.training_metrics(report)

    def _give_up(self, wrong: list[str], counters: Counters) -> None:
        self._finish_saving()
        good = "there is none"
        if self._last_good is not None:
            good = f"step {self._last_good} in {self.checkpoints.folder}"
        raise NotFiniteError(
            f"{' and '.join(wrong)} became NaN or infinite by environment step "
            f"{self.step(counters)} (update {counters.updates}); the last good "
            f"checkpoint: {good}"
        )

    def _evaluate(self, state: Any, counters: Counters) -> np.ndarray:
        """Plays whole episodes; their returns, [S, episodes]."""
        # In numpy: jnp would compile a program to make a number.
        seed, number = np.int32(self.seed), np.int32(counters.updates)
        return reporting.by_seed(self.functions.evaluate(state, seed, number).returns)

    def _save(self, state: Any, counters: Counters, quality: float | None) -> None:
        """Has a checkpoint written while the run goes on."""
        self._finish_saving()
        step = self.step(counters)
        metadata = self.metadata | {"counters": counters._asdict()}
        saving = self.checkpoints.save_in_background(
            step, state, metric=quality, metadata=metadata
        )
        self._saving = (step, saving)

    def _finish_saving(self) -> None:
        if self._saving is not None:
            step, saving = self._saving
            saving.result()
            self._last_good, self._saving = step, None


def steps_per_second(counters: Counters) -> float:
    """Transitions of all seeds per second of training; 0 before any."""
    if not counters.train_seconds:
        return 0.0
    return counters.env_steps / counters.train_seconds


def _next_multiple(number: int, of: int) -> int:
    return (number // of + 1) * of
