"""Truncation bootstraps and termination does not: the values that are learnt say so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training import on_device
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec
from tests.training.runs import make_setting

LENGTH, GAMMA, UPDATES = 10, 0.9, 600
ROLLOUT_STEPS, NUM_ENVS = 7, 8  # episodes of 11 rows end anywhere in rollouts of 7
STEP_SIZE = OptimizerConfig(learning_rate=0.1)
AGENTS = {
    "ppo": PPOConfig(STEP_SIZE, gamma=GAMMA, num_epochs=2, num_minibatches=2),
    "a2c": A2CConfig(STEP_SIZE, gamma=GAMMA),
    "impala": IMPALAConfig(STEP_SIZE, gamma=GAMMA),
}


def paying(terminates: bool) -> Environment:
    """Pays 1 for each of 10 steps; shows which step it is only if it terminates.

    No last observation is ever learnt from, so a truncated episode's must look like
    others for its value to be known.
    """

    def seen(step: jax.Array) -> jax.Array:
        return jax.nn.one_hot(step if terminates else 0 * step, LENGTH + 1)

    def reset(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((), jnp.int32), seen(jnp.zeros((), jnp.int32))

    def step(key: jax.Array, state: jax.Array, action: jax.Array):
        state = state + 1
        ends = state >= LENGTH
        pay = jnp.float32(1.0)
        terminated, truncated = ends & terminates, ends & (not terminates)
        return state, Outcome(seen(state), pay, terminated, truncated)

    observation = ArraySpec((LENGTH + 1,), jnp.float32)
    return Environment(
        EnvironmentSpec("Paying", observation, DiscreteSpec(2)), reset, step
    )


def learnt_values(name: str, terminates: bool) -> tuple[np.ndarray, int]:
    """Values of the observations of an episode, and the steps that were counted."""
    setting = make_setting(
        AGENTS[name],
        paying(terminates),
        total_updates=UPDATES,
        num_envs=NUM_ENVS,
        rollout_steps=ROLLOUT_STEPS,
        hidden=(),
    )
    key = jax.random.key(0)
    state = on_device.init(setting, setting.agent.init(key), key)
    train = jax.jit(functools.partial(on_device.train, setting))
    state, report = train(state, jnp.int32(0), jnp.int32(UPDATES))
    assert report.finite
    network = ActorCriticConfig(hidden=()).build(setting.environment.spec)
    every, is_first = jnp.eye(LENGTH + 1), jnp.zeros(LENGTH + 1, bool)
    _, _, values = network.unroll(state.agent.params, (), every, is_first)
    return np.asarray(values), int(report.episodes.num_steps)


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_that_is_only_truncated_is_worth_as_much_as_one_without_end(name):
    values, _ = learnt_values(name, terminates=False)
    np.testing.assert_allclose(values[0], 1 / (1 - GAMMA), rtol=0.03)


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_that_terminates_is_worth_the_steps_that_are_left(name):
    values, num_steps = learnt_values(name, terminates=True)
    left = LENGTH - np.arange(LENGTH)
    expected = (1 - GAMMA**left) / (1 - GAMMA)
    np.testing.assert_allclose(values[:LENGTH], expected, rtol=0.03)
    rows = range(UPDATES * ROLLOUT_STEPS)
    steps = sum(row % (LENGTH + 1) != LENGTH for row in rows)
    assert num_steps == NUM_ENVS * steps
