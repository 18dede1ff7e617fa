"""What losses need to know of categorical policies."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_floating, check_rank, check_same_shape
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.selection import action_values


def categorical_log_probs(*, logits: jax.Array, actions: jax.Array) -> jax.Array:
    """Computes log-probabilities of actions. Gradients flow into the logits.

    Args:
        logits: [..., A] log-probabilities up to a constant, in nats; -inf where an
            action is not allowed.
        actions: [...] integers in [0, A).

    Returns:
        [...] at most 0 nats, in the type of the logits.

    Raises:
        ValueError: shapes do not agree, the logits are not floating, the actions are
            not integers, or are out of range where their values are known. Inside
            compiled code an action of A or above reads nan.

    Source:
        Bishop 2006, Pattern recognition and machine learning, equation 4.104.
    """
    check_floating(logits=logits)
    check_rank(1, logits=logits)
    dtype, (logits,) = widen(logits)
    log_probs = jax.nn.log_softmax(logits)
    return action_values(q_values=log_probs, actions=actions).astype(dtype)


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
