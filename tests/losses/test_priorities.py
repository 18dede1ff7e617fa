"""Priorities of sequences, and the weights that correct for them."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

ERRORS = np.array([[1.0, -2.0], [-3.0, 0.0], [2.0, 5.0]])  # [T, B]


def test_priorities_mix_the_greatest_error_with_the_mean():
    got = losses.sequence_priorities(errors=ERRORS, eta=0.6)
    np.testing.assert_allclose(
        got, [0.6 * 3 + 0.4 * 2, 0.6 * 5 + 0.4 * 7 / 3], rtol=1e-6
    )
    got = losses.sequence_priorities(errors=ERRORS)
    np.testing.assert_allclose(
        got, [0.9 * 3 + 0.1 * 2, 0.9 * 5 + 0.1 * 7 / 3], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_masked_steps_count_neither_for_the_maximum_nor_for_the_mean(dtype):
    """Two steps count in the first sequence, none in the second, one in the third."""
    mask = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 0]], dtype)
    errors = np.where(mask, np.concatenate([ERRORS, ERRORS[:, :1]], axis=1), np.nan)
    got = losses.sequence_priorities(errors=errors, mask=mask, eta=0.5)
    np.testing.assert_allclose(got, [0.5 * 2 + 0.5 * 1.5, 0.0, 3.0], rtol=1e-6)


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_an_eta_outside_0_to_1_is_refused(eta):
    with pytest.raises(ValueError, match=r"eta must be in \[0, 1\], got"):
        losses.sequence_priorities(errors=ERRORS, eta=eta)


def test_a_mask_of_integers_or_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="mask must be of a floating type, got int32"):
        losses.sequence_priorities(errors=ERRORS, mask=jnp.ones((3, 2), int))
    with pytest.raises(ValueError, match=r"mask has shape \(2, 2\), but errors has"):
        losses.sequence_priorities(errors=ERRORS, mask=np.ones((2, 2), bool))


def test_weights_are_the_published_ones_for_any_number_of_items():
    drawn = np.array([0.1, 0.4, 0.05])
    got = losses.importance_weights(probabilities=drawn, beta=0.6)
    for num_items in (3, 1000):
        weights = (num_items * drawn) ** -0.6
        np.testing.assert_allclose(got, weights / weights.max(), rtol=1e-5)


def test_a_beta_of_0_corrects_nothing():
    got = losses.importance_weights(probabilities=np.array([0.1, 0.9]), beta=0.0)
    np.testing.assert_array_equal(got, [1, 1])


@pytest.mark.parametrize("beta", [-0.1, 1.1])
def test_a_beta_outside_0_to_1_is_refused(beta):
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\], got"):
        losses.importance_weights(probabilities=np.ones(2), beta=beta)
    with pytest.raises(ValueError, match=r"beta has shape \(2,\)"):
        losses.importance_weights(probabilities=np.ones(2), beta=np.ones(2))
