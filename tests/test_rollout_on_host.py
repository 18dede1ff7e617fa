"""Rollouts on the host against those on the device, and against what was answered."""

import jax
import numpy as np
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.environments.base import batch
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.environments.host import HostEnvironment
from jaxrl_dist.rollout_on_host import (
    HostState,
    compile_acting,
    rollout_on_host,
    start_on_host,
)
from jaxrl_dist.types import TimeStep
from tests.agents.small import make_network
from tests.environments.wandering import wandering

T, B = 14, 3
ENVIRONMENT = batch(wandering())
AGENT = A2CConfig().build(make_network(ENVIRONMENT.spec), total_updates=1)
ACTING = compile_acting(AGENT)


def counting_memory(agent=AGENT):
    """The agent with a memory that counts the rows of its episode, and says so."""

    def act(params, memory, time_step, noise):
        memory = jax.numpy.where(time_step.is_first, 0, memory) + 1
        _, action, _ = agent.act(params, (), time_step, noise)
        return memory, action, {"counted": memory}

    def initial_memory(batch_size):
        return jax.numpy.full(batch_size, 100)

    return agent._replace(act=act, initial_memory=initial_memory)


def on_host(state: rollout.RolloutState, num_steps: int) -> HostEnvironment:
    """Wandering, stepped from the host with the chances that `rollout` would draw."""
    inner, draw = state.env_state, jax.jit(ENVIRONMENT.draw, static_argnums=1)
    step = jax.jit(ENVIRONMENT.step)
    keys = jax.random.split(jax.random.split(state.key)[1], num_steps)
    chances = iter([draw(jax.random.split(key)[1], B) for key in keys])

    def host_step(actions: np.ndarray) -> TimeStep:
        nonlocal inner
        assert isinstance(actions, np.ndarray)
        inner, row = step(inner, actions, next(chances))
        return jax.tree.map(np.asarray, row)

    return HostEnvironment(
        ENVIRONMENT.spec, B, lambda seed: state.time_step, host_step, lambda: None
    )


@pytest.mark.parametrize("agent", [AGENT, counting_memory()], ids=["plain", "memory"])
def test_rows_are_those_of_a_rollout_on_the_device(agent):
    params = agent.init(jax.random.key(7)).params
    begin = rollout.start(agent, ENVIRONMENT, jax.random.key(0), B)
    expected_state, expected = jax.jit(
        lambda p, s: rollout.rollout(agent, ENVIRONMENT, p, s, num_steps=T)
    )(params, begin)
    time_step = jax.tree.map(np.asarray, begin.time_step)
    memory = jax.tree.map(jax.numpy.copy, begin.memory)
    state, got = rollout_on_host(
        compile_acting(agent),
        on_host(begin, T),
        params,
        HostState(time_step, memory, begin.key),
        num_steps=T,
    )
    assert got.is_last.any()
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(got))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), got, expected
    )
    for mine, theirs in (
        (state.time_step, expected_state.time_step),
        (state.memory, expected_state.memory),
    ):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)
    assert state.key == expected_state.key


def test_the_final_row_is_the_first_of_the_next_rollout():
    config = GymnasiumConfig(num_envs=2, max_steps=7)
    environment = config.build()
    agent = A2CConfig().build(make_network(environment.spec), total_updates=1)
    agent = counting_memory(agent)
    params, acting = agent.init(jax.random.key(0)).params, compile_acting(agent)
    state, rollouts = start_on_host(acting, environment, 3), []
    for _ in range(4):
        state, rows = rollout_on_host(acting, environment, params, state, num_steps=5)
        rollouts.append(rows)
    environment.close()
    for before, after in zip(rollouts[:-1], rollouts[1:], strict=True):
        for name in ("observation", "is_first", "is_last", "memory"):
            np.testing.assert_array_equal(
                getattr(before, name)[-1], getattr(after, name)[0]
            )
        assert not before.action[-1].any() and not before.reward[-1].any()
    rows = jax.tree.map(lambda *x: np.concatenate([y[:-1] for y in x]), *rollouts)
    np.testing.assert_array_equal(rows.is_first[1:], rows.is_last[:-1])
    np.testing.assert_array_equal(rows.reward, np.where(rows.is_last, 0.0, 1.0))
    np.testing.assert_array_equal(rows.memory[0], 100)
    counted = np.where(rows.is_first, 1, rows.memory + 1)
    np.testing.assert_array_equal(rows.extras["counted"], counted)


def test_the_same_seed_gives_the_same_rows_and_another_one_others():
    environment = GymnasiumConfig(num_envs=2).build()
    agent = A2CConfig().build(make_network(environment.spec), total_updates=1)
    params, acting = agent.init(jax.random.key(0)).params, compile_acting(agent)
    runs = []
    for seed in (1, 1, 2):
        state = start_on_host(acting, environment, seed)
        runs.append(rollout_on_host(acting, environment, params, state, num_steps=6)[1])
    environment.close()
    jax.tree.map(np.testing.assert_array_equal, runs[0], runs[1])
    assert not np.array_equal(runs[0].observation, runs[2].observation)
