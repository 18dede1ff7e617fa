"""What agents see of observations and rewards, and what they are told about it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments import normalisation
from jaxrl_dist.training.normaliser import Normaliser, make_normaliser
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, Trajectory

IMAGES = EnvironmentSpec(
    "Images", ArraySpec((2, 2, 1), jnp.uint8, 0, 255), DiscreteSpec(3)
)


def make(observations: bool, rewards: bool) -> Normaliser:
    return make_normaliser(
        IMAGES, observations=observations, rewards=rewards, gamma=0.9, axis_name=None
    )


def make_rows() -> Trajectory:
    """Rows [9, 4] of one episode each, with bytes for observations."""
    random = np.random.default_rng(0)
    false = jnp.zeros((9, 4), bool)
    return Trajectory(
        observation=jnp.asarray(random.integers(0, 256, (9, 4, 2, 2, 1)), jnp.uint8),
        is_first=false.at[0].set(True),
        is_last=false,
        action=jnp.zeros((9, 4), jnp.int32),
        reward=jnp.asarray(random.normal(50.0, 30.0, (9, 4)), jnp.float32),
        terminated=false,
    )


def test_without_a_wish_nothing_is_changed_or_remembered():
    normaliser, rows = make(False, False), make_rows()
    state = normaliser.init(4)
    assert normaliser.spec is IMAGES and state == ()
    assert normaliser.observations(state, rows.observation) is rows.observation
    for got, given in zip(normaliser.rows(state, rows), rows, strict=True):
        assert got is given
    assert normaliser.update(state, rows) == ()


def test_normalised_bytes_are_floats_of_mean_0_and_variance_1():
    normaliser, rows = make(True, False), make_rows()
    spec = normaliser.spec.observation
    assert (spec.shape, spec.dtype) == ((2, 2, 1), jnp.float32)
    assert (spec.low, spec.high) == (-normalisation.CLIP, normalisation.CLIP)
    assert normaliser.spec._replace(observation=()) == IMAGES._replace(observation=())
    state = normaliser.init(4)
    untouched = normaliser.observations(state, rows.observation)
    assert untouched.dtype == jnp.float32
    state = normaliser.update(state, rows)
    seen = normaliser.rows(state, rows)
    assert seen.observation.dtype == jnp.float32
    np.testing.assert_array_equal(seen.reward, rows.reward)
    np.testing.assert_allclose(seen.observation[:-1].mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(seen.observation[:-1].std((0, 1)), 1.0, rtol=1e-4)
    acted_on = normaliser.observations(state, rows.observation[3])
    np.testing.assert_array_equal(acted_on, seen.observation[3])


def test_scaled_rewards_leave_observations_and_their_spec_alone():
    normaliser, rows = make(False, True), make_rows()
    assert normaliser.spec is IMAGES
    state = normaliser.update(normaliser.init(4), rows)
    seen = normaliser.rows(state, rows)
    assert seen.observation is rows.observation
    returns = np.zeros((8, 4))
    for t in range(8):
        returns[t] = rows.reward[t] + (0.9 * returns[t - 1] if t else 0.0)
    np.testing.assert_allclose(seen.reward, rows.reward / returns.std(), rtol=1e-4)


@pytest.mark.parametrize("rewards", [False, True])
def test_compiled_it_is_the_same(rewards):
    normaliser, rows = make(True, rewards), make_rows()
    state = normaliser.update(normaliser.init(4), rows)
    compiled = jax.jit(normaliser.rows)(state, rows)
    for got, wanted in zip(
        jax.tree.leaves(compiled),
        jax.tree.leaves(normaliser.rows(state, rows)),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_statistics_can_be_kept_by_one_who_did_not_see_the_beginning():
    normaliser, rows = make(True, True), make_rows()
    first, second = (jax.tree.map(lambda x, i=i: x[i : i + 5], rows) for i in (0, 4))
    state = normaliser.update(normaliser.init(4), first)
    expected = normaliser.update(state, second)
    return_so_far, _ = normaliser.follow(jnp.zeros(4), first)
    _, before = normaliser.follow(return_so_far, second)
    assert before.shape == (5, 4)
    forgetful = state._replace(return_so_far=before[0])
    got = normaliser.update(forgetful, second)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_a_normalised_image_keeps_its_channels_where_they_were():
    frames = ArraySpec((4, 84, 84), jnp.uint8, 0, 255, channels_first=True)
    normaliser = make_normaliser(
        IMAGES._replace(observation=frames),
        observations=True,
        rewards=False,
        gamma=0.9,
        axis_name=None,
    )
    limit = normalisation.CLIP
    expected = frames._replace(dtype=jnp.float32, low=-limit, high=limit)
    assert normaliser.spec.observation == expected
