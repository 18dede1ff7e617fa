"""V-trace: value targets and advantages from trajectories of an older policy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_at_least, check_in_range, check_steps, is_known
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.recurrence import (
    Method,
    cut_at_ends,
    linear_recurrence,
    shift_back,
)


class VTrace(NamedTuple):
    """Estimates for each step; no gradient flows into either."""

    targets: jax.Array  # [T, ...] what V(x_t) should move towards, reward units
    advantages: jax.Array  # [T, ...] what scales grad log pi(a_t | x_t), reward units


def vtrace(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    log_ratios: jax.Array,
    ends: jax.Array | None = None,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
    lambda_: float = 1.0,
    method: Method | None = None,
) -> VTrace:
    """Computes V-trace targets and policy-gradient advantages.

    With importance ratios rho_t, c_t and rho'_t, each capped on its own:

        delta_t = rho_t (r_t + d_t V(x_{t+1}) - V(x_t))
        v_t     = V(x_t) + delta_t + d_t lambda c_t (v_{t+1} - V(x_{t+1}))
        A_t     = rho'_t (r_t + d_t q_{t+1} - V(x_t))
        q_{t+1} = V(x_{t+1}) + lambda (v_{t+1} - V(x_{t+1}))

    v_{t+1} - V(x_{t+1}) is 0 beyond an end and beyond the trajectory. No gradient flows
    through either result.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        values: [T, ...] V(x_t) of the learner, reward units.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached.
        log_ratios: [T, ...] log pi(a_t | x_t) - log mu(a_t | x_t), in nats.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated,
            so no correction flows back across it. None where none did.
        clip_rho: cap on the ratio that weighs a TD error (rho-bar), at least 0.
        clip_c: cap on the ratio that carries corrections back in time (c-bar), at
            least 0.
        clip_pg_rho: cap on the ratio that weighs an advantage, at least 0.
        lambda_: in [0, 1]; how far corrections are carried back in time.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Targets and advantages, [T, ...] each, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, a cap is below 0, or lambda is outside [0, 1]. Traced values are not
            checked.

    Source:
        Espeholt et al. 2018, IMPALA, equation 1, remark 2 and section 4.2,
        arXiv:1802.01561. Lambda in q is not in the paper: it mixes as in a
        lambda-return, so that lambda 0 leaves a one-step advantage.

    Example:
        >>> from jaxrl_dist import losses
        >>> estimates = losses.vtrace(
        ...     rewards=jnp.array([1.0, 1.0]),
        ...     discounts=jnp.array([0.5, 0.5]),
        ...     values=jnp.array([0.0, 2.0]),
        ...     next_values=jnp.array([2.0, 4.0]),
        ...     log_ratios=jnp.log(jnp.array([2.0, 0.5])),
        ... )
        >>> print(estimates.targets, estimates.advantages)
        [2.25 2.5 ] [2.25 0.5 ]
    """
    return leaky_vtrace(
        rewards=rewards,
        discounts=discounts,
        values=values,
        next_values=next_values,
        log_ratios=log_ratios,
        ends=ends,
        clip_rho=clip_rho,
        clip_c=clip_c,
        clip_pg_rho=clip_pg_rho,
        lambda_=lambda_,
        method=method,
    )


def leaky_vtrace(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    log_ratios: jax.Array,
    ends: jax.Array | None = None,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
    alpha_rho: float = 1.0,
    alpha_c: float = 1.0,
    lambda_: float = 1.0,
    method: Method | None = None,
) -> VTrace:
    """Computes V-trace where a part of each ratio leaks past its cap.

    As `vtrace`, with the capped ratios mixed with the plain ones:

        rho_t = alpha_rho min(clip_rho, pi / mu) + (1 - alpha_rho) pi / mu
        c_t   = alpha_c min(clip_c, pi / mu) + (1 - alpha_c) pi / mu

    The ratio of the advantage does not leak. No gradient flows through either result.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        values: [T, ...] V(x_t) of the learner, reward units.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached.
        log_ratios: [T, ...] log pi(a_t | x_t) - log mu(a_t | x_t), in nats.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        clip_rho: cap on the ratio that weighs a TD error, at least 0.
        clip_c: cap on the ratio that carries corrections back in time, at least 0.
        clip_pg_rho: cap on the ratio that weighs an advantage, at least 0.
        alpha_rho: in [0, 1]; 1 is V-trace, 0 plain importance sampling of TD errors.
        alpha_c: in [0, 1]; the same for what carries corrections back.
        lambda_: in [0, 1]; how far corrections are carried back in time.
        method: how the recurrence is solved, see `linear_recurrence`.

    Returns:
        Targets and advantages, [T, ...] each, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, a cap is below 0, or lambda or an alpha is outside [0, 1]. Traced
            values are not checked.

    Source:
        Zahavy et al. 2020, A self-tuning actor-critic algorithm, section 4,
        arXiv:2002.12928.
    """
    check_steps(
        rewards=rewards,
        discounts=discounts,
        values=values,
        next_values=next_values,
        log_ratios=log_ratios,
        ends=ends,
    )
    check_at_least(0, clip_rho=clip_rho, clip_c=clip_c, clip_pg_rho=clip_pg_rho)
    check_in_range(0, 1, alpha_rho=alpha_rho, alpha_c=alpha_c, lambda_=lambda_)
    dtype, arrays = widen(rewards, discounts, values, next_values, log_ratios)
    rewards, discounts, values, next_values, log_ratios = jax.lax.stop_gradient(arrays)
    ratios = jnp.exp(log_ratios)
    errors = rewards + discounts * next_values - values
    carried = cut_at_ends(discounts, ends)
    none = jnp.zeros(values.shape[1:], values.dtype)
    corrections = linear_recurrence(
        increments=_leak(ratios, cap=clip_rho, alpha=alpha_rho) * errors,
        factors=carried * _leak(ratios, cap=clip_c, alpha=alpha_c),
        scale=lambda_,
        initial=none,
        method=method,
    )
    if _are_equal(clip_rho, clip_c, clip_pg_rho) and _are_equal(alpha_rho, alpha_c, 1):
        # One weight for everything: the formulas of both results coincide.
        advantages = corrections
    else:
        later = shift_back(corrections, last=none)
        weights = jnp.minimum(clip_pg_rho, ratios)
        advantages = weights * (errors + lambda_ * carried * later)
    targets = values + corrections
    return VTrace(targets.astype(dtype), advantages.astype(dtype))


def _leak(ratios: jax.Array, *, cap: float, alpha: float) -> jax.Array:
    """Ratios below the cap, and of what lies above it the share 1 - alpha."""
    capped = jnp.minimum(cap, ratios)
    if _are_equal(alpha, 1):
        return capped
    mixed = alpha * capped + (1.0 - alpha) * ratios
    # Where alpha is 1, a ratio beyond all numbers leaks nothing: not 0 * inf.
    return jnp.where(alpha == 1.0, capped, mixed)


def _are_equal(*settings: float) -> bool:
    """Whether settings are known, and the same."""
    return all(is_known(each) and each == settings[0] for each in settings)
