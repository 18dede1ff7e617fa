"""n-step returns corrected by importance ratios that are not capped."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_at_least, check_steps
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.recurrence import cut_at_ends, fold_windows


def importance_corrected_n_step_returns(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    log_ratios: jax.Array,
    ends: jax.Array | None = None,
    n: int,
) -> jax.Array:
    """Computes n-step returns of a policy from the data of another, unbiased.

    With rho_t = pi(a_t | x_t) / mu(a_t | x_t), per decision, with V as control variate:

        G_{t:h} = rho_t (r_t + d_t G_{t+1:h}) + (1 - rho_t) V(x_t),  G_{h:h} = V(x_h)

    where h is n steps ahead, or sooner at an end and at the end of the trajectory.
    Ratios are not capped: `vtrace` is what caps them. No gradient flows through the
    result.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        values: [T, ...] V(x_t), reward units.
        next_values: [T, ...] V(x_{t+1}) of the observation really reached, reward
            units.
        log_ratios: [T, ...] log pi(a_t | x_t) - log mu(a_t | x_t), in nats.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        n: steps to look ahead, at least 1.

    Returns:
        G, what V(x_t) should move towards, [T, ...], reward units, in the common type.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, or n is below 1. Values are not checked.

    Source:
        Sutton & Barto 2018, Reinforcement Learning, equation 7.13.
    """
    check_steps(
        rewards=rewards,
        discounts=discounts,
        values=values,
        next_values=next_values,
        log_ratios=log_ratios,
        ends=ends,
    )
    check_at_least(1, n=n)
    dtype, arrays = widen(rewards, discounts, values, next_values, log_ratios)
    rewards, discounts, values, next_values, log_ratios = jax.lax.stop_gradient(arrays)
    ratios = jnp.exp(log_ratios)
    errors = ratios * (rewards + discounts * next_values - values)
    factors = cut_at_ends(discounts * ratios, ends)
    corrections = fold_windows(
        increments=errors, factors=factors, beyond=jnp.zeros_like(errors), n=n
    )
    return (values + corrections).astype(dtype)
