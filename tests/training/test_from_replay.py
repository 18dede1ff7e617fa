"""Runs that learn from replay: when updates come, how many, and what they draw."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.compiling import build_run
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Experiment, plan
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training import reporting
from jaxrl_dist.training.across_devices import make_on_device
from jaxrl_dist.training.from_replay import updates_per_rollout
from jaxrl_dist.training.on_device import OnDeviceConfig
from tests.environments.wandering import wandering
from tests.training.runs import assert_close, make_setting

DQN = DQNConfig(ValueConfig(n_step=2))
REPLAY = ReplayConfig(
    capacity=256,
    batch_size=8,
    warmup_steps=64,
    updates_per_step=3 / 16,
    prioritized=True,
)


def make_run(num_seeds: int = 1, num_devices: int = 1, replay: ReplayConfig = REPLAY):
    """16 steps in a rollout, 3 updates after it, the first after 4 rollouts."""
    setting = make_setting(
        DQN,
        wandering(),
        total_updates=30,
        rollout_steps=4,
        num_devices=num_devices,
        replay=replay,
    )
    return make_on_device(setting, num_devices=num_devices, num_seeds=num_seeds)


def test_updates_begin_with_the_rollout_that_completes_the_warmup():
    run = make_run()
    state, report = run.train(run.init(0), jnp.int32(0), jnp.int32(3))
    assert state.agent.num_updates.ravel() == report.num_updates.ravel() == 0
    joined = reporting.join([reporting.fetch(report)])
    metrics = reporting.training_metrics(joined)
    assert not any(name.startswith("learner/") for name in metrics)
    state, report = run.train(state, jnp.int32(3), jnp.int32(2))
    assert state.agent.num_updates.ravel() == report.num_updates.ravel() == 6
    joined = reporting.join([joined, reporting.fetch(report)])
    np.testing.assert_array_equal(
        joined.metrics["loss"], reporting.fetch(report).metrics["loss"]
    )
    assert reporting.training_metrics(joined)["learner/refused_priorities"] == 0


def test_two_chunks_are_one_chunk_bit_for_bit():
    run = make_run(num_devices=2)
    whole, _ = run.train(run.init(3), jnp.int32(0), jnp.int32(9))
    state, _ = run.train(run.init(3), jnp.int32(0), jnp.int32(5))
    state, _ = run.train(state, jnp.int32(5), jnp.int32(4))
    assert_close(state, whole)


def test_seeds_side_by_side_are_single_runs():
    both = make_run(num_seeds=2)
    states, reports = both.train(both.init(5), jnp.int32(0), jnp.int32(6))
    alone = make_run()
    for seed in range(2):
        state, report = alone.train(alone.init(5 + seed), jnp.int32(0), jnp.int32(6))
        mine = jax.tree.map(lambda x, s=seed: x[:, s : s + 1], (states, reports))
        assert_close(mine, (state, report), rtol=1e-4)


def test_rows_are_stored_as_the_environment_answered_them():
    # Wandering shows how many steps an episode has had, so rows tell of each other.
    uniform = dataclasses.replace(REPLAY, prioritized=False)
    setting = make_setting(
        DQN, wandering(), total_updates=9, rollout_steps=4, replay=uniform
    )
    run = make_on_device(setting, num_devices=1, num_seeds=1)
    state, _ = run.train(run.init(0), jnp.int32(0), jnp.int32(9))
    store = jax.tree.map(lambda x: x[0, 0], state.replay)
    assert setting.replay is not None
    rows = setting.replay.replay.sample(store, jax.random.key(1), 1.0).trajectory
    assert (rows.is_first[1:] == rows.is_last[:-1]).all()
    assert rows.is_last.any() and not (rows.terminated & rows.is_last).any()


@pytest.mark.parametrize(
    ("per_step", "steps", "number"), [(0.125, 64, 8), (4.0, 1, 4), (1 / 3, 3, 1)]
)
def test_the_ratio_of_updates_is_kept(per_step, steps, number):
    config = dataclasses.replace(REPLAY, updates_per_step=per_step)
    assert updates_per_rollout(config, steps) == number


@pytest.mark.parametrize(
    ("per_step", "steps", "near"), [(0.1, 16, "0.125"), (0.01, 16, "0.0625")]
)
def test_a_ratio_that_makes_no_whole_updates_is_refused(per_step, steps, near):
    config = dataclasses.replace(REPLAY, updates_per_step=per_step)
    with pytest.raises(ValueError, match=f"^updates_per_step is .*; {near} would do"):
        updates_per_rollout(config, steps)


@pytest.mark.parametrize(
    ("environment", "unit", "num_envs"),
    [
        ("Breakout-MinAtar", "u8", 1),
        ("Breakout-MinAtar", "u8", 4),
        ("CartPole-v1", "u32", 1),
    ],
)
def test_a_step_and_its_update_do_not_copy_the_store(environment, unit, num_envs):
    number = np.int32(0)
    experiment = Experiment(
        environment=EnvironmentConfig(environment, num_envs=num_envs),
        agent=DQNConfig(),
        network=QNetworkConfig(torso="mlp", hidden=(8,)),
        replay=ReplayConfig(
            capacity=num_envs * 1_237, batch_size=8, updates_per_step=1.0
        ),
        runtime=OnDeviceConfig(rollout_steps=1, num_devices=1),
    )
    run = build_run(experiment, plan(experiment))
    like = jax.eval_shape(lambda: run.init(0))
    program = devices.trace(run.train, like, number, number)()
    store = rf"= {unit}\[(\d+,)*({num_envs},1237|{num_envs * 1_237}),\d+\]\S* "
    assert re.search(store, program.as_text())
    assert not re.search(store + r"copy\(", program.as_text())
