"""Evaluations on the host against one single environment after the other."""

import gymnasium
import jax
import numpy as np
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.evaluation import evaluate_on_host
from jaxrl_dist.rollout_on_host import compile_acting
from tests.agents.small import make_network

B, E, LIMIT = 3, 2, 60


@pytest.fixture(scope="module")
def environment():
    environment = GymnasiumConfig(num_envs=B, max_steps=LIMIT).build()
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def agent(environment):
    return A2CConfig().build(make_network(environment.spec), total_updates=1)


def lengths_by_hand(network, params, b: int) -> list[int]:
    """Lengths of the first greedy episodes of one CartPole."""

    @jax.jit
    def act(params, observation):
        return network.act(params, (), observation, np.zeros(1, bool))[1].mode()

    single, lengths = gymnasium.make("CartPole-v1", max_episode_steps=LIMIT), []
    observation, _ = single.reset(seed=5 + b)
    for _ in range(E):
        length, over = 0, False
        while not over:
            action = int(act(params, observation[None])[0])
            observation, _, terminated, truncated, _ = single.step(action)
            length, over = length + 1, terminated or truncated
        lengths.append(length)
        observation, _ = single.reset()
    single.close()
    return lengths


def test_the_first_episodes_of_each_environment_count_whole(environment, agent):
    network = make_network(environment.spec)
    params = agent.init(jax.random.key(2)).params
    got = evaluate_on_host(
        compile_acting(agent), environment, params, seed=5, episodes_per_env=E
    )
    expected = np.array([lengths_by_hand(network, params, b) for b in range(B)]).T
    np.testing.assert_array_equal(got.lengths, expected)
    np.testing.assert_array_equal(got.returns, expected)  # CartPole pays 1 a step
    assert got.finished.all() and len(np.unique(expected)) > 2


def test_samples_differ_from_what_is_most_likely(environment, agent):
    acting, params = compile_acting(agent), agent.init(jax.random.key(2)).params
    greedy, sampled, again = (
        evaluate_on_host(acting, environment, params, seed=5, greedy=greedy)
        for greedy in (True, False, False)
    )
    assert not np.array_equal(greedy.lengths, sampled.lengths)
    np.testing.assert_array_equal(sampled.lengths, again.lengths)


def test_an_episode_that_takes_too_long_counts_as_far_as_it_came(environment, agent):
    params = agent.init(jax.random.key(2)).params
    got = evaluate_on_host(
        compile_acting(agent), environment, params, seed=5, max_steps=4
    )
    np.testing.assert_array_equal(got.returns, np.full((1, B), 4.0))
    assert not got.finished.any()
