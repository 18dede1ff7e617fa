"""Losses and targets for continuous actions: SAC, TD3, deterministic gradients.

Several critics stand along the last axis, K: SAC and TD3 use two.
"""

import math

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_at_least,
    check_floating,
    check_rank,
    check_same_shape,
    check_shape,
)
from jaxrl_dist.losses.precision import widen


def sac_critic_targets(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    next_log_probs: jax.Array,
    temperature: float | jax.Array,
) -> jax.Array:
    """Computes what the critics of SAC should move towards.

        y = r + d (min_k Q_k(x', a') - alpha log pi(a' | x')),  a' ~ pi(. | x')

    No gradient flows through the result.

    Args:
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., K] of the K target critics at a', reward units.
        next_log_probs: [...] log pi(a' | x') of the density, in nats.
        temperature: [] alpha, reward units per nat, at least 0.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, there is no critic, an array is not floating,
            or the temperature is below 0. Traced values are not checked.

    Source:
        Haarnoja et al. 2018, Soft actor-critic algorithms and applications, equation
        5, arXiv:1812.05905.
    """
    steps = {
        "rewards": rewards,
        "discounts": discounts,
        "next_log_probs": next_log_probs,
    }
    check_floating(**steps, next_q_values=next_q_values)
    check_same_shape(**steps)
    _check_critics(jnp.shape(rewards), next_q_values=next_q_values)
    check_shape((), temperature=temperature)
    check_at_least(0, temperature=temperature)
    dtype, arrays = widen(rewards, discounts, next_q_values, next_log_probs)
    (rewards, discounts, next_q_values, next_log_probs), temperature = (
        jax.lax.stop_gradient((arrays, temperature))
    )
    least = jnp.min(next_q_values, axis=-1)
    targets = rewards + discounts * (least - temperature * next_log_probs)
    return targets.astype(dtype)


def sac_actor_loss(
    *, q_values: jax.Array, log_probs: jax.Array, temperature: float | jax.Array
) -> jax.Array:
    """Computes the loss of SAC's policy.

        loss = alpha log pi(a | x) - min_k Q_k(x, a),  a ~ pi(. | x), reparametrized

    The gradient stops at the temperature. It flows through `q_values` into the action:
    the caller differentiates with respect to the policy's parameters only.

    Args:
        q_values: [..., K] of the K critics at a, reward units.
        log_probs: [...] log pi(a | x) of the density, in nats.
        temperature: [] alpha, reward units per nat, at least 0.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, there is no critic, an array is not floating,
            or the temperature is below 0. Traced values are not checked.

    Source:
        Haarnoja et al. 2018, Soft actor-critic algorithms and applications, equation
        7, arXiv:1812.05905.
    """
    check_floating(q_values=q_values, log_probs=log_probs)
    _check_critics(jnp.shape(log_probs), q_values=q_values)
    check_shape((), temperature=temperature)
    check_at_least(0, temperature=temperature)
    dtype, (q_values, log_probs) = widen(q_values, log_probs)
    temperature = jax.lax.stop_gradient(temperature)
    return (temperature * log_probs - jnp.min(q_values, axis=-1)).astype(dtype)


def sac_temperature_loss(
    *, log_temperature: jax.Array, log_probs: jax.Array, target_entropy: float
) -> jax.Array:
    """Computes the loss that keeps the entropy of SAC's policy near a target.

        loss = -alpha (log pi(a | x) + target),  alpha = exp(log_temperature)

    The gradient flows into `log_temperature` only.

    Args:
        log_temperature: [] log alpha, any number, so that alpha stays above 0.
        log_probs: [...] log pi(a | x) of the density, a ~ pi(. | x), in nats.
        target_entropy: in nats, any number; see `sac_target_entropy`.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: the log-temperature is no single number, or an array is not
            floating. Values are not checked.

    Source:
        Haarnoja et al. 2018, Soft actor-critic algorithms and applications, equation
        18, arXiv:1812.05905.
    """
    check_floating(log_temperature=log_temperature, log_probs=log_probs)
    check_shape((), log_temperature=log_temperature)
    dtype, (log_temperature, log_probs) = widen(log_temperature, log_probs)
    excess = -jax.lax.stop_gradient(log_probs) - target_entropy
    return (jnp.exp(log_temperature) * excess).astype(dtype)


def sac_target_entropy(action_shape: tuple[int, ...]) -> float:
    """The entropy SAC holds its policy to: -1 nat for each number in an action.

    Args:
        action_shape: of one action in [-1, 1], without batch axes.

    Returns:
        In nats, of the density. It is a constant: there is no gradient.

    Raises:
        ValueError: a length is below 1.

    Source:
        Haarnoja et al. 2018, Soft actor-critic algorithms and applications, appendix
        D, arXiv:1812.05905.

    Example:
        >>> sac_target_entropy((3,))
        -3.0
    """
    for length in action_shape:
        check_at_least(1, action_shape=length)
    return -float(math.prod(action_shape))


