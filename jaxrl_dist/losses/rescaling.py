"""Values on a compressed scale, for returns that differ by orders of magnitude."""

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_at_least,
    check_floating,
    check_rank,
    check_same_shape,
    check_steps,
)
from jaxrl_dist.losses.precision import widen
from jaxrl_dist.losses.returns import n_step_returns
from jaxrl_dist.losses.selection import select


def signed_hyperbolic(values: jax.Array, *, epsilon: float = 1e-3) -> jax.Array:
    """Computes h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x, without cancellation.

    Gradients flow into the values, and into epsilon if it is traced.

    Args:
        values: [...] reward units.
        epsilon: slope that is left for large values, at least 0.

    Returns:
        [...] on the compressed scale, in the type of the values.

    Raises:
        ValueError: the values are not floating, or epsilon is below 0. Traced values
            are not checked.

    Source:
        Pohlen et al. 2018, Observe and look further, proposition A.1,
        arXiv:1805.11593.

    Example:
        >>> from jaxrl_dist import losses
        >>> print(losses.signed_hyperbolic(jnp.array([0.0, 3.0, -3.0])))
        [ 0.     1.003 -1.003]
    """
    check_floating(values=values)
    check_at_least(0, epsilon=epsilon)
    dtype, (values,) = widen(values)
    return _hyperbolic(values, jnp.asarray(epsilon, values.dtype)).astype(dtype)


def signed_parabolic(values: jax.Array, *, epsilon: float = 1e-3) -> jax.Array:
    """Computes the inverse of `signed_hyperbolic`, without cancellation.

        w = |x| / (1/2 + epsilon + sqrt((1/2 + epsilon)^2 + epsilon |x|))
        h^-1(x) = sign(x) w (w + 2)

    with w = sqrt(|h^-1(x)| + 1) - 1. It equals the published form, which in float32
    loses half of its digits to 1 + a small number. Gradients flow into the values, and
    into epsilon if it is traced.

    Args:
        values: [...] on the compressed scale.
        epsilon: as in `signed_hyperbolic`, at least 0.

    Returns:
        [...] reward units, in the type of the values.

    Raises:
        ValueError: the values are not floating, or epsilon is below 0. Traced values
            are not checked.

    Source:
        Pohlen et al. 2018, Observe and look further, proposition A.2,
        arXiv:1805.11593.
    """
    check_floating(values=values)
    check_at_least(0, epsilon=epsilon)
    dtype, (values,) = widen(values)
    return _parabolic(values, jnp.asarray(epsilon, values.dtype)).astype(dtype)


def rescaled_n_step_targets(
    *,
    rewards: jax.Array,
    discounts: jax.Array,
    next_q_values: jax.Array,
    next_q_selector: jax.Array,
    ends: jax.Array | None = None,
    n: int,
    epsilon: float = 1e-3,
) -> jax.Array:
    """Computes R2D2's targets: n-step double Q-learning on the compressed scale.

        y_t = h(r_t + ... + d_t ... d_{t+n-1} h^-1(Q(x_{t+n}, b*)))
        b*  = argmax_b Q_selector(x_{t+n}, b)

    Fewer steps count before an end and the end of the trajectory, as in
    `n_step_returns`. No gradient flows through the result.

    Args:
        rewards: [T, ...] received for a_t, environment reward units.
        discounts: [T, ...] in [0, 1]; gamma, or 0 where the episode terminated.
        next_q_values: [T, ..., A] Q(x_{t+1}, .) of the target network at the
            observation really reached, on the compressed scale.
        next_q_selector: [T, ..., A] the same of the learner. Of equal entries the
            first is picked.
        ends: [T, ...] bool; the episode ended with this step, terminated or truncated.
            None where none did.
        n: steps to look ahead, at least 1.
        epsilon: as in `signed_hyperbolic`, at least 0.

    Returns:
        [T, ...] on the compressed scale, in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, ends are not
            bool, n is below 1, or epsilon is below 0. Values are not checked.

    Source:
        Kapturowski et al. 2019, Recurrent experience replay in distributed
        reinforcement learning, section 2.3.
    """
    check_steps(next_q_values=next_q_values)
    check_floating(next_q_selector=next_q_selector)
    check_same_shape(next_q_values=next_q_values, next_q_selector=next_q_selector)
    check_rank(2, next_q_values=next_q_values)
    check_floating(rewards=rewards, discounts=discounts)
    dtype, arrays = widen(rewards, discounts, next_q_values)
    rewards, discounts, next_q_values = jax.lax.stop_gradient(arrays)
    picked = jnp.argmax(next_q_selector, axis=-1)
    next_values = select(next_q_values, picked, axis=-1)
    returns = n_step_returns(
        rewards=rewards,
        discounts=discounts,
        next_values=signed_parabolic(next_values, epsilon=epsilon),
        ends=ends,
        n=n,
    )
    return signed_hyperbolic(returns, epsilon=epsilon).astype(dtype)


@jax.custom_jvp
def _hyperbolic(values: jax.Array, epsilon: jax.Array) -> jax.Array:
    # sqrt(|x| + 1) - 1 is |x| / (sqrt(|x| + 1) + 1): near 0 nothing is subtracted.
    return values * (1.0 / (jnp.sqrt(jnp.abs(values) + 1.0) + 1.0) + epsilon)


@_hyperbolic.defjvp
def _hyperbolic_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    values, epsilon = primals
    slopes = 0.5 / jnp.sqrt(jnp.abs(values) + 1.0) + epsilon
    return _hyperbolic(values, epsilon), slopes * tangents[0] + values * tangents[1]


@jax.custom_jvp
def _parabolic(values: jax.Array, epsilon: jax.Array) -> jax.Array:
    sizes, half = jnp.abs(values), 0.5 + epsilon
    scale = 1.0 / (half + jnp.sqrt(half**2 + epsilon * sizes))
    return values * scale * (sizes * scale + 2.0)


@_parabolic.defjvp
def _parabolic_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    values, epsilon = primals
    sizes, half = jnp.abs(values), 0.5 + epsilon
    root = jnp.sqrt(half**2 + epsilon * sizes)
    slopes = (sizes / (half + root) + 1.0) / root
    results = _parabolic(values, epsilon)
    # x = h(y) stays as it is: dx = h'(y) dy + y d epsilon, and the slope is 1 / h'(y).
    return results, slopes * (tangents[0] - results * tangents[1])
