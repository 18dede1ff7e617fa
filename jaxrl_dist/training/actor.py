"""An actor: it acts with the newest parameters it has, and sends what it sees."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import (
    Acting,
    Collect,
    Collected,
    Share,
    ends_of_sequences,
)
from jaxrl_dist.training.columns import Columns
from jaxrl_dist.training.experience import EXPERIENCE, OLD, Row
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.heartbeat import START_SECONDS
from jaxrl_dist.training.parameters import Fetched, Fetcher
from jaxrl_dist.training.telemetry import ActorReport, Reporter
from jaxrl_dist.types import ArrayTree

REPORT_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 0.005  # between looks at whether there is room
INCARNATION_BITS = 32  # of a sequence number, for the rollouts of one process


class Links(NamedTuple):
    """What an actor is connected to."""

    client: reverb.Client
    fetcher: Fetcher
    reporter: Reporter
    beat: Callable[..., None]  # says that this process lives


class Sender:
    """Turns rollouts into items, and lets no more than a few be under way."""

    def __init__(
        self, links: Links, flow: Flow, config: ActorsConfig, row: Columns, share: Share
    ) -> None:
        """Opens the stream to the server.

        Args:
            links: to the server.
            flow: what items are made of.
            config: of the run.
            row: the columns of a row.
            share: which environments are this actor's.
        """
        once = flow.kind != "replay"
        self._flow = flow
        self._config = config
        self._row = row
        self._links = links
        self._ends = set(ends_of_sequences(flow, config.rollout_steps))
        items = share.size * (1 if once else len(self._ends))
        self._most_waiting = (config.max_waiting_rollouts - 1) * items
        self._writer = links.client.writer(
            row.row(flow.item_rows if flow.whole else 1),
            reverb.WriterConfig(
                num_environments=share.size,
                max_item_rows=1 if flow.whole else flow.item_rows,
                chunk_length=1 if flow.whole else flow.period,
                timeout_seconds=config.timeout_seconds,
                insert=reverb.InsertConfig(
                    max_in_flight_items=2 * items * config.max_waiting_rollouts,
                    # What is learnt from once must not come twice.
                    unconfirmed="drop" if once else "resend",
                ),
            ),
        )
        self._source = np.arange(share.first, share.first + share.size, dtype=np.int32)
        self._recent: list[np.ndarray] = []  # rows [B, N] that sequences reach back to

    def wait_for_room(self) -> None:
        """Waits until few enough items are under way.

        Raises:
            ReverbError: the server refused some.
        """
        pause = LONGEST_PAUSE_SECONDS / 16
        while self._writer.metrics().items_in_flight > self._most_waiting:
            self._writer.check()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._links.beat()

    def send(self, collected: Collected, version: int, sequence: int) -> None:
        """Hands a rollout over; it is sent while the actor goes on.

        Args:
            collected: the rollout.
            version: of the parameters that acted.
            sequence: number of the rollout.

        Raises:
            ReverbError: the server refused earlier items.
        """
        rows = jax.tree.map(np.asarray, collected.rows)
        if self._flow.kind != "rounds":  # there, the memory of other rows is read, too
            rows = rows._replace(memory=kept_memory(rows.memory, self._flow.period))
        shape = rows.is_first.shape
        packed = self._row.pack(
            Row(
                trajectory=rows,
                version=np.full(shape, version, np.int32),
                source=np.broadcast_to(self._source, shape),
                sequence=np.full(shape, sequence, np.int64),
                carried=collected.carried,
            )
        )
        if self._flow.kind == "replay":
            self._send_sequences(packed, collected.priorities)
        else:
            self._send_whole(list(packed))
            self._create(EXPERIENCE, 1.0)
            if self._flow.replayed:
                self._create(OLD, 1.0)

    def close(self) -> None:
        """Gives up what has not been sent."""
        self._writer.cancel()

    def _send_whole(self, rows: Sequence[np.ndarray]) -> None:
        """Appends rows, L of [B, N], as if they were one."""
        flat = np.stack(rows, axis=1).reshape(len(self._source), -1)
        self._writer.append({self._row.key: flat})

    def _send_sequences(self, packed: np.ndarray, ranks: Any) -> None:
        priorities = None
        if not isinstance(ranks, tuple):
            # The learner is who finds out about NaN, and says so.
            ranks = np.asarray(ranks)
            priorities = iter(np.where(np.isfinite(ranks), ranks, 1.0))
        length = self._flow.item_rows
        for t in range(self._config.rollout_steps):
            self._recent = [*self._recent, packed[t]][-length:]
            if not self._flow.whole:
                self._writer.append({self._row.key: packed[t]})
            if t not in self._ends:
                continue
            priority = 1.0 if priorities is None else next(priorities)
            if len(self._recent) == length:
                if self._flow.whole:
                    self._send_whole(self._recent)
                self._create(EXPERIENCE, priority)

    def _create(self, table: str, priorities: Any) -> None:
        num_rows = 1 if self._flow.whole else self._flow.item_rows
        self._writer.create_items(table, num_rows, priorities)


def kept_memory(memory: ArrayTree, period: int) -> ArrayTree:
    """Memory [T, B, ...] of the rows with which a sequence begins; 0 in the others.

    Of sequences, nobody reads it there, and zeros are compressed to almost nothing.
    """

    def keep(x: np.ndarray) -> np.ndarray:
        kept = np.zeros_like(x)
        kept[::period] = x[::period]
        return kept

    return jax.tree.map(keep, memory)


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._now = time.perf_counter()

    def note(self, name: str) -> None:
        """Says what the time since the last call was spent on."""
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - self._now
        self._now = now


class Actor:
    """Acts and sends what it sees.

    Attributes:
        index: its number, from 0.
        incarnation: another number each time it is started.
    """

    def __init__(
        self,
        index: int,
        incarnation: int,
        links: Links,
        collect: Collect,
        sender: Sender,
    ) -> None:
        self.index = index
        self.incarnation = incarnation
        self._links = links
        self._collect = collect
        self._sender = sender
        self._clock = Clock()
        self._episodes: list[Any] = []
        self._reported = time.monotonic()

    def run(self, config: ActorsConfig, *, lock_step: bool) -> None:
        """Acts and sends, for ever.

        Args:
            config: of the run.
            lock_step: wait for new parameters after each rollout.

        Raises:
            TimeoutError: no parameters came in time.
            ReverbError: the server refuses what is sent.
        """
        links = self._links
        starting = functools.partial(links.beat, START_SECONDS)
        parameters = links.fetcher.wait(None, config.timeout_seconds, starting)
        state = self._collect.begin()
        sequence = self.incarnation << INCARNATION_BITS
        while True:
            self._sender.wait_for_room()
            self._clock.note("waiting")
            if not lock_step:
                parameters = links.fetcher.latest()
            state, collected = self._act(parameters, state)
            self._sender.send(collected, parameters.version, sequence)
            self._clock.note("sending")
            sequence += 1
            self._report(collected)
            links.beat()
            if lock_step:
                serial, seconds = parameters.serial, config.timeout_seconds
                parameters = links.fetcher.wait(serial, seconds, links.beat)
                self._clock.note("idle")

    def _act(self, parameters: Fetched, state: Any) -> tuple[Any, Collected]:
        acting: Acting = parameters.arrays
        state, collected = self._collect.run(acting, state)
        jax.block_until_ready(collected)
        self._clock.note("acting")
        return state, collected

    def _report(self, collected: Collected) -> None:
        self._episodes.append(collected.episodes)
        now = time.monotonic()
        if now - self._reported < REPORT_SECONDS:
            return
        sums = jax.tree.map(lambda *x: np.stack(x), *self._episodes)
        spent = self._clock.spent
        report = ActorReport(
            actor=self.index,
            num_steps=sums.num_steps.sum(),
            num_episodes=sums.num_episodes.sum(),
            return_sum=sums.return_sum.sum(),
            return_min=sums.return_min.min(),
            return_max=sums.return_max.max(),
            length_sum=sums.length_sum.sum(),
            seconds=now - self._reported,
            acting_seconds=spent.get("acting", 0.0),
            sending_seconds=spent.get("sending", 0.0),
            waiting_seconds=spent.get("waiting", 0.0),
            idle_seconds=spent.get("idle", 0.0),
        )
        self._links.reporter.send(report)
        self._episodes, self._clock.spent = [], {}
        self._reported = now
