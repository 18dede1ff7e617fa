"""The learner: it takes what actors send, learns, publishes, reports and saves."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.replay import reverb
from jaxrl_dist.training import reporting
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.evaluator import Examiner
from jaxrl_dist.training.feeds import Fed, Feed, ReplaySource
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.host_loop import (
    Counters,
    NotFiniteError,
    Outcome,
    Schedule,
    steps_per_second,
)
from jaxrl_dist.training.interruption import SAVING_SECONDS, Interruption
from jaxrl_dist.training.journal import Journal
from jaxrl_dist.training.learning import Learning, of_first
from jaxrl_dist.training.measuring import (
    Actors,
    Lag,
    table_metrics,
    telling_first,
)
from jaxrl_dist.training.on_device import TrainState
from jaxrl_dist.training.parameters import Publisher
from jaxrl_dist.training.saving import Saver
from jaxrl_dist.training.telemetry import Collector
from jaxrl_dist.types import ArrayTree

REPORT_SECONDS = 1.0  # reports are not more frequent
SLOW_REPORT_SECONDS = 10.0  # and not rarer


class Connections(NamedTuple):
    """What a learner is connected to."""

    client: reverb.Client
    feed: Feed
    source: Any  # that the feed draws from
    publisher: Publisher
    telemetry: Collector
    examiner: Examiner
    priorities: reverb.PriorityUpdater | None  # of a prioritized replay
    greet: Callable[[], None]  # says what is learnt, to all who ask
    beat: Callable[[], None]  # says that this process lives


class Plan(NamedTuple):
    """What a learner is to do."""

    config: ActorsConfig
    flow: Flow
    schedule: Schedule  # in updates: calls of `Learning.learn`
    beta: tuple[float, float]  # of importance weights, at the run's beginning and end
    metadata: dict[str, Any]  # stored with every checkpoint
    restarts: Callable[[], int] = int  # of all processes, so far; 0 by default


class Learner:
    """Drives a run of actors from where it stands to its end."""

    def __init__(
        self,
        plan: Plan,
        learning: Learning,
        connections: Connections,
        *,
        journal: Journal,
        checkpoints: Checkpoints,
    ) -> None:
        self._plan = plan
        self._learning = learning
        self._to = connections
        self._journal = journal
        self._checkpoints = checkpoints
        self._lag, self._actors = Lag(), Actors()
        self._epoch = connections.client.epoch
        self._ranked: tuple[np.ndarray, Any] | None = None
        self._saver = Saver(checkpoints, plan.metadata)
        self._evaluated: tuple[int, np.ndarray] | None = None  # by updates, the latest
        self._clock = self._reported = time.monotonic()
        self._has_begun = False  # waiting for the first actor is no training
        self._updates_reported, self._waited_reported = 0, 0.0

    def run(self, state: TrainState, counters: Counters, wish: Interruption) -> Outcome:
        """Learns until the schedule's end, or until the user wishes to stop.

        Args:
            state: of the run; its memory is reused.
            counters: how far it has come.
            wish: looked at between updates.

        Returns:
            How it ended. The last state has been saved.

        Raises:
            NotFiniteError: a loss or a parameter became NaN or infinite.
            TimeoutError: no experience came.
            ReverbError: the server refuses what is sent.
            OSError: a checkpoint cannot be written.
        """
        try:
            return self._run(state, counters, wish)
        finally:
            self._journal.release(everything=True)
            self._saver.abandon(self._to.beat, self._plan.config.timeout_seconds)

    def _run(
        self, state: TrainState, counters: Counters, wish: Interruption
    ) -> Outcome:
        schedule, totals = self._plan.schedule, self._learning.zeros()
        self._updates_reported = counters.updates
        self._publish(state, counters)
        while counters.updates < schedule.total and not wish:
            fed = self._next(counters, wish)
            if fed is None:
                break
            self._begin()
            self._lag.used(counters.updates, fed)
            state, totals, ranks = self._learning.learn(
                state, totals, fed.batch, np.int32(counters.updates)
            )
            self._rank(fed, ranks)
            counters = self._count(counters, fed)
            evaluate = self._is_due(counters, schedule.evaluate_every)
            if (
                evaluate
                or counters.updates % self._plan.config.publish_period_updates == 0
            ):
                self._publish(state, counters)
            if evaluate or self._report_is_due(counters):
                totals = self._report(state, totals, counters)
            if evaluate:
                self._evaluate(state, counters)
            self._look_after()
        interrupted = counters.updates < schedule.total
        if interrupted:
            counters = self._count_what_came(counters)
        if interrupted and counters.updates > self._updates_reported:
            self._report(state, totals, counters)  # what is not finite is not saved
        self._finish(state, counters, interrupted)
        return Outcome(state, counters, self._returns_of(counters), interrupted)

    def _begin(self) -> None:
        """Starts the clock, with the first that is known of an actor at work."""
        if not self._has_begun:
            self._has_begun = True
            self._clock = self._reported = time.monotonic()
            self._waited_reported = self._to.feed.waiting_seconds

    def _returns_of(self, counters: Counters) -> np.ndarray | None:
        """The evaluation of a state, if it has come."""
        number, returns = self._evaluated or (None, None)
        return returns if number == counters.updates else None

    def _next(self, counters: Counters, wish: Interruption) -> Fed | None:
        """Waits for the next batch; None if the user wishes to stop meanwhile."""

        def meanwhile() -> bool:
            self._to.beat()
            self._look_after()
            if self._plan.flow.kind == "replay" and self._actors.num_steps:
                self._begin()  # while it fills, steps are taken, and so is time
            return bool(wish)

        if isinstance(self._to.source, ReplaySource):
            first, last = self._plan.beta
            done = counters.updates / self._plan.schedule.total
            self._to.source.beta = first + (last - first) * done
        return self._to.feed.next(meanwhile, self._plan.config.timeout_seconds)

    def _rank(self, fed: Fed, ranks: ArrayTree) -> None:
        """Sends the priorities of the batch before, which is done by now."""
        before, self._ranked = self._ranked, (fed.keys, ranks)
        if before is None or self._to.priorities is None:
            return
        keys, values = before
        priorities = np.asarray(values).astype(np.float64).reshape(-1)
        sound = np.isfinite(priorities) & (priorities >= 0)
        self._to.priorities.update(keys[sound], priorities[sound])

    def _count(self, counters: Counters, fed: Fed) -> Counters:
        """Counts an update, and what came with it."""
        counters = self._count_what_came(counters)
        steps = 0 if self._plan.flow.kind == "replay" else fed.num_steps
        return counters._replace(
            updates=counters.updates + 1, env_steps=counters.env_steps + steps
        )

    def _count_what_came(self, counters: Counters) -> Counters:
        """Counts the time since the last call, and steps for a replay."""
        now, steps = time.monotonic(), 0
        seconds, self._clock = now - self._clock, now
        if self._plan.flow.kind == "replay":
            steps, self._actors.num_steps = self._actors.num_steps, 0
        return counters._replace(
            env_steps=counters.env_steps + steps,
            train_seconds=counters.train_seconds + seconds * self._has_begun,
        )

    def _is_due(self, counters: Counters, every: int) -> bool:
        updates = counters.updates
        return updates % every == 0 or updates == self._plan.schedule.total

    def _report_is_due(self, counters: Counters) -> bool:
        seconds = time.monotonic() - self._reported
        due = self._is_due(counters, self._plan.schedule.report_every)
        return seconds > (REPORT_SECONDS if due else SLOW_REPORT_SECONDS)

    def _publish(self, state: TrainState, counters: Counters) -> None:
        acting = self._learning.acting(state)
        self._to.publisher.publish(counters.updates, lambda: of_first(acting))
        self._lag.published(counters.updates)

    def _report(self, state: TrainState, totals: Any, counters: Counters) -> Any:
        means, num_updates, finite = of_first(self._learning.report(state, totals))
        metrics = {f"learner/{name}": float(value) for name, value in means.items()}
        wrong = [name for name, value in metrics.items() if not np.isfinite(value)]
        if wrong or not finite:
            self._give_up(wrong or ["a parameter"], counters)
        now = time.monotonic()
        seconds, self._reported = now - self._reported, now
        waited = self._to.feed.waiting_seconds
        updates = counters.updates - self._updates_reported
        metrics = {
            **self._actors.take(),
            **{name: metrics[name] for name in telling_first(metrics)},
            **self._lag.take(),
            "processes/restarts": float(self._plan.restarts()),
            "learning/updates_per_second": updates / seconds,
            "learning/waiting_share": (waited - self._waited_reported) / seconds,
            **self._tables(),
            "speed/steps_per_second": steps_per_second(counters),
        }
        self._updates_reported, self._waited_reported = counters.updates, waited
        self._journal.write(counters.env_steps, metrics)
        return self._learning.zeros()

    def _tables(self) -> dict[str, float]:
        """What the server says about its tables; nothing while it is away."""
        try:
            return table_metrics(self._plan.flow, self._to.client.server_info())
        except (reverb.UnavailableError, reverb.DeadlineError):
            return {}

    def _give_up(self, wrong: list[str], counters: Counters) -> None:
        good = self._checkpoints.latest()
        where = f"step {good} in {self._checkpoints.folder}"
        raise NotFiniteError(
            f"{' and '.join(wrong)} became NaN or infinite by environment step "
            f"{counters.env_steps} (update {counters.updates}); the last good "
            f"checkpoint: {'there is none' if good is None else where}"
        )

    def _evaluate(self, state: TrainState, counters: Counters) -> None:
        """Has the newest parameters evaluated, and saves the state."""
        acting = of_first(self._learning.acting(state))
        self._to.examiner.ask(counters.updates, counters.env_steps, acting)
        self._journal.expect(counters.env_steps)
        self._saver.save(state, counters, to_be_rated=True)

    def _look_after(self) -> None:
        """Takes reports and evaluations, and tells a server that lost everything."""
        self._actors.add(self._to.telemetry.take())
        for result in self._to.examiner.take():
            self._evaluated = int(result.number), result.returns
            step = int(result.step)
            metrics = reporting.evaluation_metrics(result.returns[None])
            self._journal.write(step, metrics)
            self._journal.arrived(step)
            quality = float(result.returns.mean())
            self._saver.rate(step, quality)
        self._journal.release()
        self._to.publisher.check()
        self._to.beat()
        if self._to.client.epoch != self._epoch:
            self._epoch = self._to.client.epoch
            self._to.greet()
            self._to.publisher.again()
            self._to.examiner.again()

    def _finish(self, state: TrainState, counters: Counters, interrupted: bool) -> None:
        """Waits for the evaluations that were asked for, and for the disk."""
        if interrupted:
            self._saver.save(state, counters)
        elif self._returns_of(counters) is None and not self._to.examiner.expected:
            self._evaluate(state, counters)  # the learner before ended too soon for it
        patience = self._plan.config.timeout_seconds
        if interrupted:
            patience = min(patience, SAVING_SECONDS)
        began, asked_again = time.monotonic(), False
        while not interrupted and self._to.examiner.expected:
            self._look_after()
            time.sleep(0.02)
            waited = time.monotonic() - began
            if waited > patience:
                break
            if waited > patience / 3 and not asked_again:
                self._to.examiner.again()  # an evaluator that died has lost what it had
                asked_again = True
        self._saver.finish(self._to.beat, patience)
        self._to.beat()
