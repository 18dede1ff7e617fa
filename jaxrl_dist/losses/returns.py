"""Returns and advantages of trajectories that the policy itself produced."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_at_least,
    check_floating,
    check_in_range,
    check_shape,
    check_steps,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.recurrence import (
    Method,
    cut_at_ends,
    default_method,
    fold_windows,
    linear_recurrence,
)


class GAE(NamedTuple):
    """Estimates for each step; no gradient flows into either."""

    advantages: jax.Array  # [T, ...] what scales grad log pi(a_t | x_t), reward units
    targets: jax.Array  # [T, ...] what V(x_t) should move towards, reward units


def discounted_returns(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    bootstrap_value: jax.Array,
    method: Method | None = None,
) -> jax.Array:
    """Computes the discounted sum of all rewards to come.

        G_t = r_t + d_t G_{t+1},  G_T = V(x_T)

    An episode that was truncated inside the trajectory has no value of its own here:
    use `lambda_returns` with `lambda_=1` there. Gradients flow into all arrays.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        bootstrap_value: [...] V(x_T) after the last step, reward units.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        G, [T, ...], reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, or an array is not floating. Values
            are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 3.9.
    """
    check_steps(rewards=rewards, discounts=discounts)
    check_floating(bootstrap_value=bootstrap_value)
    check_shape(jnp.shape(rewards)[1:], bootstrap_value=bootstrap_value)
    return linear_recurrence(
        increments=jnp.asarray(rewards),
        factors=jnp.asarray(discounts),
        initial=jnp.asarray(bootstrap_value),
        method=method,
    )


def lambda_returns(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    next_values: jax.Array,
    ends: jax.Array | None = None,
    lambda_: float,
    method: Method | None = None,
) -> jax.Array:
    """Computes lambda-returns, which mix returns of every length.

        G_t = r_t + d_t ((1 - lambda) V(x_{t+1}) + lambda G_{t+1})

    At an end and at the last step, lambda counts as 0: the return bootstraps from the
    value of the observation really reached. Gradients flow into all arrays; pass
    the result through `jax.lax.stop_gradient` to use it as a fixed target.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached, reward
            units.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        lambda_: in [0, 1]; 0 looks one step ahead, 1 as far as the trajectory goes.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        G, [T, ...], reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or lambda is outside [0, 1]. Traced values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 12.18.
    """
    check_steps(
        rewards=rewards, discounts=discounts, next_values=next_values, ends=ends
    )
    check_in_range(0, 1, lambda_=lambda_)
    dtype, (rewards, discounts, next_values) = widen(rewards, discounts, next_values)
    if (method or default_method()) == "scan":
        steps = (rewards, discounts, next_values, ends)
        return _lambda_returns_by_scan(*steps, lambda_).astype(dtype)
    carried = cut_at_ends(discounts, ends)
    returns = linear_recurrence(
        increments=rewards + (discounts - lambda_ * carried) * next_values,
        factors=carried,
        scale=lambda_,
        initial=next_values[-1],
        method=method,
    )
    return returns.astype(dtype)


def n_step_returns(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    next_values: jax.Array,
    ends: jax.Array | None = None,
    n: int,
) -> jax.Array:
    """Computes returns that look n steps ahead.

        G_t = r_t + d_t r_{t+1} + ... + d_t ... d_{t+n-1} V(x_{t+n})

    Where fewer than n steps are left before an end or in the trajectory, the steps
    that are there count, and the value reached by the last of them. Gradients flow
    into all arrays.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached, reward
            units.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        n: steps to look ahead, at least 1.

    Returns:
        G, [T, ...], reward units, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or n is below 1. Values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 7.1.
    """
    check_steps(
        rewards=rewards, discounts=discounts, next_values=next_values, ends=ends
    )
    check_at_least(1, n=n)
    dtype, (rewards, discounts, next_values) = widen(rewards, discounts, next_values)
    is_final = jnp.zeros_like(rewards, dtype=bool).at[-1].set(True)
    is_final = is_final if ends is None else is_final | ends
    reached = discounts * next_values
    returns = fold_windows(
        increments=rewards + jnp.where(is_final, reached, 0.0),
        factors=cut_at_ends(discounts, is_final),
        beyond=next_values,
        n=n,
    )
    return returns.astype(dtype)


def gae(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    ends: jax.Array | None = None,
    lambda_: float,
    method: Method | None = None,
) -> GAE:
    """Computes generalized advantage estimates, and the value targets they imply.

        delta_t = r_t + d_t V(x_{t+1}) - V(x_t)
        A_t     = delta_t + d_t lambda A_{t+1},  A = 0 beyond an end or the trajectory

    The targets are V(x_t) + A_t, the lambda-returns. No gradient flows through either.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        values: [T, ...] V(x_t), reward units.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached, reward
            units.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        lambda_: in [0, 1]; 0 is the TD error, 1 the whole return less the value.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Advantages and targets, [T, ...] each, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or lambda is outside [0, 1]. Traced values are not checked.

    Source:
        Schulman et al. 2016, High-dimensional continuous control using generalized
        advantage estimation, equation 16, arXiv:1506.02438.

    Example:
        >>> from jaxrl_dist import losses
        >>> values = jnp.array([1.0, 2.0, 3.0, 0.0])
        >>> estimates = losses.gae(
        ...     rewards=jnp.array([0.0, 1.0, 0.0]),
        ...     discounts=jnp.array([0.5, 0.0, 0.5]),
        ...     ends=jnp.array([False, True, False]),
        ...     values=values[:-1],
        ...     next_values=values[1:],
        ...     lambda_=1.0,
        ... )
        >>> print(estimates.advantages, estimates.targets)
        [-0.5 -1.  -3. ] [0.5 1.  0. ]
    """
    check_steps(
        rewards=rewards,
        discounts=discounts,
        values=values,
        next_values=next_values,
        ends=ends,
    )
    check_in_range(0, 1, lambda_=lambda_)
    dtype, arrays = widen(rewards, discounts, values, next_values)
    rewards, discounts, values, next_values = jax.lax.stop_gradient(arrays)
    advantages = linear_recurrence(
        increments=rewards + discounts * next_values - values,
        factors=cut_at_ends(discounts, ends),
        scale=lambda_,
        initial=jnp.zeros(values.shape[1:], values.dtype),
        method=method,
    )
    targets = values + advantages
    return GAE(advantages.astype(dtype), targets.astype(dtype))


def _lambda_returns_by_scan(
    rewards: jax.Array,
    discounts: jax.Array,
    next_values: jax.Array,
    ends: jax.Array | None,
    lambda_: float,
) -> jax.Array:
    """The recurrence of lambda-returns, without a pass to prepare its increments."""

    def backward(later: jax.Array, step: tuple) -> tuple[jax.Array, jax.Array]:
        reward, discount, value, end = step
        mixed = (1.0 - lambda_) * value + lambda_ * later
        mixed = mixed if end is None else jnp.where(end, value, mixed)
        now = reward + discount * mixed
        return now, now

    steps = (rewards, discounts, next_values, ends)
    return jax.lax.scan(backward, next_values[-1], steps, reverse=True)[1]
