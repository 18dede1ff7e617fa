"""Losses of errors."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_above, check_floating
from jaxrl_dist.losses.precision import widen


def squared_loss(*, errors: jax.Array) -> jax.Array:
    """Computes half of the square of each error. The gradient flows into the errors.

    Args:
        errors: [...] any unit.

    Returns:
        [...] in the unit squared.

    Raises:
        ValueError: the errors are not floating. Values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, section 9.3.
    """
    check_floating(errors=errors)
    dtype, (errors,) = widen(errors)
    return (0.5 * jnp.square(errors)).astype(dtype)


def huber_loss(*, errors: jax.Array, delta: float = 1.0) -> jax.Array:
    """Computes a loss that is quadratic near 0 and linear beyond.

        loss = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)

    Its gradient, which flows into the errors, never exceeds delta.

    Args:
        errors: [...] any unit.
        delta: where the loss turns linear, in the unit of the errors, above 0.

    Returns:
        [...] in the unit squared.

    Raises:
        ValueError: the errors are not floating, or delta is not above 0. Values are
            not checked.

    Source:
        Huber 1964, Robust estimation of a location parameter, section 2.
    """
    check_floating(errors=errors)
    check_above(0, delta=delta)
    dtype, (errors,) = widen(errors)
    # The clipped part carries the sign, so the product is the same on both sides of 0.
    clipped = jnp.clip(errors, -delta, delta)
    return (clipped * (errors - 0.5 * clipped)).astype(dtype)
