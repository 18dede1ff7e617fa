"""Means over the elements that count."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_only_what_is_in_the_mask_counts(dtype):
    mask = np.array([[1, 0], [1, 1]], dtype)
    values = np.array([[1.0, np.nan], [3.0, 5.0]])
    assert losses.masked_mean(losses=values, mask=mask) == 3
    weights = np.array([[2.0, np.inf], [0.5, 0.1]])
    got = losses.masked_mean(losses=values, mask=mask, weights=weights)
    np.testing.assert_allclose(got, (2 + 1.5 + 0.5) / 3, rtol=1e-6)


def test_the_mean_of_one_is_itself():
    got = losses.masked_mean(losses=jnp.array([3.0, 4.0]), mask=jnp.array([0.0, 1.0]))
    assert got == 4


def test_nothing_that_counts_is_a_mean_of_0():
    assert losses.masked_mean(losses=jnp.ones(2), mask=jnp.zeros(2, bool)) == 0


def test_a_loss_that_does_not_count_has_no_gradient():
    mask = jnp.array([True, False, True])
    got = jax.grad(lambda x: losses.masked_mean(losses=x, mask=mask))(
        jnp.array([1.0, jnp.inf, 3.0])
    )
    np.testing.assert_allclose(got, [0.5, 0, 0.5])


def test_a_mask_of_integers_is_refused():
    with pytest.raises(ValueError, match="mask must be of a floating type, got int32"):
        losses.masked_mean(losses=jnp.ones(2), mask=jnp.ones(2, int))
