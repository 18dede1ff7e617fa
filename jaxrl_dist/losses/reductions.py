"""Means of what losses return, over the elements that count."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_floating, check_same_shape
from jaxrl_dist.losses.precision import widen


def masked_mean(
    *,
    losses: jax.Array,
    mask: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Computes the weighted mean of the losses that count.

        sum(mask w loss) / sum(mask)

    The weights are not divided out: importance weights would lose their scale. Losses
    that do not count may be anything, inf and nan too: neither the mean nor the
    gradient with respect to `losses` notices them. (A nan inside the function that
    computed them still spoils that function's gradient.) The gradient flows into
    `losses` only.

    Args:
        losses: [...] any unit.
        mask: [...] bool, or floating 0 and 1; which losses count.
        weights: [...] at least 0, without unit: importance weights. None for 1.

    Returns:
        [] in the unit and type of the losses; 0 if no loss counts.

    Raises:
        ValueError: shapes do not agree, the losses or weights are not floating, or the
            mask is neither of bool nor floating. Values are not checked.

    Source:
        Schaul et al. 2016, Prioritized experience replay, section 3.4,
        arXiv:1511.05952, for the weights.
    """
    check_floating(losses=losses)
    counts = counted(mask, losses=losses)
    dtype, (losses,) = widen(losses)
    total = jnp.where(counts, losses, 0.0)
    if weights is not None:
        check_floating(weights=weights)
        check_same_shape(losses=losses, weights=weights)
        total = total * jnp.where(counts, jax.lax.stop_gradient(weights), 0.0)
    return (jnp.sum(total) / jnp.maximum(1, jnp.sum(counts))).astype(dtype)


def counted(mask: jax.Array, **arrays: jax.Array) -> jax.Array:
    """Which elements count.

    Args:
        mask: [...] bool, or floating 0 and 1.
        **arrays: of the same shape, under the names the caller knows them by.

    Returns:
        [...] bool.

    Raises:
        ValueError: the shapes differ, or the mask is neither of bool nor floating.
    """
    check_same_shape(**arrays, mask=mask)
    if jnp.result_type(mask) != jnp.bool_:
        check_floating(mask=mask)
    return jnp.asarray(mask) != 0
