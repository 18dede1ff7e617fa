"""Losses of policies, for any distribution, and what categorical ones need besides."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_at_least,
    check_floating,
    check_rank,
    check_same_shape,
)
from jaxrl_dist.losses.precision import widen


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


def entropy(*, logits: jax.Array) -> jax.Array:
    """Computes the entropy of categorical distributions.

    Logits of -inf (actions that are not allowed) have probability 0 and count nothing;
    at least one must be finite. Gradients flow into the logits.

    Args:
        logits: [..., A] log-probabilities up to a constant, in nats.

    Returns:
        [...] in [0, log A] nats, in the type of the logits.

    Raises:
        ValueError: the logits have no axis, or are not floating. Values are not
            checked.

    Source:
        Shannon 1948, A mathematical theory of communication, section 6.
    """
    check_floating(logits=logits)
    check_rank(1, logits=logits)
    dtype, (logits,) = widen(logits)
    log_probs = jax.nn.log_softmax(logits)
    terms = jnp.exp(log_probs) * jnp.where(logits > -jnp.inf, log_probs, 0.0)
    return -jnp.sum(terms, axis=-1).astype(dtype)


def categorical_kl(*, logits: jax.Array, other_logits: jax.Array) -> jax.Array:
    """Computes the Kullback-Leibler divergence of categorical distributions.

        KL(p || q) = sum_a p(a) (log p(a) - log q(a))

    Where p is 0 (logits of -inf) a term is 0, whatever q is. Where only q is 0 the
    divergence is infinite. Gradients flow into both arrays.

    Args:
        logits: [..., A] of p, the distribution the mean is taken under, in nats.
        other_logits: [..., A] of q, in nats.

    Returns:
        [...] at least 0, in nats, in the common type.

    Raises:
        ValueError: shapes do not agree, the logits have no axis, or are not floating.
            Values are not checked.

    Source:
        Kullback & Leibler 1951, On information and sufficiency, equation 2.4.
    """
    check_floating(logits=logits, other_logits=other_logits)
    check_same_shape(logits=logits, other_logits=other_logits)
    check_rank(1, logits=logits)
    dtype, (logits, other_logits) = widen(logits, other_logits)
    log_p, log_q = jax.nn.log_softmax(logits), jax.nn.log_softmax(other_logits)
    possible = logits > -jnp.inf
    log_ratios = jnp.where(possible, log_p, 0.0) - jnp.where(possible, log_q, 0.0)
    return jnp.sum(jnp.exp(log_p) * log_ratios, axis=-1).astype(dtype)


def clipped_surrogate_loss(
    *, log_ratios: jax.Array, advantages: jax.Array, epsilon: float
) -> jax.Array:
    """Computes PPO's clipped surrogate, with its sign turned to make it a loss.

        loss = -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A)

    The gradient stops at the advantages, and is 0 where the clipped term is taken.

    Args:
        log_ratios: [...] log pi(a | x) - log pi_old(a | x), in nats; log rho.
        advantages: [...] reward units.
        epsilon: how far the ratio may move for gain, above 0.

    Returns:
        [...] reward units; one number for each element, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or epsilon is not
            above 0. Traced values are not checked.

    Source:
        Schulman et al. 2017, Proximal policy optimization algorithms, equation 7,
        arXiv:1707.06347.
    """
    check_floating(log_ratios=log_ratios, advantages=advantages)
    check_same_shape(log_ratios=log_ratios, advantages=advantages)
    check_above(0, epsilon=epsilon)
    dtype, (log_ratios, advantages) = widen(log_ratios, advantages)
    advantages = jax.lax.stop_gradient(advantages)
    ratios = jnp.exp(log_ratios)
    clipped = jnp.clip(ratios, 1.0 - epsilon, 1.0 + epsilon)
    return -jnp.minimum(ratios * advantages, clipped * advantages).astype(dtype)


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
