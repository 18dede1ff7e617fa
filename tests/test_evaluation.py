"""Evaluations against a loop in plain Python that plays one episode after the other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import rollout
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.environments.base import batch
from jaxrl_dist.evaluation import evaluate
from tests.agents.small import make_network
from tests.environments.counting import counting
from tests.environments.wandering import wandering

B, E = 3, 2
ENVIRONMENT = batch(wandering())
AGENT = A2CConfig().build(make_network(ENVIRONMENT.spec), total_updates=1)


@pytest.fixture(scope="module")
def params():
    # Greedily, this one walks forward; most others stand.
    return AGENT.init(jax.random.key(1)).params


@functools.partial(jax.jit, static_argnames=("greedy", "max_steps"))
def play(params, key, greedy=True, max_steps=1_000):
    return evaluate(
        AGENT,
        ENVIRONMENT,
        params,
        key,
        num_envs=B,
        episodes_per_env=E,
        greedy=greedy,
        max_steps=max_steps,
    )


def rewards_by_hand(params, key, greedy: bool, num_steps: int) -> list[list[list]]:
    """The rewards of the episodes of each environment, the last one unfinished."""
    act, step = jax.jit(AGENT.act), jax.jit(ENVIRONMENT.step)
    draw_noise = jax.jit(AGENT.draw, static_argnums=1)
    draw_chance = jax.jit(ENVIRONMENT.draw, static_argnums=1)
    state = rollout.start(AGENT, ENVIRONMENT, key, B)
    inner, row, key = state.env_state, state.time_step, state.key
    episodes = [[[]] for _ in range(B)]
    for _ in range(num_steps):
        key, key_act, key_env = jax.random.split(key, 3)
        noise = None if greedy else draw_noise(key_act, B)
        _, action, _ = act(params, (), row, noise)
        inner, row = step(inner, action, draw_chance(key_env, B))
        for b in range(B):
            if not row.is_first[b]:
                episodes[b][-1].append(float(row.reward[b]))
            if row.is_last[b]:
                episodes[b].append([])
    return episodes


@pytest.mark.parametrize("greedy", [True, False])
def test_episodes_are_the_first_ones_of_each_environment(params, greedy):
    key = jax.random.key(1)
    answer = play(params, key, greedy)
    expected = rewards_by_hand(params, key, greedy, num_steps=16)
    for b in range(B):
        for e in range(E):
            rewards = expected[b][e]
            np.testing.assert_allclose(answer.returns[e, b], sum(rewards), rtol=1e-5)
            assert answer.lengths[e, b] == len(rewards)
    assert answer.finished.all()
    assert len(np.unique(answer.lengths)) > 1, "all episodes are of one length"


def test_greedy_actions_use_no_chance_of_the_policy_and_samples_do(params):
    key = jax.random.key(2)
    greedy, sampled = play(params, key), play(params, key, greedy=False)
    assert not np.allclose(greedy.returns, sampled.returns)
    step = rollout.start(AGENT, ENVIRONMENT, key, B).time_step
    _, action, distribution = AGENT.act(params, (), step, None)
    np.testing.assert_array_equal(action, jnp.argmax(distribution.logits, -1))


def test_an_episode_that_does_not_finish_is_marked_and_counts_as_far_as_it_came():
    environment = batch(counting(10))
    agent = A2CConfig().build(make_network(environment.spec), total_updates=1)
    params = agent.init(jax.random.key(0)).params
    answer = jax.jit(
        lambda: evaluate(
            agent,
            environment,
            params,
            jax.random.key(0),
            num_envs=2,
            episodes_per_env=3,
            max_steps=16,
        )
    )()
    # 10 steps, a reset, 5 steps of the second episode, and none of the third.
    np.testing.assert_array_equal(answer.lengths, [[10, 10], [5, 5], [0, 0]])
    np.testing.assert_array_equal(answer.returns, answer.lengths)
    np.testing.assert_array_equal(answer.finished, [[1, 1], [0, 0], [0, 0]])
