"""One-step errors of action values under policies that are a softmax of them."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_floating,
    check_in_range,
    check_rank,
    check_same_shape,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.selection import action_values
from jaxrl_dist.losses.td import finish_errors


def soft_q_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    temperature: float,
) -> jax.Array:
    """Computes errors of soft Q-learning, whose policy is the softmax of its values.

        delta = r + d tau log sum_b exp(Q(x', b) / tau) - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] soft Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., A] soft Q(x', .) of the target network, reward units.
        temperature: tau, reward units per nat of entropy, above 0.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, the temperature
            is not above 0, or an action is out of range where its value is known.
            Other values are not checked.

    Source:
        Haarnoja et al. 2017, Reinforcement learning with deep energy-based policies,
        theorem 2, arXiv:1702.08165.
    """
    check_floating(next_q_values=next_q_values)
    check_same_shape(q_values=q_values, next_q_values=next_q_values)
    check_rank(1, q_values=q_values)
    check_above(0, temperature=temperature)
    dtype, (next_q_values,) = widen(next_q_values)
    next_log_sums = jax.nn.logsumexp(next_q_values / temperature, axis=-1)
    return finish_errors(
        q_values,
        actions,
        rewards,
        discounts,
        next_values=temperature * next_log_sums,
        next_dtype=dtype,
    )


def munchausen_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    target_q_values: jax.Array,
    next_q_values: jax.Array,
    temperature: float = 0.03,
    alpha: float = 0.9,
    floor: float = -1.0,
) -> jax.Array:
    """Computes errors of Munchausen Q-learning, rewarded for its own certainty.

        pi    = softmax(Q_target / tau)
        delta = r + alpha max(tau log pi(a | x), floor)
                + d sum_b pi(b | x') (Q_target(x', b) - tau log pi(b | x')) - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        target_q_values: [..., A] Q(x, .) of the target network, reward units.
        next_q_values: [..., A] Q(x', .) of the target network, reward units.
        temperature: tau, reward units per nat of entropy, above 0.
        alpha: in [0, 1]; how much of the policy's log-probability is added.
        floor: the least that tau log pi(a | x) counts, reward units, at most 0.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, the temperature
            is not above 0, alpha is outside [0, 1], the floor is above 0, or an action
            is out of range where its value is known. Other values are not checked.

    Source:
        Vieillard et al. 2020, Munchausen reinforcement learning, section 3,
        arXiv:2007.14430; the defaults are its Atari settings.
    """
    check_floating(rewards=rewards, target_q_values=target_q_values)
    check_same_shape(q_values=q_values, target_q_values=target_q_values)
    check_rank(1, q_values=q_values)
    check_in_range(0, 1, alpha=alpha)
    check_in_range(-float("inf"), 0, floor=floor)
    policy_dtype, (target_q_values,) = widen(target_q_values)
    log_policy = jax.nn.log_softmax(target_q_values / temperature)
    bonuses = temperature * action_values(q_values=log_policy, actions=actions)
    check_same_shape(actions=actions, rewards=rewards)
    dtype, (rewards,) = widen(rewards)
    # sum_b pi (Q - tau log pi) is tau log sum_b exp(Q / tau): the soft value.
    errors = soft_q_errors(
        q_values=q_values,
        actions=actions,
        rewards=rewards + alpha * jnp.maximum(bonuses, floor),
        discounts=discounts,
        next_q_values=next_q_values,
        temperature=temperature,
    )
    return errors.astype(
        jnp.result_type(q_values, dtype, discounts, next_q_values, policy_dtype)
    )
