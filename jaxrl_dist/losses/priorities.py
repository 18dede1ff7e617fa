"""Prioritized replay: how much a sequence matters, and how to correct for it."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_floating,
    check_in_range,
    check_shape,
    check_steps,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.reductions import counted


def sequence_priorities(
    *, errors: jax.Array, mask: jax.Array | None = None, eta: float = 0.9
) -> jax.Array:
    """Computes a priority for each sequence from the errors of its steps.

        p = eta max_t |delta_t| + (1 - eta) mean_t |delta_t|

    over the steps that count. No gradient flows through the result.

    Args:
        errors: [T, ...] TD errors, reward units or compressed ones.
        mask: [T, ...] bool, or floating 0 and 1; which steps count. None for all.
        eta: in [0, 1]; 1 takes the greatest error alone, 0 the mean.

    Returns:
        [...] at least 0, in the unit and type of the errors; 0 where no step counts.

    Raises:
        ValueError: shapes do not agree, T is 0, the errors are not floating, the mask
            is neither of bool nor floating, or eta is outside [0, 1]. Traced values are
            not checked.

    Source:
        Kapturowski et al. 2019, Recurrent experience replay in distributed
        reinforcement learning, section 2.3.

    Example:
        >>> from jaxrl_dist import losses
        >>> print(losses.sequence_priorities(errors=jnp.array([1.0, -3.0]), eta=0.5))
        2.5
    """
    check_steps(errors=errors)
    check_in_range(0, 1, eta=eta)
    dtype, (errors,) = widen(errors)
    sizes = jnp.abs(jax.lax.stop_gradient(errors))
    number = len(sizes)
    if mask is not None:
        counts = counted(mask, errors=errors)
        sizes = jnp.where(counts, sizes, 0.0)
        number = jnp.maximum(1, jnp.sum(counts, axis=0))
    means = jnp.sum(sizes, axis=0) / number
    return (eta * jnp.max(sizes, axis=0) + (1.0 - eta) * means).astype(dtype)


def importance_weights(
    *, probabilities: jax.Array, beta: float | jax.Array
) -> jax.Array:
    """Computes weights that correct for drawing some items more often than others.

        w_i = (N P_i)^-beta / max_j (N P_j)^-beta = (min_j P_j / P_i)^beta

    with the extremes taken over the batch; N, the number of items that can be drawn,
    cancels. No gradient flows through the result.

    Args:
        probabilities: [...] P_i with which each item of the batch was drawn, above 0.
            Any multiple of them, such as priorities, gives the same weights.
        beta: [] in [0, 1]; 0 corrects nothing, 1 all.

    Returns:
        [...] in (0, 1], in the type of the probabilities.

    Raises:
        ValueError: the probabilities are not floating, beta is no single number, or is
            outside [0, 1]. Traced values are not checked.

    Source:
        Schaul et al. 2016, Prioritized experience replay, section 3.4,
        arXiv:1511.05952.
    """
    check_floating(probabilities=probabilities)
    check_shape((), beta=beta)
    check_in_range(0, 1, beta=beta)
    dtype, (probabilities,) = widen(jax.lax.stop_gradient(probabilities))
    return ((jnp.min(probabilities) / probabilities) ** beta).astype(dtype)
