"""Losses of policies: they take log-probabilities, so any distribution will do."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_at_least,
    check_floating,
    check_same_shape,
)
from jaxrl_dist.losses.precision import widen

# Where ratios stop to grow: an infinite one would make nan of zeros beside it.
MAX_LOG_RATIO = 80.0


def policy_gradient_loss(*, log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """Computes a loss whose gradient is the policy gradient's, with its sign turned.

        loss = -A log pi(a | x)

    The gradient stops at the advantages.

    Args:
        log_probs: [...] log pi(a | x) of the learner, in nats.
        advantages: [...] reward units.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, or an array is not floating. Values are not
            checked.

    Source:
        Williams 1992, equation 4; Sutton et al. 2000, Policy gradient methods for
        reinforcement learning with function approximation, theorem 1.
    """
    check_floating(log_probs=log_probs, advantages=advantages)
    check_same_shape(log_probs=log_probs, advantages=advantages)
    dtype, (log_probs, advantages) = widen(log_probs, advantages)
    return (-jax.lax.stop_gradient(advantages) * log_probs).astype(dtype)


def clipped_surrogate_loss(
    *, log_ratios: jax.Array, advantages: jax.Array, epsilon: float | jax.Array
) -> jax.Array:
    """Computes PPO's clipped surrogate, with its sign turned to make it a loss.

        loss = -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A)

    The gradient stops at the advantages, and is 0 where the clipped term is taken.

    Args:
        log_ratios: [...] log pi(a | x) - log pi_old(a | x), in nats; log rho.
        advantages: [...] reward units.
        epsilon: how far the ratio may move for gain, above 0; [] if an array.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or epsilon is not
            above 0. Traced values are not checked.

    Source:
        Schulman et al. 2017, Proximal policy optimization algorithms, equation 7,
        arXiv:1707.06347.

    Example:
        >>> from jaxrl_dist import losses
        >>> print(
        ...     losses.clipped_surrogate_loss(
        ...         log_ratios=jnp.log(jnp.array([0.5, 2.0])),
        ...         advantages=jnp.array([1.0, 1.0]),
        ...         epsilon=0.25,
        ...     )
        ... )
        [-0.5  -1.25]
    """
    check_floating(log_ratios=log_ratios, advantages=advantages)
    check_same_shape(log_ratios=log_ratios, advantages=advantages)
    check_above(0, epsilon=epsilon)
    return _surrogate_loss(log_ratios, advantages, epsilon, highest=jnp.inf)


def clipped_value_loss(
    *,
    values: jax.Array,
    old_values: jax.Array,
    targets: jax.Array,
    epsilon: float,
) -> jax.Array:
    """Computes PPO's value loss, pessimistic about moves beyond a clip range.

        loss = 1/2 max((V - G)^2, (V_old + clip(V - V_old, -epsilon, epsilon) - G)^2)

    The gradient flows into `values` only.

    Args:
        values: [...] V(x) of the learner, reward units.
        old_values: [...] V(x) when the data was gathered, reward units.
        targets: [...] what V(x) should move towards, reward units.
        epsilon: how far values may move for gain, reward units, at least 0.

    Returns:
        [...] squared reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or epsilon is below
            0. Traced values are not checked.

    Source:
        Dhariwal et al. 2017, OpenAI Baselines, ppo2; Engstrom et al. 2020,
        Implementation matters in deep policy gradients, section 3, arXiv:2005.12729.
    """
    check_floating(values=values, old_values=old_values, targets=targets)
    check_same_shape(values=values, old_values=old_values, targets=targets)
    check_at_least(0, epsilon=epsilon)
    dtype, (values, old_values, targets) = widen(values, old_values, targets)
    old_values, targets = jax.lax.stop_gradient((old_values, targets))
    clipped = old_values + jnp.clip(values - old_values, -epsilon, epsilon)
    errors, clipped_errors = values - targets, clipped - targets
    return (0.5 * jnp.maximum(errors**2, clipped_errors**2)).astype(dtype)


def dual_clipped_surrogate_loss(
    *,
    log_ratios: jax.Array,
    advantages: jax.Array,
    epsilon: float | jax.Array,
    dual_clip: float = 3.0,
) -> jax.Array:
    """Computes PPO's clipped surrogate, bounded for actions that turned out badly too.

        loss = -max(min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A), dual_clip A)

    where A < 0, and `clipped_surrogate_loss` where A >= 0. The gradient stops at the
    advantages, and is 0 where a clipped term is taken.

    Args:
        log_ratios: [...] log pi(a | x) - log pi_old(a | x), in nats; log rho.
        advantages: [...] reward units.
        epsilon: how far the ratio may move for gain, above 0; [] if an array.
        dual_clip: the largest ratio that counts where A < 0, above 1.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, epsilon is not above
            0, or the dual clip is not above 1. Traced values are not checked.

    Source:
        Ye et al. 2020, Mastering complex control in MOBA games with deep reinforcement
        learning, equation 4, arXiv:1912.09729.
    """
    check_floating(log_ratios=log_ratios, advantages=advantages)
    check_same_shape(log_ratios=log_ratios, advantages=advantages)
    check_above(0, epsilon=epsilon)
    check_above(1, dual_clip=dual_clip)
    return _surrogate_loss(log_ratios, advantages, epsilon, highest=dual_clip)


def a2c_loss(
    *,
    log_probs: jax.Array,
    entropies: jax.Array,
    advantages: jax.Array,
    values: jax.Array,
    targets: jax.Array,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.01,
) -> jax.Array:
    """Computes the loss of advantage actor-critic: policy, value and entropy.

        loss = -A log pi(a | x) + c_V (V(x) - G)^2 / 2 - c_H H(pi(. | x))

    The gradient stops at the advantages and the targets.

    Args:
        log_probs: [...] log pi(a | x) of the learner, in nats.
        entropies: [...] H(pi(. | x)) of the learner, in nats.
        advantages: [...] reward units.
        values: [...] V(x) of the learner, reward units.
        targets: [...] what V(x) should move towards, reward units.
        value_coefficient: c_V, per reward unit, at least 0.
        entropy_coefficient: c_H, reward units per nat, at least 0.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or a coefficient is
            below 0. Traced values are not checked.

    Source:
        Mnih et al. 2016, Asynchronous methods for deep reinforcement learning,
        section 4 and algorithm S3, arXiv:1602.01783.
    """
    arrays = {
        "log_probs": log_probs,
        "entropies": entropies,
        "advantages": advantages,
        "values": values,
        "targets": targets,
    }
    check_floating(**arrays)
    check_same_shape(**arrays)
    check_at_least(
        0, value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient
    )
    dtype, (log_probs, entropies, advantages, values, targets) = widen(*arrays.values())
    policy = policy_gradient_loss(log_probs=log_probs, advantages=advantages)
    squares = 0.5 * jnp.square(values - jax.lax.stop_gradient(targets))
    loss = policy + value_coefficient * squares - entropy_coefficient * entropies
    return loss.astype(dtype)


def _surrogate_loss(
    log_ratios: jax.Array,
    advantages: jax.Array,
    epsilon: float | jax.Array,
    *,
    highest: float,
) -> jax.Array:
    """The clipped surrogate, where `highest` bounds the ratio of bad actions."""
    dtype, (log_ratios, advantages) = widen(log_ratios, advantages)
    advantages = jax.lax.stop_gradient(advantages)
    ratios = jnp.exp(jnp.minimum(log_ratios, MAX_LOG_RATIO))
    # The lesser of two products is a product with the lesser ratio where A > 0, and
    # with the greater where A < 0: each has one bound that matters.
    for_good = jnp.minimum(ratios, 1.0 + epsilon)
    for_bad = jnp.clip(ratios, 1.0 - epsilon, highest)
    return (-jnp.where(advantages > 0.0, for_good, for_bad) * advantages).astype(dtype)
