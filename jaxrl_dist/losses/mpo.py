"""MPO and V-MPO: the policy is fitted to actions weighted by how good they were.

For both, the policy's loss is `policy_gradient_loss` with the weights here as its
advantages, and `kl_constraint_loss` keeps the policy near the old one.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_floating,
    check_shape,
    check_steps,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.reductions import counted


def mpo_weights(*, q_values: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """Computes the weights of actions drawn from the old policy.

        w_s = exp(Q(x, a_s) / eta) / sum_s exp(Q(x, a_s) / eta)

    No gradient flows through the result.

    Args:
        q_values: [S, ...] of S actions drawn in each state, reward units.
        temperature: [] eta, reward units per nat, above 0.

    Returns:
        [S, ...] at least 0, adding up to 1 over S, in the type of `q_values`.

    Raises:
        ValueError: there is no axis of actions or it is empty, the values are not
            floating, or the temperature is not above 0. Traced values are not checked.

    Source:
        Abdolmaleki et al. 2018, Maximum a posteriori policy optimisation, section 4.1,
        arXiv:1806.06920.
    """
    check_steps(q_values=q_values)
    _check_temperature(temperature)
    dtype, (q_values,) = widen(q_values)
    weights = jax.nn.softmax(q_values / temperature, axis=0)
    return jax.lax.stop_gradient(weights).astype(dtype)


def mpo_temperature_loss(
    *, q_values: jax.Array, temperature: float | jax.Array, epsilon: float
) -> jax.Array:
    """Computes the dual loss that finds the temperature of MPO.

        loss = eta epsilon + eta log mean_s exp(Q(x, a_s) / eta)

    The gradient flows into the temperature only.

    Args:
        q_values: [S, ...] of S actions drawn in each state, reward units.
        temperature: [] eta, reward units per nat, above 0.
        epsilon: how far the weights may move from uniform, above 0, in nats.

    Returns:
        [...] reward units, in the type of `q_values`.

    Raises:
        ValueError: there is no axis of actions or it is empty, the values are not
            floating, or temperature or epsilon is not above 0. Traced values are not
            checked.

    Source:
        Abdolmaleki et al. 2018, Maximum a posteriori policy optimisation, equation 8,
        arXiv:1806.06920.
    """
    check_steps(q_values=q_values)
    _check_temperature(temperature)
    check_above(0, epsilon=epsilon)
    dtype, (q_values,) = widen(jax.lax.stop_gradient(q_values))
    log_means = jax.nn.logsumexp(q_values / temperature, axis=0) - jnp.log(
        len(q_values)
    )
    return (temperature * (epsilon + log_means)).astype(dtype)


def vmpo_weights(
    *,
    advantages: jax.Array,
    temperature: float | jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Computes the weights of a batch's better half.

        w_i = exp(A_i / eta) / sum_j exp(A_j / eta)  over the half of greatest advantage

    and 0 elsewhere. The half is one of the elements that count, and of an odd number
    the middle one is in. The paper does not say what becomes of elements that equal
    the least of that half: here all of them are in, so that their order changes
    nothing, and more than half may be. No gradient flows through the result.

    Args:
        advantages: [...] of the whole batch, reward units.
        temperature: [] eta, reward units per nat, above 0.
        mask: [...] bool, or floating 0 and 1; which elements count, at least one. None
            for all.

    Returns:
        [...] at least 0, adding up to 1 over the batch, in the type of the advantages:
        the policy loss is the sum of weights times -log pi, not the mean.

    Raises:
        ValueError: shapes do not agree, the advantages are not floating, the mask is
            neither of bool nor floating, or the temperature is not above 0. Traced
            values are not checked.

    Source:
        Song et al. 2020, V-MPO, equation 4, arXiv:1909.12238.
    """
    dtype, scaled = _better_half(advantages, temperature, mask)
    weights = jax.nn.softmax(scaled.ravel()).reshape(scaled.shape)
    return jax.lax.stop_gradient(weights).astype(dtype)


def vmpo_temperature_loss(
    *,
    advantages: jax.Array,
    temperature: float | jax.Array,
    epsilon: float,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Computes the dual loss that finds the temperature of V-MPO.

        loss = eta epsilon + eta log mean_i exp(A_i / eta)  over the better half

    which is that of `vmpo_weights`. The gradient flows into the temperature only.

    Args:
        advantages: [...] of the whole batch, reward units.
        temperature: [] eta, reward units per nat, above 0.
        epsilon: how far the weights may move from uniform, above 0, in nats.
        mask: [...] bool, or floating 0 and 1; which elements count, at least one. None
            for all.

    Returns:
        [] reward units, in the type of the advantages: one number for the batch.

    Raises:
        ValueError: shapes do not agree, the advantages are not floating, the mask is
            neither of bool nor floating, or temperature or epsilon is not above 0.
            Traced values are not checked.

    Source:
        Song et al. 2020, V-MPO, equation 5, arXiv:1909.12238.
    """
    check_above(0, epsilon=epsilon)
    dtype, scaled = _better_half(jax.lax.stop_gradient(advantages), temperature, mask)
    log_mean = jax.nn.logsumexp(scaled) - jnp.log(jnp.sum(scaled > -jnp.inf))
    return (temperature * (epsilon + log_mean)).astype(dtype)


def kl_constraint_loss(
    *, kl: jax.Array, multiplier: float | jax.Array, epsilon: float
) -> jax.Array:
    """Computes the Lagrangian that holds a KL divergence below a bound.

        loss = alpha (epsilon - [KL]) + [alpha] KL

    where no gradient flows into what stands in brackets: minimising it lowers the KL,
    and raises alpha while the KL is above the bound.

    Args:
        kl: [...] KL(pi_old(. | x) || pi(. | x)), in nats.
        multiplier: [] alpha, reward units per nat, above 0.
        epsilon: the bound, above 0, in nats.

    Returns:
        [...] reward units, in the type of `kl`.

    Raises:
        ValueError: the KL is not floating, the multiplier is no single number, or
            multiplier or epsilon is not above 0. Traced values are not checked.

    Source:
        Song et al. 2020, V-MPO, equation 8, arXiv:1909.12238.
    """
    check_floating(kl=kl)
    check_shape((), multiplier=multiplier)
    check_above(0, multiplier=multiplier, epsilon=epsilon)
    dtype, (kl,) = widen(kl)
    fixed_kl, fixed_multiplier = jax.lax.stop_gradient((kl, multiplier))
    loss = multiplier * (epsilon - fixed_kl) + fixed_multiplier * kl
    return loss.astype(dtype)


def _check_temperature(temperature: float | jax.Array) -> None:
    check_shape((), temperature=temperature)
    check_above(0, temperature=temperature)


def _better_half(
    advantages: jax.Array, temperature: float | jax.Array, mask: jax.Array | None
) -> tuple[Any, jax.Array]:
    """The answer's type, and advantages over temperature, -inf in the worse half."""
    check_floating(advantages=advantages)
    _check_temperature(temperature)
    if mask is None:
        mask = jnp.ones(jnp.shape(advantages), bool)
    counts = counted(mask, advantages=advantages)
    dtype, (advantages,) = widen(advantages)
    ranked = jnp.sort(jnp.where(counts, advantages, -jnp.inf).ravel(), descending=True)
    # With no element at all, the index is -1, and nothing counts.
    least = ranked[(jnp.sum(counts) + 1) // 2 - 1]
    counts &= advantages >= least
    # Divided only where it counts: -inf would spoil the temperature's gradient.
    scaled = jnp.where(counts, advantages, 0.0) / temperature
    return dtype, jnp.where(counts, scaled, -jnp.inf)
