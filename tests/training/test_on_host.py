"""What an actor finds out about rollouts on the host, and what an evaluator plays."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.experiment import Experiment, plan
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.collecting import Acting, Share
from jaxrl_dist.training.on_device import OnDeviceConfig
from jaxrl_dist.training.on_host import (
    make_host_collect,
    make_host_player,
    players,
    seed_of,
)

B, T, LIMIT = 4, 12, 9
CARTPOLE = GymnasiumConfig(num_envs=B, max_steps=LIMIT)
SHARE = Share(first=0, size=B, total=B)
RUNS = {
    "impala": Experiment(
        dataclasses.replace(CARTPOLE, scale_rewards=True),
        IMPALAConfig(),
        ActorCriticConfig(hidden=(8,)),
        runtime=ActorsConfig(num_actors=1, rollout_steps=T),
    ),
    "dqn": Experiment(
        CARTPOLE,
        DQNConfig(ValueConfig(n_step=2)),
        QNetworkConfig(hidden=(8,)),
        ReplayConfig(prioritized=True, updates_per_step=0.5),
        ActorsConfig(num_actors=1, rollout_steps=T),
    ),
}


def collect(experiment: Experiment, num_rollouts: int = 3):
    """The plan, what acted, and the rollouts."""
    built = plan(experiment)
    assert built.flow is not None and isinstance(
        experiment.environment, GymnasiumConfig
    )
    setting, key = built.setting, jax.random.key(1)
    params = setting.agent.acting_params(setting.agent.init(key))
    acting = Acting(params, setting.normaliser.init(1))
    with experiment.environment.build(SHARE.size) as environment:
        begin, run = make_host_collect(
            setting, built.flow, SHARE, key, acting, environment=environment
        )
        state, collected = begin(), []
        for _ in range(num_rollouts):
            state, rollout = run(acting, state)
            collected.append(rollout)
    return built, acting, collected


@pytest.mark.parametrize("name", RUNS)
def test_episodes_are_counted_once_across_rollouts(name):
    _, _, collected = collect(RUNS[name])
    rows = jax.tree.map(
        lambda *x: np.concatenate([y[:-1] for y in x]), *[c.rows for c in collected]
    )
    sums = jax.tree.map(lambda *x: np.stack(x), *[c.episodes for c in collected])
    assert sums.num_episodes.sum() == rows.is_last.sum() > 0
    assert sums.num_steps.sum() == (~rows.is_last).sum()
    assert sums.return_sum.sum() == sums.length_sum.sum() <= LIMIT * rows.is_last.sum()


def test_sequences_are_ranked_as_the_agent_ranks_them():
    built, acting, collected = collect(RUNS["dqn"])
    agent = built.setting.agent
    length, rank = agent.sequence_length, agent.initial_priorities
    assert length == 3 and rank is not None
    rows = jax.tree.map(
        lambda *x: np.concatenate([y[:-1] for y in x]), *[c.rows for c in collected]
    )
    priorities = np.concatenate([c.priorities for c in collected])
    assert priorities.shape == (3 * T, B)
    for end in (length, T - 1, T, T + 1, 3 * T - 1):  # also across rollouts
        sequence = jax.tree.map(lambda x, e=end: x[e - length + 1 : e + 1], rows)
        expected = rank(acting.params, sequence, jax.random.key(0))
        np.testing.assert_allclose(priorities[end], expected, rtol=1e-5)


def test_discounted_returns_go_on_where_the_rollout_before_ended():
    _, _, collected = collect(RUNS["impala"])
    for before, after in zip(collected[:-1], collected[1:], strict=True):
        np.testing.assert_array_equal(before.carried[-1], after.carried[0])
    assert collected[0].carried.shape == (T + 1, B)


def test_as_many_episodes_are_played_as_were_asked_for_whatever_divides():
    built = plan(RUNS["impala"])
    agent = built.setting.agent
    acting = agent.init(jax.random.key(0)).params, built.setting.normaliser.init(1)
    beats = []
    with players(CARTPOLE, 6) as environment:
        play = make_host_player(built.setting, environment, acting, num_episodes=6)
        returns = play(acting, 0, 0, lambda: beats.append(1))
        again = play(acting, 0, 0)
    assert returns.shape == (6,) and (returns > 0).all() and (returns <= LIMIT).all()
    assert len(beats) >= LIMIT
    np.testing.assert_array_equal(again, returns)


def test_seeds_differ_with_each_of_their_numbers_and_leave_room_to_count_on():
    seeds = {seed_of(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900 and max(seeds) < 2**30 and min(seeds) >= 0


def test_the_runtime_on_the_device_refuses_environments_on_the_host():
    experiment = dataclasses.replace(RUNS["impala"], runtime=OnDeviceConfig())
    with pytest.raises(ValueError, match="CartPole-v1 .* needs --runtime actors"):
        plan(experiment)