def td3_smoothed_actions(
    *,
    actions: jax.Array,
    noise: jax.Array,
    noise_scale: float = 0.2,
    noise_clip: float = 0.5,
    low: float | jax.Array = -1.0,
    high: float | jax.Array = 1.0,
) -> jax.Array:
    """Computes the actions at which the target critics of TD3 are asked.

        a' = clip(mu(x') + clip(scale noise, -c, c), low, high)

    No gradient flows through the result.

    Args:
        actions: [..., D] mu(x') of the target policy, action units.
        noise: [..., D] drawn from a standard normal distribution, without unit.
        noise_scale: standard deviation of the noise, action units, at least 0.
        noise_clip: c, the most that is added, action units, at least 0.
        low: a number or [D], the least action.
        high: a number or [D], the greatest.

    Returns:
        [..., D] action units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or scale or clip is
            below 0. Traced values are not checked.

    Source:
        Fujimoto et al. 2018, Addressing function approximation error in actor-critic
        methods, section 5.3 and algorithm 1, arXiv:1802.09477.
    """
    check_floating(actions=actions, noise=noise)
    check_rank(1, actions=actions)
    check_same_shape(actions=actions, noise=noise)
    check_at_least(0, noise_scale=noise_scale, noise_clip=noise_clip)
    dtype, arrays = widen(actions, noise)
    actions, noise = jax.lax.stop_gradient(arrays)
    smoothed = actions + jnp.clip(noise_scale * noise, -noise_clip, noise_clip)
    return jnp.clip(
        smoothed, _bound("low", low, actions), _bound("high", high, actions)
    ).astype(dtype)


def td3_critic_targets(
    *, rewards: jax.Array, discounts: jax.Array, next_q_values: jax.Array
) -> jax.Array:
    """Computes what the critics of TD3 should move towards.

        y = r + d min_k Q_k(x', a'),  a' from `td3_smoothed_actions`

    No gradient flows through the result.

    Args:
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., K] of the K target critics at a', reward units.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, there is no critic, or an array is not
            floating. Values are not checked.

    Source:
        Fujimoto et al. 2018, Addressing function approximation error in actor-critic
        methods, algorithm 1, arXiv:1802.09477.
    """
    check_floating(rewards=rewards, discounts=discounts, next_q_values=next_q_values)
    check_same_shape(rewards=rewards, discounts=discounts)
    _check_critics(jnp.shape(rewards), next_q_values=next_q_values)
    dtype, arrays = widen(rewards, discounts, next_q_values)
    rewards, discounts, next_q_values = jax.lax.stop_gradient(arrays)
    return (rewards + discounts * jnp.min(next_q_values, axis=-1)).astype(dtype)


def deterministic_policy_gradient_loss(
    *,
    actions: jax.Array,
    action_gradients: jax.Array,
    max_norm: float | None = None,
) -> jax.Array:
    """Computes a loss whose gradient is the deterministic policy gradient, turned.

        loss = -a . [dQ(x, a) / da]

    where no gradient flows into what stands in brackets. Differentiating -Q(x, mu(x))
    with respect to the policy's parameters gives the same gradient; this form allows
    to bound dQ / da first.

    Args:
        actions: [..., D] mu(x) of the learner, action units.
        action_gradients: [..., D] dQ / da at these actions, reward units per action
            unit.
        max_norm: longer gradients are scaled down to this Euclidean length, above 0.
            None leaves them.

    Returns:
        [...] reward units; only its gradient has a meaning, in the common type.

    Raises:
        ValueError: shapes do not agree, an array is not floating, or the norm is not
            above 0. Traced values are not checked.

    Source:
        Silver et al. 2014, Deterministic policy gradient algorithms, equation 7;
        Lillicrap et al. 2016, equation 6, arXiv:1509.02971.
    """
    check_floating(actions=actions, action_gradients=action_gradients)
    check_rank(1, actions=actions)
    check_same_shape(actions=actions, action_gradients=action_gradients)
    dtype, (actions, gradients) = widen(actions, action_gradients)
    gradients = jax.lax.stop_gradient(gradients)
    if max_norm is not None:
        check_above(0, max_norm=max_norm)
        norms = jnp.linalg.norm(gradients, axis=-1, keepdims=True)
        gradients = gradients * (max_norm / jnp.maximum(norms, max_norm))
    return -jnp.sum(actions * gradients, axis=-1).astype(dtype)


def _check_critics(batch_shape: tuple[int, ...], **q_values: jax.Array) -> None:
    for name, array in q_values.items():
        check_rank(1, **{name: array})
        check_shape((*batch_shape, max(1, jnp.shape(array)[-1])), **{name: array})


def _bound(name: str, bound: float | jax.Array, actions: jax.Array) -> jax.Array:
    """A bound of actions, with the rank of the actions."""
    bound = jnp.asarray(bound, actions.dtype)
    if bound.ndim:
        check_shape(actions.shape[-1:], **{name: bound})
    return jnp.broadcast_to(bound, actions.shape[-1:]).reshape(
        (1,) * (actions.ndim - 1) + actions.shape[-1:]
    )
