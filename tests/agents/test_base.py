"""What rows say about steps, and means that do not depend on how a batch is spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.base import (
    average_over,
    mask_weights,
    normalise,
    transitions,
)
from jaxrl_dist.types import Trajectory


def column(numbers) -> jax.Array:
    """A column [T, 1]."""
    return jnp.asarray(numbers)[:, None]


def test_steps_are_read_out_of_rows():
    # Two episodes: one terminated by its third action, one truncated after its first.
    rows = Trajectory(
        observation=column(np.arange(8.0)),
        is_first=column([True, False, False, False, True, False, True, False]),
        is_last=column([False, False, False, True, False, True, False, False]),
        action=column([3, 1, 4, 99, 1, 99, 5, 0]),
        reward=column([0.1, 0.2, 0.3, 0.0, 0.5, 0.0, 0.7, 0.0]),
        terminated=column([False, False, True, False, False, False, False, False]),
    )
    steps = jax.tree.map(lambda x: x[:, 0], transitions(rows, gamma=0.9))
    np.testing.assert_array_equal(steps.actions, [3, 1, 4, 99, 1, 99, 5])
    np.testing.assert_allclose(steps.rewards, [0.1, 0.2, 0.3, 0, 0.5, 0, 0.7])
    np.testing.assert_array_equal(steps.ends, [0, 0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(steps.mask, [1, 1, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(
        steps.discounts, [0.9, 0.9, 0.0, 0.9, 0.9, 0.9, 0.9], rtol=1e-6
    )


def test_actions_of_several_numbers_keep_their_axes():
    flags = jnp.zeros((4, 2), bool)
    rows = Trajectory((), flags, flags, jnp.ones((4, 2, 5)), flags * 1.0, flags)
    assert transitions(rows, 1.0).actions.shape == (3, 2, 5)


def test_weights_have_mean_1_and_leave_out_what_is_masked():
    mask = jnp.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(mask_weights(mask, None), mask * 4 / 3, rtol=1e-6)


def test_weights_of_nothing_are_0():
    np.testing.assert_array_equal(mask_weights(jnp.zeros((3, 2)), None), 0.0)


def masked_batch() -> tuple[jax.Array, jax.Array]:
    """Values and a mask [6, 4] whose columns count unequally."""
    random = np.random.default_rng(0)
    values = random.normal(5.0, 3.0, (6, 4))
    mask = random.random((6, 4)) < np.array([0.9, 0.9, 0.3, 0.3])
    return jnp.asarray(values, jnp.float32), jnp.asarray(mask, jnp.float32)


def test_normalised_values_have_mean_0_and_variance_1_where_they_count():
    values, mask = masked_batch()
    answer = normalise(values, mask_weights(mask, None), None)
    counted = np.asarray(answer)[np.asarray(mask) == 1]
    np.testing.assert_allclose(counted.mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(counted.std(), 1.0, rtol=1e-5)
    before = np.asarray(values)[np.asarray(mask) == 1]
    expected = (before - before.mean()) / before.std()
    np.testing.assert_allclose(counted, expected, rtol=1e-4, atol=1e-5)


def test_equal_values_normalise_to_0():
    ones = jnp.ones((3, 2))
    np.testing.assert_array_equal(normalise(5.0 * ones, ones, None), 0.0)


@pytest.mark.parametrize("num_devices", [2, 4])
def test_devices_weigh_and_normalise_as_one_batch(num_devices):
    batch = masked_batch()

    def both(values, mask, axis_name=None):
        weights = mask_weights(mask, axis_name)
        return weights, normalise(values, weights, axis_name)

    def spread(x):
        return jnp.stack(jnp.split(x, num_devices, axis=1))

    shares = jax.pmap(
        lambda values, mask: both(values, mask, "devices"),
        axis_name="devices",
        devices=jax.devices()[:num_devices],
    )(*map(spread, batch))
    for share, whole in zip(shares, both(*batch), strict=True):
        np.testing.assert_allclose(share, spread(whole), rtol=1e-5, atol=1e-6)


def test_averages_over_devices_are_of_every_array_and_equal_on_all():
    tree = {"a": jnp.arange(6.0).reshape(2, 3), "b": (jnp.array([1.0, 5.0]),)}
    average = jax.pmap(
        lambda tree: average_over(tree, "devices"),
        axis_name="devices",
        devices=jax.devices()[:2],
    )(tree)
    np.testing.assert_allclose(average["a"], [[1.5, 2.5, 3.5]] * 2)
    np.testing.assert_allclose(average["b"][0], [3.0, 3.0])


def test_without_an_axis_nothing_is_averaged():
    tree = {"a": jnp.arange(3.0)}
    assert average_over(tree, None) is tree
