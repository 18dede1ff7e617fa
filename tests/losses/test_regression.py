"""Losses of errors, at numbers whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses


def test_the_squared_loss_is_half_of_the_square():
    np.testing.assert_allclose(
        losses.squared_loss(errors=jnp.array([-2.0, 0.0, 3.0])), [2.0, 0.0, 4.5]
    )


def test_the_huber_loss_is_quadratic_inside_and_linear_outside():
    errors = jnp.array([-3.0, -2.0, -1.0, 0.0, 0.5, 2.0, 5.0])
    np.testing.assert_allclose(
        losses.huber_loss(errors=errors, delta=2.0), [4, 2, 0.5, 0, 0.125, 2, 8]
    )
    np.testing.assert_allclose(
        losses.huber_loss(errors=errors), [2.5, 1.5, 0.5, 0, 0.125, 1.5, 4.5]
    )


def test_the_gradient_of_the_huber_loss_is_the_clipped_error():
    errors = jnp.array([-3.0, -1.0, 0.0, 0.5, 1e6])
    slopes = jax.vmap(jax.grad(lambda e: losses.huber_loss(errors=e, delta=2.0)))
    np.testing.assert_allclose(slopes(errors), [-2, -1, 0, 0.5, 2])


def test_a_delta_of_0_is_refused():
    with pytest.raises(ValueError, match="delta must be above 0, got 0"):
        losses.huber_loss(errors=jnp.ones(2), delta=0.0)
