"""What flows between actors and learner, through a real server and without learning."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training import experience, handshake
from jaxrl_dist.training.actor import Links, Sender
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import Collected, Share
from jaxrl_dist.training.columns import columns_of
from jaxrl_dist.training.feeds import Feed, QueueSource, ReplaySource, RoundsSource
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.measuring import Lag, table_metrics
from jaxrl_dist.training.parameters import (
    PARAMETERS,
    Fetcher,
    Publisher,
    published_like,
)
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, Trajectory
from tests.training.actor_threads import Threads

pytestmark = pytest.mark.reverb
STEPS, SIZE = 4, 3  # of a rollout, and environments of an actor
SECONDS = 60.0


def make_rows(first: int = 0) -> Trajectory:
    """A rollout [T + 1, B] that counts on from a number, without ends."""
    shape = (STEPS + 1, SIZE)
    false = np.zeros(shape, bool)
    numbers = np.arange(first, first + STEPS + 1, dtype=np.float32)
    observation = np.broadcast_to(numbers[:, None, None], (*shape, 2))
    action = np.zeros(shape, np.int32)
    reward = np.ones(shape, np.float32)
    return Trajectory(observation, false, false, action, reward, false)  # pyright: ignore[reportArgumentType] - numpy, as when it is sent


ROW = columns_of(experience.row_like(make_rows(), carried=False))
LIKE = {"weights": np.zeros(3, np.float32)}
PUBLISHED = columns_of(published_like(LIKE))


def make_flow(kind: Any, *, actors: int, batch_size: int, **changes: Any) -> Flow:
    whole = Flow(
        kind=kind,
        item_rows=STEPS + 1,
        period=STEPS + 1,
        batch_size=batch_size,
        replayed=0,
        num_envs=actors * SIZE,
        samples_per_insert=1.0,
    )
    return whole._replace(**changes)


def tables_of(
    flow: Flow, config: ActorsConfig, replay: ReplayConfig | None = None
) -> list[reverb.Table]:
    return [
        *experience.experience_tables(flow, config, replay, ROW),
        experience.newest(PARAMETERS, PUBLISHED.signature(1)),
    ]


def sending(
    address: str,
    flow: Flow,
    config: ActorsConfig,
    *,
    actor: int,
    version: Callable[[], int] = lambda: 0,
) -> Callable:
    """An actor that sends rollouts as fast as it may, as `Threads` takes it."""

    def act(beat: Callable[[], None]) -> None:
        with reverb.Client(address) as client:
            nothing: Any = None
            links = Links(client, nothing, nothing, beat)
            share = Share(actor * SIZE, SIZE, flow.num_envs)
            sender = Sender(links, flow, config, ROW, share)
            for number in itertools.count():
                beat()
                sender.wait_for_room()
                rows = make_rows(STEPS * number)
                none: Any = ()
                sender.send(Collected(rows, (), (), none), version(), number)

    return act


def test_every_trajectory_of_the_queue_is_learnt_from_once_and_in_order():
    config, old = ActorsConfig(rollout_steps=STEPS, replayed_share=0.5), 4
    flow = make_flow("queue", actors=3, batch_size=4 + old, replayed=old)
    seen: dict[int, list[int]] = {}
    with reverb.Server(tables_of(flow, config)) as server:
        actors = [
            sending(server.address, flow, config, actor=actor) for actor in range(3)
        ]
        with Threads(*actors), reverb.Client(server.address) as client:
            source = QueueSource(client, flow, ROW, 1)
            for _ in range(60):
                packed = source.packed(source._fresh.next(SECONDS))
                rows = ROW.unpack(packed)
                assert packed.shape == (STEPS + 1, 4, ROW.num_bytes)
                for environment, number in zip(
                    rows.source[0], rows.sequence[0], strict=True
                ):
                    seen.setdefault(int(environment), []).append(int(number))
            fed = source.make(SECONDS)
    assert sorted(seen) == list(range(9))
    for numbers in seen.values():
        assert numbers == list(range(len(numbers)))
    assert sum(map(len, seen.values())) == 240
    assert fed.num_steps == 4 * STEPS  # old ones are not counted again
    assert fed.batch.trajectory.reward.shape == (1, 1, STEPS + 1, 4 + old)


@pytest.mark.parametrize("whole", [True, False])
def test_samples_per_insert_holds_within_5_percent_and_both_sides_wait(whole):
    config = ActorsConfig(rollout_steps=STEPS, limiter_batches=2.0)
    flow = make_flow(
        "replay",
        actors=2,
        batch_size=8,
        item_rows=2,
        period=1,
        samples_per_insert=2.5,
        whole=whole,
    )
    replay = ReplayConfig(capacity=500, batch_size=8, warmup_steps=64)
    row = ROW.signature(2, whole=whole)
    assert flow.item_rows == 2
    with reverb.Server(tables_of(flow, config, replay)) as server:
        actors = [sending(server.address, flow, config, actor=i) for i in range(2)]
        with Threads(*actors), reverb.Client(server.address) as client:
            assert client.server_info().tables["experience"].table.signature is not None
            assert row.paths == (ROW.key,)
            source = ReplaySource(client, flow, ROW, 1)
            for _ in range(200):
                sample = source.make(SECONDS)
                observation = sample.batch.trajectory.observation[0, 0]
                # Two rows that follow one another, of every sequence.
                np.testing.assert_array_equal(observation[1], observation[0] + 1)
            metrics = table_metrics(flow, client.server_info())
    asked = metrics["tables/samples_per_insert_asked"]
    assert asked == 2.5
    assert metrics["tables/samples_per_insert"] == pytest.approx(asked, rel=0.05)
    assert metrics["tables/experience_size"] <= 500


def lag_of(period: int, client: reverb.Client, address: str, flow: Flow) -> dict:
    """What is reported where every so many updates the parameters are published."""
    config = ActorsConfig(rollout_steps=STEPS)
    lag, lags = Lag(), []
    publisher = Publisher(client, PUBLISHED, SECONDS)
    publisher.publish(0, lambda: LIKE)
    fetcher = Fetcher(client, PUBLISHED, LIKE, 0.001)
    fetcher.wait(None, SECONDS, lambda: None)

    def version() -> int:
        return fetcher.latest().version

    client.reset(experience.EXPERIENCE)
    with Threads(sending(address, flow, config, actor=0, version=version)):
        source = QueueSource(client, flow, ROW, 1)
        for updates in range(160):
            fed = source.make(SECONDS)
            lag.used(updates, fed)
            lags.append(float(np.maximum(0, updates - fed.versions).mean()))
            if updates % period == 0:
                publisher.publish(updates, lambda: LIKE)
                lag.published(updates)
            time.sleep(0.005)  # of learning
    fetcher.close()
    publisher.close()
    metrics = lag.take()
    assert metrics["actors/policy_lag_mean"] == pytest.approx(np.mean(lags))
    assert metrics["actors/policy_lag_max"] >= metrics["actors/policy_lag_mean"]
    assert metrics["actors/parameter_age_seconds"] > 0
    return metrics


def test_policy_lag_falls_with_more_frequent_publishing():
    flow = make_flow("queue", actors=1, batch_size=3)
    tables = tables_of(flow, ActorsConfig(rollout_steps=STEPS))
    with reverb.Server(tables) as server, reverb.Client(server.address) as client:
        often = lag_of(1, client, server.address, flow)
        rarely = lag_of(40, client, server.address, flow)
    assert often["actors/policy_lag_mean"] < rarely["actors/policy_lag_mean"]


def test_a_round_is_one_rollout_of_each_environment_by_its_own_parameters():
    config = ActorsConfig(rollout_steps=STEPS, lock_step=True)
    flow = make_flow("rounds", actors=2, batch_size=2 * SIZE)
    versions = {0: 4, 1: 5}  # actor 0 still sends what is of no use any more
    with reverb.Server(tables_of(flow, config)) as server:
        actors = [
            sending(
                server.address, flow, config, actor=i, version=lambda i=i: versions[i]
            )
            for i in range(2)
        ]
        with Threads(*actors), reverb.Client(server.address) as client:
            source = RoundsSource(client, flow, ROW, 1, num_actors=2)
            source.version = 5
            # Rows keep coming, but not those that the round still needs.
            with pytest.raises(reverb.DeadlineError):
                source.make(1.0)
            versions[0] = 5
            fed = source.make(SECONDS)
    assert fed.versions.tolist() == [5] * 2 * SIZE
    assert fed.num_steps == 2 * SIZE * STEPS


def test_a_feed_tells_what_went_wrong_in_its_thread():
    def make(seconds: float) -> Any:
        raise reverb.RefusedError("the table is no more")

    feed = Feed(make)
    with pytest.raises(reverb.RefusedError, match="the table is no more"):
        feed.next(lambda: False, SECONDS)
    feed.close()


def test_a_feed_without_experience_gives_up_in_time_and_at_a_wish():
    def make(seconds: float) -> Any:
        time.sleep(0.01)
        raise reverb.DeadlineError("nothing")

    feed = Feed(make)
    wish = iter([False, True])
    assert feed.next(lambda: next(wish), SECONDS) is None
    with pytest.raises(TimeoutError, match=r"no experience came within 0\.1 s"):
        feed.next(lambda: False, 0.1)
    feed.close()


def test_a_feed_counts_waiting_and_not_what_is_done_meanwhile():
    def make(seconds: float) -> Any:
        time.sleep(0.01)
        raise reverb.DeadlineError("nothing")

    feed, busy, looks = Feed(make), 0.0, iter([False, False, True])

    def meanwhile() -> bool:
        nonlocal busy
        began = time.monotonic()
        time.sleep(0.1)
        busy += time.monotonic() - began
        return next(looks)

    began = time.monotonic()
    assert feed.next(meanwhile, SECONDS) is None
    elapsed = time.monotonic() - began
    assert 0 < feed.waiting_seconds <= elapsed - busy
    feed.close()


SPEC = EnvironmentSpec("Corridor", ArraySpec((4,), np.float32), DiscreteSpec(2))
OTHERS = {
    "has observation float32[6], and the learner at {} has float32[4]": SPEC._replace(
        observation=ArraySpec((6,), np.float32)
    ),
    "has observation uint8[4], and the learner at {} has float32[4]": SPEC._replace(
        observation=ArraySpec((4,), np.uint8)
    ),
    "has action one of 3, and the learner at {} has one of 2": SPEC._replace(
        action=DiscreteSpec(3)
    ),
    "has environment Maze, and the learner at {} has Corridor": SPEC._replace(
        name="Maze"
    ),
}


def test_who_differs_from_the_learner_is_refused_with_both_values():
    table = experience.newest(experience.HANDSHAKE, experience.bytes_signature())
    with reverb.Server([table]) as server, reverb.Client(server.address) as client:

        def compare(spec: EnvironmentSpec) -> None:
            greeting = handshake.describe("run", spec)
            handshake.compare(client, greeting, SECONDS, lambda: None)

        with pytest.raises(TimeoutError, match="does it run"):
            handshake.compare(client, {}, 0.1, lambda: None)
        later = threading.Timer(
            0.3, handshake.offer, (client, handshake.describe("run", SPEC), SECONDS)
        )
        later.start()
        compare(SPEC)
        later.join()
        for message, other in OTHERS.items():
            with pytest.raises(handshake.HandshakeError) as refused:
                compare(other)
            assert message.format(server.address) in str(refused.value)
