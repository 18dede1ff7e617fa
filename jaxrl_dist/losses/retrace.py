"""Off-policy returns: one general form, and the methods that are members of it."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_in_range, check_steps
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.recurrence import (
    Method,
    cut_at_ends,
    linear_recurrence,
    shift_back,
)


def off_policy_returns(
    *,
    q_values: jax.Array,
    next_state_values: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    traces: jax.Array,
    ends: jax.Array | None = None,
    method: Method | None = None,
) -> jax.Array:
    """Computes the general off-policy return, of which the others here are members.

        G_t = r_t + d_t (V(x_{t+1}) + c_{t+1} (G_{t+1} - Q(x_{t+1}, a_{t+1})))

    with V(x) = sum_a pi(a | x) Q(x, a). The correction is 0 beyond an end and beyond
    the trajectory. What the traces c are makes the method:

        importance sampling  c = pi / mu       (`traces=exp(log_ratios)`)
        Retrace              c = lambda min(1, pi / mu)
        Tree-backup          c = lambda pi
        Q(lambda)            c = lambda

    Peng's and Watkins's Q(lambda) bootstrap from the greatest action value instead:
    they are `lambda_returns` with `next_values=next_q_values.max(-1)`, Watkins's with
    `ends` set where the next action is not greedy. No gradient flows through the
    result.

    Args:
        q_values: [T, ...] Q(x_t, a_t) of the action taken, from the network that the
            return bootstraps from, reward units. The first row has no influence.
        next_state_values: [T, ...] V(x_{t+1}) of the observation really reached: the
            mean of its action values under the policy pi, reward units.
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        traces: [T, ...] c_t of the action taken at t, at least 0. The first row has no
            influence.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        G, what Q(x_t, a_t) should move towards, [T, ...], reward units, in the common
        type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, or ends are
            not bool. Values are not checked.

    Source:
        Munos et al. 2016, Safe and efficient off-policy reinforcement learning,
        equation 3 and table 1, arXiv:1606.02647.
    """
    check_steps(
        q_values=q_values,
        next_state_values=next_state_values,
        rewards=rewards,
        discounts=discounts,
        traces=traces,
        ends=ends,
    )
    dtype, arrays = widen(q_values, next_state_values, rewards, discounts, traces)
    q_values, next_state_values, rewards, discounts, traces = jax.lax.stop_gradient(
        arrays
    )
    none = jnp.zeros(q_values.shape[1:], q_values.dtype)
    carried = cut_at_ends(discounts * shift_back(traces, last=none), ends)
    next_q_values = shift_back(q_values, last=none)
    returns = linear_recurrence(
        increments=rewards + discounts * next_state_values - carried * next_q_values,
        factors=carried,
        initial=none,
        method=method,
    )
    return returns.astype(dtype)


def retrace(
    *,
    q_values: jax.Array,
    next_state_values: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    log_ratios: jax.Array,
    ends: jax.Array | None = None,
    lambda_: float,
    method: Method | None = None,
) -> jax.Array:
    """Computes Retrace targets, for discrete and continuous actions alike.

    `off_policy_returns` with c = lambda min(1, pi(a | x) / mu(a | x)). No gradient
    flows through the result.

    Args:
        q_values: [T, ...] Q(x_t, a_t) of the action taken, from the network that the
            return bootstraps from, reward units. The first row has no influence.
        next_state_values: [T, ...] V(x_{t+1}) of the observation really reached: for
            discrete actions the mean of Q(x_{t+1}, .) under pi, for continuous ones
            an estimate of it from actions drawn from pi. Reward units.
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        log_ratios: [T, ...] log pi(a_t | x_t) - log mu(a_t | x_t), in nats. The first
            row has no influence.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        lambda_: in [0, 1]; how far corrections are carried back in time.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Targets for Q(x_t, a_t), [T, ...], reward units, in the common type.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or lambda is outside [0, 1]. Traced values are not checked.

    Source:
        Munos et al. 2016, Safe and efficient off-policy reinforcement learning,
        equation 9, arXiv:1606.02647.

    Example:
        >>> from jaxrl_dist import losses
        >>> print(
        ...     losses.retrace(
        ...         q_values=jnp.array([5.0, 1.0]),
        ...         next_state_values=jnp.array([2.0, 4.0]),
        ...         rewards=jnp.array([1.0, 1.0]),
        ...         discounts=jnp.array([0.5, 0.5]),
        ...         log_ratios=jnp.log(jnp.array([1.0, 0.5])),
        ...         lambda_=1.0,
        ...     )
        ... )
        [2.5 3. ]
    """
    check_steps(q_values=q_values, log_ratios=log_ratios)
    check_in_range(0, 1, lambda_=lambda_)
    dtype, (log_ratios,) = widen(log_ratios)
    # Capped before exp, so that no ratio overflows.
    traces = lambda_ * jnp.exp(jnp.minimum(0.0, log_ratios))
    return off_policy_returns(
        q_values=q_values,
        next_state_values=next_state_values,
        rewards=rewards,
        discounts=discounts,
        traces=traces,
        ends=ends,
        method=method,
    ).astype(jnp.result_type(q_values, next_state_values, rewards, discounts, dtype))


def tree_backup(
    *,
    q_values: jax.Array,
    next_state_values: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    log_probs: jax.Array,
    ends: jax.Array | None = None,
    lambda_: float,
    method: Method | None = None,
) -> jax.Array:
    """Computes Tree-backup targets, which need no behaviour probabilities.

    `off_policy_returns` with c = lambda pi(a | x). No gradient flows through the
    result.

    Args:
        q_values: [T, ...] Q(x_t, a_t) of the action taken, from the network that the
            return bootstraps from, reward units. The first row has no influence.
        next_state_values: [T, ...] V(x_{t+1}) of the observation really reached: the
            mean of Q(x_{t+1}, .) under pi, reward units.
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        log_probs: [T, ...] log pi(a_t | x_t), at most 0 nats. The first row has no
            influence.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        lambda_: in [0, 1]; how far corrections are carried back in time.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Targets for Q(x_t, a_t), [T, ...], reward units, in the common type.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or lambda is outside [0, 1]. Traced values are not checked.

    Source:
        Precup et al. 2000, Eligibility traces for off-policy policy evaluation,
        section 4; Munos et al. 2016, table 1, arXiv:1606.02647.
    """
    check_steps(q_values=q_values, log_probs=log_probs)
    # Under mu = 1 the cap of Retrace never binds.
    return retrace(
        q_values=q_values,
        next_state_values=next_state_values,
        rewards=rewards,
        discounts=discounts,
        log_ratios=log_probs,
        ends=ends,
        lambda_=lambda_,
        method=method,
    )


def q_lambda(
    *,
    q_values: jax.Array,
    next_state_values: jax.Array,
    rewards: jax.Array,
    discounts: jax.Array,
    ends: jax.Array | None = None,
    lambda_: float,
    method: Method | None = None,
) -> jax.Array:
    """Computes Q(lambda) targets with off-policy corrections, without any ratios.

    `off_policy_returns` with c = lambda. It converges only where lambda is small for
    how far pi and mu differ. No gradient flows through the result.

    Args:
        q_values: [T, ...] Q(x_t, a_t) of the action taken, from the network that the
            return bootstraps from, reward units. The first row has no influence.
        next_state_values: [T, ...] V(x_{t+1}) of the observation really reached: the
            mean of Q(x_{t+1}, .) under pi, reward units.
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        lambda_: in [0, 1]; how far corrections are carried back in time.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Targets for Q(x_t, a_t), [T, ...], reward units, in the common type.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or lambda is outside [0, 1]. Traced values are not checked.

    Source:
        Harutyunyan et al. 2016, Q(lambda) with off-policy corrections, equation 5,
        arXiv:1602.04951.
    """
    check_in_range(0, 1, lambda_=lambda_)
    return off_policy_returns(
        q_values=q_values,
        next_state_values=next_state_values,
        rewards=rewards,
        discounts=discounts,
        traces=jnp.full_like(q_values, lambda_),
        ends=ends,
        method=method,
    )
