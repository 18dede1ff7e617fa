"""One-step errors of values and action values: target minus prediction.

Whether errors are then squared or put through a Huber loss is the caller's choice, see
`regression.py`. For more than one step, subtract the prediction from `n_step_returns`
or `lambda_returns`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_actions,
    check_floating,
    check_rank,
    check_same_shape,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.selection import action_values, select


def td_errors(
    *,
    values: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_values: jax.Array,
) -> jax.Array:
    """Computes errors of state values.

        delta = r + d V(x') - V(x)

    The gradient flows into `values` only.

    Args:
        values: [...] V(x) of the learner, reward units.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_values: [...] V(x') of the observation really reached, reward units.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, or an array is not floating. Values are not
            checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 6.5.

    Example:
        >>> one, half, two = jnp.array(1.0), jnp.array(0.5), jnp.array(2.0)
        >>> print(td_errors(values=two, rewards=one, discounts=half, next_values=one))
        -0.5
    """
    check_floating(
        values=values, rewards=rewards, discounts=discounts, next_values=next_values
    )
    check_same_shape(
        values=values, rewards=rewards, discounts=discounts, next_values=next_values
    )
    dtype, (values, *target) = widen(values, rewards, discounts, next_values)
    rewards, discounts, next_values = jax.lax.stop_gradient(target)
    return (rewards + discounts * next_values - values).astype(dtype)


def q_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
) -> jax.Array:
    """Computes errors of Q-learning.

        delta = r + d max_b Q(x', b) - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., A] Q(x', .) of the target network, reward units.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, or an action is
            out of range where its value is known. Other values are not checked.

    Source:
        Watkins & Dayan 1992, Q-learning, equation 1; Mnih et al. 2015, equation 1,
        doi:10.1038/nature14236.
    """
    return double_q_errors(
        q_values=q_values,
        actions=actions,
        rewards=rewards,
        discounts=discounts,
        next_q_values=next_q_values,
        next_q_selector=next_q_values,
    )


def double_q_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    next_q_selector: jax.Array,
) -> jax.Array:
    """Computes errors of double Q-learning: one network picks, the other values.

        delta = r + d Q(x', argmax_b Q_selector(x', b)) - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., A] Q(x', .) of the target network, reward units.
        next_q_selector: [..., A] Q(x', .) of the learner, reward units. Of equal
            entries the first is picked.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, or an action is
            out of range where its value is known. Other values are not checked.

    Source:
        van Hasselt et al. 2016, equation 4, arXiv:1509.06461.
    """
    check_floating(next_q_values=next_q_values, next_q_selector=next_q_selector)
    check_same_shape(
        q_values=q_values, next_q_values=next_q_values, next_q_selector=next_q_selector
    )
    check_rank(1, q_values=q_values)
    picked = jnp.argmax(next_q_selector, axis=-1)
    dtype, (next_q_values,) = widen(next_q_values)
    return finish_errors(
        q_values,
        actions,
        rewards,
        discounts,
        next_values=select(next_q_values, picked, axis=-1),
        next_dtype=dtype,
    )


def sarsa_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    next_actions: jax.Array,
) -> jax.Array:
    """Computes errors of SARSA, which values the action really taken next.

        delta = r + d Q(x', a') - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., A] Q(x', .), reward units.
        next_actions: [...] integers in [0, A); what was done next.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, or an action is
            out of range where its value is known. Other values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 6.7.
    """
    check_floating(next_q_values=next_q_values)
    check_same_shape(q_values=q_values, next_q_values=next_q_values)
    check_rank(1, q_values=q_values)
    *batch_shape, num_actions = jnp.shape(q_values)
    check_actions(
        batch_shape=tuple(batch_shape),
        num_actions=num_actions,
        next_actions=next_actions,
    )
    dtype, (next_q_values,) = widen(next_q_values)
    return finish_errors(
        q_values,
        actions,
        rewards,
        discounts,
        next_values=select(next_q_values, jnp.asarray(next_actions), axis=-1),
        next_dtype=dtype,
    )


def expected_sarsa_errors(
    *,
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    next_probabilities: jax.Array,
) -> jax.Array:
    """Computes errors of expected SARSA, which values the policy's next choice.

        delta = r + d sum_b pi(b | x') Q(x', b) - Q(x, a)

    The gradient flows into `q_values` only.

    Args:
        q_values: [..., A] Q(x, .) of the learner, reward units.
        actions: [...] integers in [0, A); what was done.
        rewards: [...] environment reward units.
        discounts: [...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [..., A] Q(x', .), reward units.
        next_probabilities: [..., A] pi(. | x'), at least 0, adding up to 1.

    Returns:
        [...] reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, an array is of the wrong type, or an action is
            out of range where its value is known. Other values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 6.9.
    """
    check_floating(next_q_values=next_q_values, next_probabilities=next_probabilities)
    check_same_shape(
        q_values=q_values,
        next_q_values=next_q_values,
        next_probabilities=next_probabilities,
    )
    check_rank(1, q_values=q_values)
    dtype, (next_q_values, next_probabilities) = widen(
        next_q_values, next_probabilities
    )
    return finish_errors(
        q_values,
        actions,
        rewards,
        discounts,
        next_values=jnp.sum(next_probabilities * next_q_values, axis=-1),
        next_dtype=dtype,
    )


def finish_errors(
    q_values: jax.Array,
    actions: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    *,
    next_values: jax.Array,
    next_dtype: Any,
) -> jax.Array:
    """The error of the chosen action, given what its next state is worth.

    The next values come in the type that sums are taken in; `next_dtype` is the type of
    the array they were computed from, which decides about the type of the answer.
    """
    predictions = action_values(q_values=q_values, actions=actions)
    check_floating(rewards=rewards, discounts=discounts)
    check_same_shape(actions=actions, rewards=rewards, discounts=discounts)
    errors = td_errors(
        values=predictions,
        rewards=rewards,
        discounts=discounts,
        next_values=next_values,
    )
    return errors.astype(jnp.result_type(predictions, rewards, discounts, next_dtype))
