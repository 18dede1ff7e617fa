"""Rows around the ends of episodes, resets, and what a step may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments.base import (
    Environment,
    Outcome,
    batch,
    bound_of,
    check_environment,
)
from jaxrl_dist.environments.wrappers import frame_stack
from jaxrl_dist.types import ArraySpec, EnvironmentSpec
from tests.environments.counting import counting
from tests.environments.random_rollout import random_rows


@pytest.mark.parametrize("terminates", [True, False])
def test_every_observation_of_an_episode_has_a_row_of_its_own(terminates):
    rows, _ = random_rows(batch(counting(3, terminates)), 8, 2)
    for column in range(2):
        seen = rows.observation[:, column, 0]
        np.testing.assert_array_equal(seen, [0, 1, 2, 3, 0, 1, 2, 3, 0])
        is_first, is_last = rows.is_first[:, column], rows.is_last[:, column]
        np.testing.assert_array_equal(is_first, [1, 0, 0, 0, 1, 0, 0, 0, 1])
        np.testing.assert_array_equal(is_last, [0, 0, 0, 1, 0, 0, 0, 1, 0])
        np.testing.assert_array_equal(rows.reward[:, column], ~is_first)
        terminated = rows.terminated[:, column]
        np.testing.assert_array_equal(terminated, is_last & terminates)


def test_truncation_does_not_undo_termination():
    def step(key, state, action):
        return state, Outcome(state, jnp.float32(0), jnp.array(True), jnp.array(True))

    environment = counting()._replace(
        reset=lambda key: (jnp.zeros(1), jnp.zeros(1)), step=step
    )
    rows, _ = random_rows(batch(environment), 1, 2)
    assert rows.terminated[1].all() and rows.is_last[1].all()


def noisy(episode_steps: int = 4) -> Environment:
    """Shows the numbers that its keys give, and the last action."""

    def reset(key):
        return jnp.zeros((), jnp.int32), jnp.stack([jax.random.uniform(key), 0.0])

    def step(key, state, action):
        observation = jnp.stack([jax.random.uniform(key), action[0]])
        over = state + 1 >= episode_steps
        return state + 1, Outcome(observation, jnp.float32(0), over, over)

    action = ArraySpec((1,), jnp.float32, -2.0, 3.0)
    spec = EnvironmentSpec("Noisy", ArraySpec((2,), jnp.float32), action)
    return Environment(spec, reset, step)


def test_no_two_environments_resets_or_steps_share_their_random_numbers():
    rows, _ = random_rows(batch(noisy()), 20, 3)
    numbers = np.asarray(rows.observation[..., 0]).ravel()
    assert len(np.unique(numbers)) == numbers.size


def test_continuous_actions_are_clipped_to_the_spec():
    environment = batch(noisy())
    state, _ = environment.reset(jax.random.key(0), 3)
    action = jnp.array([[-9.0], [0.5], [9.0]])
    chance = environment.draw(jax.random.key(1), 3)
    _, row = environment.step(state, action, chance)
    np.testing.assert_array_equal(row.observation[:, 1], [-2.0, 0.5, 3.0])


def test_rows_are_the_same_whether_or_not_the_state_is_observed():
    plain = frame_stack(counting(3), 2)
    assert plain.observe is not None
    rows, _ = random_rows(batch(plain), 9, 2)
    again, _ = random_rows(batch(plain._replace(observe=None)), 9, 2)
    jax.tree.map(np.testing.assert_array_equal, rows, again)


def test_the_action_on_a_last_row_changes_nothing():
    environment = batch(noisy(1))
    state, _ = environment.reset(jax.random.key(0), 2)
    chance = environment.draw(jax.random.key(1), 2)
    state, row = environment.step(state, jnp.zeros((2, 1)), chance)
    assert row.is_last.all()
    for action in (-1.0, 1.0):
        _, row = environment.step(state, jnp.full((2, 1), action), chance)
        assert row.is_first.all() and not row.is_last.any()
        np.testing.assert_array_equal(row.observation, chance.fresh_observation)


def test_a_rollout_whose_steps_use_no_key_draws_none_for_them():
    """Of two environments' programs, the one that ignores keys hashes less."""

    def hashes(environment):
        rows = random_rows.lower(batch(environment), 5, 2)
        return str(rows.compile().as_text()).count("shift-right-logical")

    def quiet_step(key, state, action):
        return noisy().step(jax.random.key(0), state, action)

    assert hashes(noisy()._replace(step=quiet_step)) < hashes(noisy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reset": lambda key: (jnp.int32(0), jnp.zeros(2))},
            r"Counting: the observation of reset must be float32\[1\], got float32",
        ),
        (
            {"reset": lambda key: (jnp.zeros((), bool), jnp.zeros(1))},
            r"the state of step, as that of reset, must be bool\[\], got int32",
        ),
        (
            {"step": lambda key, state, action: (state, bad_outcome(reward=[1, 2]))},
            r"the reward must be float32\[\], got float32\[2\]",
        ),
        (
            {"step": lambda key, state, action: (state, bad_outcome(terminated=0.5))},
            r"terminated must be bool\[\], got float32\[\]",
        ),
    ],
)
def test_an_environment_that_breaks_its_word_is_told_how(change, message):
    check_environment(counting())
    with pytest.raises(ValueError, match=message):
        check_environment(counting()._replace(**change))


@pytest.mark.parametrize(("low", "high"), [(None, None), (-1.0, np.inf), (None, 1.0)])
def test_continuous_actions_without_bounds_are_refused(low, high):
    action = ArraySpec((2,), np.float32, low, high)
    spec = counting().spec._replace(action=action)
    with pytest.raises(ValueError, match="need finite bounds low and high, got"):
        check_environment(counting()._replace(spec=spec))


def bad_outcome(**changed) -> Outcome:
    """What Counting answers, with something changed."""
    fields = {"reward": 1.0, "terminated": False, "truncated": False} | changed
    return Outcome(jnp.zeros(1), **jax.tree.map(jnp.asarray, fields, is_leaf=is_list))


def is_list(value) -> bool:
    """Whether jnp.asarray should take it whole."""
    return isinstance(value, list)


def test_bounds_are_stated_so_that_specs_can_be_compared():
    largest = np.finfo(np.float32).max
    assert bound_of([2, 2]) == 2.0
    assert bound_of([-largest, -np.inf]) is None
    assert bound_of([[1, -largest]]) == ((1.0, -np.inf),)
