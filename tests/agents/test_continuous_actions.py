"""Acting with continuous actions: bounds, first actions, noise that lasts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.continuous_actions import ActionScale
from jaxrl_dist.agents.policy_and_critics import ActingParams
from jaxrl_dist.agents.sac import SACConfig
from jaxrl_dist.agents.td3 import TD3Config
from jaxrl_dist.types import TimeStep
from tests.agents.sequences import (
    CONTINUOUS,
    FEATURES,
    HIGH,
    LOW,
    NETWORK,
    PUSHES,
    compiled,
    with_gradients,
)

CONFIGS = {"sac": SACConfig(), "td3": TD3Config(exploration_std=0.5)}
BY_NAME = pytest.mark.parametrize("name", CONFIGS)
B = 4096


@functools.cache
def build(name: str, **settings):
    config = dataclasses.replace(CONFIGS[name], **settings)
    return compiled(with_gradients(config.build(NETWORK.build(CONTINUOUS), 10)))


def seen(batch_size: int = B, *, is_first: bool = False) -> TimeStep:
    flags = jnp.zeros(batch_size, bool)
    observation = jax.random.normal(jax.random.key(9), (batch_size, FEATURES))
    return TimeStep(observation, jnp.zeros(batch_size), flags, flags | is_first, flags)


def params(agent, num_updates: int) -> ActingParams:
    """Parameters whose actions reach the bounds."""
    acting = agent.acting_params(agent.init(jax.random.key(0)))
    policy = jax.tree.map(lambda x: 4.0 * x, acting.policy)
    return ActingParams(policy, jnp.int32(num_updates))


@BY_NAME
def test_actions_lie_within_their_bounds_and_reach_near_them(name):
    agent = build(name)
    noise = 3.0 * agent.draw(jax.random.key(1), B)
    _, action, extras = agent.act(params(agent, 5), (), seen(), noise)
    assert extras == ()
    action = np.asarray(action)
    assert (action >= LOW).all()
    assert (action <= HIGH).all()
    assert (action.min(axis=0) < LOW + 0.1 * (HIGH - LOW)).all()
    assert (action.max(axis=0) > HIGH - 0.1 * (HIGH - LOW)).all()


@BY_NAME
@pytest.mark.parametrize("correlation", [0.0, 20.0])
def test_first_actions_are_uniform_within_their_bounds(name, correlation):
    agent = build(name, noise_correlation_steps=correlation)
    noise = agent.draw(jax.random.key(1), B)
    memory = agent.initial_memory(B)
    _, action, _ = agent.act(params(agent, 0), memory, seen(is_first=True), noise)
    shares = np.sort((np.asarray(action) - LOW) / (HIGH - LOW), axis=0)
    expected = (np.arange(B) + 0.5) / B
    # Kolmogorov-Smirnov: beyond 1.95 / sqrt(B) once in a thousand times.
    assert np.abs(shares - expected[:, None]).max() < 1.95 / np.sqrt(B)
    _, later, _ = agent.act(params(agent, 1), memory, seen(is_first=True), noise)
    assert not np.array_equal(action, later)


@BY_NAME
def test_greedy_actions_are_those_of_the_policy_alone(name):
    agent = build(name, noise_correlation_steps=20.0)
    memory = jnp.ones((B, 2))
    kept, action, _ = agent.act(params(agent, 5), memory, seen(), None)
    np.testing.assert_array_equal(kept, memory)
    quiet = jnp.zeros((B, 2))
    _, silent, _ = agent.act(
        params(agent, 5), quiet, seen(is_first=True), jnp.zeros((B, 2))
    )
    np.testing.assert_allclose(action, silent, rtol=1e-5, atol=1e-6)
    # Before the first update as well: an evaluation is never of random actions.
    _, first, _ = agent.act(params(agent, 0), memory, seen(), None)
    np.testing.assert_array_equal(first, action)


def test_exploration_noise_is_in_units_of_half_the_range():
    agent = build("td3", exploration_std=0.1)
    still = jax.tree.map(jnp.zeros_like, params(agent, 5).policy)
    noise = agent.draw(jax.random.key(1), B)
    _, action, _ = agent.act(ActingParams(still, jnp.int32(5)), (), seen(), noise)
    action = np.asarray(action)
    np.testing.assert_allclose(action.std(axis=0), 0.1 * (HIGH - LOW) / 2, rtol=0.05)
    np.testing.assert_allclose(action.mean(axis=0), (LOW + HIGH) / 2, atol=0.02)


@BY_NAME
def test_noise_stays_standard_normal_and_forgets_at_the_stated_rate(name):
    agent = build(name, noise_correlation_steps=10.0)
    memory = agent.initial_memory(B)
    path = []
    for t in range(31):
        noise = agent.draw(jax.random.key(t), B)
        time_step = seen(is_first=t == 0)
        memory, _, _ = agent.act(params(agent, 5), memory, time_step, noise)
        path.append(np.asarray(memory)[:, 0])
    np.testing.assert_allclose(np.std(path, axis=1), 1.0, atol=0.05)
    for lag in (1, 10, 30):
        got = np.corrcoef(path[0], path[lag])[0, 1]
        np.testing.assert_allclose(got, np.exp(-lag / 10), atol=0.05)


@BY_NAME
def test_noise_begins_anew_with_each_episode(name):
    agent = build(name, noise_correlation_steps=10.0)
    memory = jnp.full((2, 2), 3.0)
    noise = jnp.full((2, 2), 0.5)
    first = seen(2)._replace(is_first=jnp.array([True, False]))
    after, _, _ = agent.act(params(agent, 5), memory, first, noise)
    np.testing.assert_array_equal(after[0], noise[0])
    kept = np.exp(-0.1)
    expected = 3.0 * kept + 0.5 * np.sqrt(1 - kept**2)
    np.testing.assert_allclose(after[1], expected, rtol=1e-5)


def test_scales_are_inverse_to_each_other():
    scale = ActionScale.of(PUSHES)
    units = jnp.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.5]])
    actions = scale.from_unit(units)
    np.testing.assert_allclose(actions[:2], [LOW, HIGH])
    np.testing.assert_allclose(scale.to_unit(actions), units, atol=1e-6)
