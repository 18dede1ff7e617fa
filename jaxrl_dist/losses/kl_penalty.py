"""PPO with a penalty on the KL divergence in place of clipping."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_at_least,
    check_floating,
    check_same_shape,
    check_shape,
)
from jaxrl_dist.losses.policy import MAX_LOG_RATIO
from jaxrl_dist.losses.precision import widen


def kl_penalized_loss(
    *,
    log_ratios: jax.Array,
    advantages: jax.Array,
    kl: jax.Array,
    coefficient: float | jax.Array,
) -> jax.Array:
    """Computes the surrogate of PPO with a KL penalty in place of clipping.

        loss = -rho A + beta KL(pi_old || pi)

    The gradient stops at the advantages and at the coefficient.

    Args:
        log_ratios: [...] log pi(a | x) - log pi_old(a | x), in nats; log rho.
        advantages: [...] reward units.
        kl: [...] KL(pi_old(. | x) || pi(. | x)), in nats.
        coefficient: [] beta, reward units per nat, at least 0; see
            `adapted_kl_coefficient`.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or the coefficient
            is below 0. Traced values are not checked.

    Source:
        Schulman et al. 2017, Proximal policy optimization algorithms, equation 8,
        arXiv:1707.06347.
    """
    check_floating(log_ratios=log_ratios, advantages=advantages, kl=kl)
    check_same_shape(log_ratios=log_ratios, advantages=advantages, kl=kl)
    check_shape((), coefficient=coefficient)
    check_at_least(0, coefficient=coefficient)
    dtype, (log_ratios, advantages, kl) = widen(log_ratios, advantages, kl)
    advantages, coefficient = jax.lax.stop_gradient((advantages, coefficient))
    ratios = jnp.exp(jnp.minimum(log_ratios, MAX_LOG_RATIO))
    return (coefficient * kl - ratios * advantages).astype(dtype)


def adapted_kl_coefficient(
    *,
    coefficient: float | jax.Array,
    kl: jax.Array,
    target_kl: float,
) -> jax.Array:
    """Computes the coefficient of the KL penalty for the next batch.

    Halved where the KL fell below target / 1.5, doubled where it rose above 1.5 times
    the target. No gradient flows through the result.

    Args:
        coefficient: [] the one in use, reward units per nat, at least 0.
        kl: [] mean of KL(pi_old || pi) over the batch after the update, in nats.
        target_kl: above 0, in nats.

    Returns:
        [] reward units per nat, in the type of `kl`.

    Raises:
        ValueError: an argument is no single number, the KL is not floating, the
            coefficient is below 0, or the target is not above 0. Traced values are not
            checked.

    Source:
        Schulman et al. 2017, Proximal policy optimization algorithms, section 4,
        arXiv:1707.06347.
    """
    check_floating(kl=kl)
    check_shape((), coefficient=coefficient, kl=kl)
    check_at_least(0, coefficient=coefficient)
    check_above(0, target_kl=target_kl)
    factor = jnp.where(kl < target_kl / 1.5, 0.5, jnp.where(kl > target_kl * 1.5, 2, 1))
    return jax.lax.stop_gradient(factor * coefficient).astype(jnp.result_type(kl))
