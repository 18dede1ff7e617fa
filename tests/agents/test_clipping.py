"""Clipped rewards: the agent learns from them, and nobody else sees them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.clipping import learning_from_clipped_rewards
from jaxrl_dist.types import Agent, Sample, UpdateInfo
from tests.agents.small import make_network, make_rows

ROWS = make_rows()
ROWS = ROWS._replace(reward=ROWS.reward * 3.0)
CLIPPED = ROWS._replace(reward=jnp.clip(ROWS.reward, -1.0, 1.0))


def same(got, expected) -> None:
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize("function", ["update", "gradients"])
def test_learning_is_that_from_rewards_within_one(function):
    agent = A2CConfig().build(make_network(), total_updates=10)
    clipping = learning_from_clipped_rewards(agent)
    state, key = agent.init(jax.random.key(0)), jax.random.key(1)
    got = getattr(clipping, function)(state, ROWS, key)[0]
    same(got, getattr(agent, function)(state, CLIPPED, key)[0])
    other = jax.tree.leaves(getattr(agent, function)(state, ROWS, key)[0])
    assert any((x != y).any() for x, y in zip(jax.tree.leaves(got), other, strict=True))


def test_samples_and_first_priorities_are_clipped_too():
    def nothing(*arguments):
        return ()

    agent = Agent(
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        update=lambda state, sample, key: (sample.trajectory, UpdateInfo((), {})),
        initial_priorities=lambda params, rows, key: rows,
    )
    agent = learning_from_clipped_rewards(agent)
    sample = Sample(ROWS, jnp.ones(8), jnp.zeros(8, jnp.int32))
    assert agent.initial_priorities is not None
    same(agent.update((), sample, None)[0], CLIPPED)
    same(agent.initial_priorities((), ROWS, None), CLIPPED)


def test_an_agent_without_gradients_has_none_afterwards():
    agent = A2CConfig().build(make_network(), total_updates=10)
    agent = learning_from_clipped_rewards(agent._replace(gradients=None))
    assert agent.gradients is None and agent.initial_priorities is None
