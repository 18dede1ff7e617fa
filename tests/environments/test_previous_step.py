"""The step before is shown as it was, and nothing of it after a reset."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments.base import batch, check_environment
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.environments.previous_step import Seen, show_previous_step
from tests.environments.random_rollout import random_rows
from tests.environments.wandering import wandering


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MemoryChain-bsuite"])
def test_what_is_shown_is_the_row_before_and_zeros_on_first_rows(name):
    config = EnvironmentConfig(name, max_steps=4, show_previous_step=True)
    rows, actions = random_rows(config.build(), 12, 3)
    assert isinstance(rows.observation, Seen)
    first = np.asarray(rows.is_first)[1:]
    assert first.any()
    shown = np.asarray(rows.observation.previous_action)[1:]
    if actions.ndim == 2:
        expected = np.eye(2)[np.asarray(actions)]
    else:
        expected = np.clip(np.asarray(actions), -2.0, 2.0)
    np.testing.assert_allclose(shown, np.where(first[..., None], 0.0, expected))
    rewards = np.where(first, 0.0, np.asarray(rows.reward)[1:])
    np.testing.assert_array_equal(rows.observation.previous_reward[1:], rewards)
    assert not rows.observation.previous_action[0].any()


def test_the_environment_is_otherwise_the_same():
    plain, _ = random_rows(batch(wandering()), 12, 3)
    shown, _ = random_rows(batch(show_previous_step(wandering())), 12, 3)
    shown = shown._replace(observation=shown.observation.observation)
    for x, y in zip(plain, shown, strict=True):
        np.testing.assert_array_equal(x, y)


def test_it_keeps_to_its_own_spec():
    environment = show_previous_step(wandering())
    check_environment(environment)
    assert environment.spec.observation.previous_action.shape == (2,)
    assert jax.tree.leaves(environment.reset(jax.random.key(0))[1])[2].dtype == (
        jnp.float32
    )
