"""What holds for every agent with a policy and critics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.discrete_sac import DiscreteSACConfig
from jaxrl_dist.agents.sac import SACConfig
from jaxrl_dist.agents.td3 import TD3Config
from jaxrl_dist.distribution import devices
from jaxrl_dist.types import Sample
from tests.agents.sequences import (
    BEGINS_ON_LAST_ROW,
    CONTINUOUS,
    DISCRETE,
    NETWORK,
    PLAIN,
    GradientAgent,
    compiled,
    make_sample,
    split,
    with_gradients,
)

KEY = jax.random.key(2)
CONFIGS = {
    "sac": SACConfig(PLAIN, PLAIN, target_step_size=0.1),
    "td3": TD3Config(PLAIN, PLAIN, target_step_size=0.1, actor_period_updates=1),
    "discrete sac": DiscreteSACConfig(PLAIN, PLAIN, target_step_size=0.1),
}
BY_NAME = pytest.mark.parametrize("name", CONFIGS)


@functools.cache
def build(
    config: SACConfig | TD3Config | DiscreteSACConfig, axis_name: str | None = None
) -> GradientAgent:
    discrete = isinstance(config, DiscreteSACConfig)
    network = NETWORK.build(DISCRETE if discrete else CONTINUOUS)
    agent = with_gradients(config.build(network, 10, axis_name))
    return agent if axis_name else compiled(agent)


def sample_for(name: str, length: int = 2, copies: int = 1) -> Sample:
    return make_sample(length, discrete=name == "discrete sac", copies=copies)


@BY_NAME
def test_targets_begin_as_copies_and_move_by_tau(name):
    agent = build(CONFIGS[name])
    state = agent.init(KEY)
    np.testing.assert_array_equal(state.target.critics, state.params.critics)
    after, _ = agent.update(state, sample_for(name), KEY)
    assert np.abs(after.params.critics - state.params.critics).max() > 1e-3
    expected = 0.9 * state.target.critics + 0.1 * after.params.critics
    np.testing.assert_allclose(after.target.critics, expected, rtol=1e-5, atol=1e-7)


def test_td3_has_a_target_policy_that_moves_by_tau_as_well():
    agent = build(CONFIGS["td3"])
    state = agent.init(KEY)
    after, _ = agent.update(state, sample_for("td3"), KEY)
    expected = 0.9 * state.target.actor + 0.1 * after.params.actor
    np.testing.assert_allclose(after.target.actor, expected, rtol=1e-5, atol=1e-7)


@BY_NAME
def test_importance_weights_scale_each_sequences_part_of_the_critics_gradient(name):
    agent = build(CONFIGS[name])
    state, sample = agent.init(KEY), sample_for(name)

    def gradient(weight: list[float]) -> jax.Array:
        weighted = sample._replace(weight=jnp.asarray(weight))
        return agent.gradients(state, weighted, KEY)[0].critics

    first, second = gradient([1.0, 0.0, 0.0, 0.0]), gradient([0.0, 1.0, 0.0, 0.0])
    assert np.abs(first).max() > 1e-3
    both = gradient([0.5, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(both, 0.5 * first + 0.25 * second, rtol=1e-4, atol=1e-6)


@BY_NAME
def test_a_sequence_that_begins_on_a_last_row_changes_nothing(name):
    agent = build(CONFIGS[name])
    state, sample = agent.init(KEY), sample_for(name)
    wanted, _ = agent.update(state, sample, KEY)

    def spoil(x: jax.Array) -> jax.Array:
        if x.dtype == bool:
            return x
        return x.at[:, BEGINS_ON_LAST_ROW].set(1)

    rows = jax.tree.map(spoil, sample.trajectory)
    got, info = agent.update(state, sample._replace(trajectory=rows), KEY)
    assert info.priority[BEGINS_ON_LAST_ROW] == 0.0
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    rows = rows._replace(reward=rows.reward.at[0, 0].add(1.0))
    moved, _ = agent.update(state, sample._replace(trajectory=rows), KEY)
    assert not np.array_equal(moved.params.critics, wanted.params.critics)


def test_gradients_on_two_devices_are_the_mean_of_those_of_either():
    """Each device draws noise of its own, so that halves are compared with halves."""
    config = CONFIGS["sac"]
    halves = split(sample_for("sac", copies=4), 2)
    keys = jax.random.split(KEY, 2)
    agent = build(config, devices.AXIS_NAME)
    state = agent.init(KEY)
    both = jax.tree.map(lambda *x: jnp.stack(x), *halves)
    gradients = devices.compile_for(2, agent.gradients, in_axes=(None, 0, 0))
    got, info = gradients(state, both, keys)
    alone = build(config)
    wanted = [
        alone.gradients(state, half, key)[0]
        for half, key in zip(halves, keys, strict=True)
    ]
    for device in range(2):
        for part, first, second in zip(got, *wanted, strict=True):
            np.testing.assert_allclose(
                part[device], (first + second) / 2, rtol=1e-4, atol=1e-6
            )
    assert info.priority.shape == (2, 8)


NOISELESS = {
    "td3": TD3Config(PLAIN, PLAIN, actor_period_updates=1, smoothing_std=0.0),
    "discrete sac": CONFIGS["discrete sac"],
}


@pytest.mark.parametrize("name", NOISELESS)
def test_an_update_on_two_devices_equals_that_on_one_with_the_whole_batch(name):
    config = NOISELESS[name]
    sample = sample_for(name, copies=4)
    # One half has fewer steps than the other: a mean of means would be wrong.
    rows = sample.trajectory
    is_last = rows.is_last.at[0, :3].set(True)
    sample = sample._replace(trajectory=rows._replace(is_last=is_last))
    alone = build(config)
    state = alone.init(KEY)
    wanted, expected = alone.update(state, sample, KEY)
    agent = build(config, devices.AXIS_NAME)
    both = jax.tree.map(lambda *x: jnp.stack(x), *split(sample, 2))
    update = devices.compile_for(2, agent.update, in_axes=(None, 0, None))
    got, info = update(state, both, KEY)
    for device in range(2):
        mine = jax.tree.map(lambda x, d=device: x[d], got)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
            mine.opt_state,
            wanted.opt_state,
        )
    np.testing.assert_allclose(info.priority.ravel(), expected.priority, rtol=1e-5)
    for metric, value in expected.metrics.items():
        np.testing.assert_allclose(info.metrics[metric], [value] * 2, rtol=1e-4)


def test_apply_gradients_after_gradients_is_an_update():
    agent = build(CONFIGS["td3"])
    state, sample = agent.init(KEY), sample_for("td3")
    wanted, _ = agent.update(state, sample, KEY)
    grads, _ = agent.gradients(state, sample, KEY)
    got = agent.apply_gradients(state, grads)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), got, wanted
    )
