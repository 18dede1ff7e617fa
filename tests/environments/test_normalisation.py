"""Running moments against NumPy in float64, over rollouts and devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments import normalisation
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, Trajectory
from tests.environments.rollouts import make_rollouts

SPEC = EnvironmentSpec("Any", ArraySpec((3,), np.float32), DiscreteSpec(2))
GAMMA = 0.9


def take_in(rollouts: list[Trajectory]) -> normalisation.NormaliserState:
    """The statistics after some rollouts."""
    state = normalisation.init(SPEC, rollouts[0].reward.shape[1])
    for rows in rollouts:
        state = normalisation.update(state, rows, gamma=GAMMA)
    return state


def returns_by_hand(rollouts: list[Trajectory]) -> np.ndarray:
    """The discounted return up to every real transition."""
    found = []
    rollouts = jax.tree.map(np.asarray, rollouts)
    for column in range(rollouts[0].reward.shape[1]):
        return_so_far = 0.0
        for rows in rollouts:
            for t in range(len(rows.reward) - 1):
                if rows.is_first[t, column]:
                    return_so_far = 0.0
                if not rows.is_last[t, column]:
                    return_so_far *= GAMMA
                    return_so_far += float(rows.reward[t, column])
                    found.append(return_so_far)
    return np.array(found)


def test_moments_are_those_of_all_rows_each_counted_once():
    rollouts = make_rollouts(3)
    state = take_in(rollouts)
    seen = np.concatenate(
        [np.asarray(rows.observation)[:-1] for rows in rollouts]
    ).reshape(-1, 3)
    assert state.observations.num_seen == len(seen)
    np.testing.assert_allclose(state.observations.mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.observations.variance, seen.var(0), rtol=1e-5)
    returns = returns_by_hand(rollouts)
    assert state.returns.num_seen == len(returns)
    np.testing.assert_allclose(state.returns.mean, returns.mean(), rtol=1e-5)
    np.testing.assert_allclose(state.returns.variance, returns.var(), rtol=1e-5)


def test_devices_together_know_what_one_device_with_the_whole_batch_knows():
    rollouts = make_rollouts(2, batch_size=8)
    expected = take_in(rollouts)
    update = jax.pmap(
        lambda state, rows: normalisation.update(
            state, rows, gamma=GAMMA, axis_name="devices"
        ),
        axis_name="devices",
        devices=jax.devices()[:2],
    )
    alone = normalisation.init(SPEC, 4)
    state = jax.tree.map(lambda x: jnp.stack([x, x]), alone)
    for rows in rollouts:
        halves = jax.tree.map(lambda x: jnp.stack([x[:, :4], x[:, 4:]]), rows)
        state = update(state, halves)
    np.testing.assert_allclose(
        state.return_so_far.ravel(), expected.return_so_far, rtol=1e-5
    )
    for got, wanted in zip(
        jax.tree.leaves((state.observations, state.returns)),
        jax.tree.leaves((expected.observations, expected.returns)),
        strict=True,
    ):
        np.testing.assert_array_equal(got[0], got[1])
        np.testing.assert_allclose(got[0], wanted, rtol=1e-5)


def test_a_small_spread_around_a_large_mean_survives_float32():
    (rows,) = make_rollouts(1, num_steps=256, batch_size=16)
    values = 1e5 + 0.5 * rows.observation
    state = take_in([rows._replace(observation=values)])
    expected = np.asarray(values[:-1], np.float64).reshape(-1, 3).var(0)
    np.testing.assert_allclose(state.observations.variance, expected, rtol=1e-3)


def test_after_billions_of_steps_new_ones_change_little_and_nothing_breaks():
    (rows,) = make_rollouts(1)
    state = take_in([rows])
    old = state.observations._replace(num_seen=jnp.float32(1e10))
    state = state._replace(observations=old)
    later = normalisation.update(state, rows, gamma=GAMMA).observations
    np.testing.assert_allclose(later.mean, old.mean, rtol=1e-6)
    np.testing.assert_allclose(later.variance, old.variance, rtol=1e-6)


def test_observations_come_out_with_mean_0_and_variance_1_within_10():
    rollouts = make_rollouts(3, num_steps=100)
    state = take_in(rollouts)
    seen = rollouts[0].observation
    scaled = normalisation.normalise_observations(state, seen)
    assert scaled.shape == seen.shape and scaled.dtype == jnp.float32
    np.testing.assert_allclose(scaled.mean((0, 1)), 0, atol=0.2)
    np.testing.assert_allclose(scaled.std((0, 1)), 1, atol=0.2)
    far = normalisation.normalise_observations(state, jnp.array([1e9, -1e9, 5.0]))
    np.testing.assert_array_equal(far[:2], [10, -10])


def test_nothing_is_changed_before_anything_was_seen():
    state = normalisation.init(SPEC, 2)
    observation = np.array([[1.0, -2.0, 3.0]], np.float32)
    same = normalisation.normalise_observations(state, observation)
    np.testing.assert_allclose(same, observation, rtol=1e-6)
    np.testing.assert_allclose(normalisation.scale_rewards(state, jnp.ones(2)), 1)


def test_rewards_are_divided_by_the_deviation_of_returns():
    rollouts = make_rollouts(2)
    deviation = returns_by_hand(rollouts).std()
    scaled = normalisation.scale_rewards(take_in(rollouts), jnp.array([[-1.5, 1e9]]))
    np.testing.assert_allclose(scaled, [[-1.5 / deviation, 10]], rtol=1e-5)


def test_images_and_trees_of_observations_are_normalised_part_by_part():
    spec = SPEC._replace(
        observation={
            "image": ArraySpec((2, 2, 1), np.uint8),
            "vector": ArraySpec((3,), np.float32),
        }
    )
    (rows,) = make_rollouts(1)
    image = np.random.default_rng(0).integers(0, 255, (17, 4, 2, 2, 1), np.uint8)
    rows = rows._replace(
        observation={"image": jnp.asarray(image), "vector": rows.observation}
    )
    state = normalisation.update(normalisation.init(spec, 4), rows, gamma=GAMMA)
    pixels = image[:-1].reshape(-1, 2, 2, 1)
    np.testing.assert_allclose(
        state.observations["image"].variance, pixels.var(0), rtol=1e-4
    )
    scaled = normalisation.normalise_observations(state, rows.observation)
    assert scaled["image"].dtype == jnp.float32
    assert jax.tree.structure(scaled) == jax.tree.structure(rows.observation)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_no_gradient_flows_into_the_statistics(gamma):
    (rows,) = make_rollouts(1)
    state = normalisation.update(normalisation.init(SPEC, 4), rows, gamma=gamma)

    def total(state):
        seen = normalisation.normalise_observations(state, rows.observation)
        return seen.sum() + normalisation.scale_rewards(state, rows.reward).sum()

    grads = jax.grad(total)(state)
    assert not any(grad.any() for grad in jax.tree.leaves(grads))
