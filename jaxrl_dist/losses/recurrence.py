"""The linear recurrence that returns, GAE, V-trace and Retrace all are."""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_floating, check_shape, check_steps
from jaxrl_dist.losses.precision import widen

Method = Literal["scan", "associative"]

# Terms of an n-step sum that are taken in one pass over memory.
MAX_UNROLL = 16


def linear_recurrence(
    *,
    increments: jax.Array,
    factors: jax.Array,
    initial: jax.Array,
    scale: float | jax.Array = 1.0,
    method: Method | None = None,
) -> jax.Array:
    """Solves x_t = increments_t + scale factors_t x_{t+1}, from the last step back.

    Gradients flow into all three arrays, and into the scale.

    Args:
        increments: [T, ...] any unit.
        factors: [T, ...] without unit.
        initial: [...] x_T, what follows the last step.
        scale: [] one more factor, the same for all steps, without unit. Here rather
            than in `factors`, it saves a pass over memory.
        method: "scan" takes T steps of one multiplication each, and is fastest on a
            CPU; "associative" is parallel in time, about 2 log2 T steps, and is
            fastest on accelerators. None takes the one that suits.

    Returns:
        x, [T, ...], in the common type of the arrays.

    Raises:
        ValueError: shapes do not agree, T is 0, an array is not floating, the scale is
            no single number, or the method is neither of the two.

    Source:
        Blelloch 1990, Prefix sums and their applications, section 1.4, CMU-CS-90-190.
    """
    check_steps(increments=increments, factors=factors)
    check_floating(initial=initial)
    check_shape(jnp.shape(increments)[1:], initial=initial)
    check_shape((), scale=scale)
    if method not in {None, "scan", "associative"}:
        raise ValueError(f"method must be 'scan', 'associative' or None, got {method}")
    dtype, (increments, factors, initial) = widen(increments, factors, initial)
    if (method or default_method()) == "scan":
        return _by_scan(increments, factors, initial, scale).astype(dtype)
    return _by_associative_scan(increments, scale * factors, initial).astype(dtype)


def fold_windows(
    *, increments: jax.Array, factors: jax.Array, beyond: jax.Array, n: int
) -> jax.Array:
    """Solves the recurrence anew for each step, over that step and n - 1 more.

    From x = beyond_{t+n-1}, for k = t+n-1 down to t: x = increments_k + factors_k x.
    Steps beyond the last count as zeros. Gradients flow into all three arrays.

    Args:
        increments: [T, ...] any unit.
        factors: [T, ...] without unit.
        beyond: [T, ...] what follows a window that ends with this step.
        n: steps in a window, at least 1.

    Returns:
        [T, ...] in the unit of the increments.
    """
    num_steps = len(increments)
    n = min(n, num_steps)
    nothing = jnp.zeros_like(increments[: n - 1])
    increments = jnp.concatenate([increments, nothing])
    factors = jnp.concatenate([factors, nothing])

    def one_step_closer(done: int, sums: jax.Array) -> jax.Array:
        start = n - 1 - done
        increment = jax.lax.dynamic_slice_in_dim(increments, start, num_steps)
        factor = jax.lax.dynamic_slice_in_dim(factors, start, num_steps)
        return increment + factor * sums

    sums = jnp.concatenate([beyond[n - 1 :], nothing])
    # Unrolled, so that the few steps that are usual are one pass over memory.
    return jax.lax.fori_loop(0, n, one_step_closer, sums, unroll=min(n, MAX_UNROLL))


def default_method() -> Method:
    """The faster method on the backend in use, see RESULTS.md.

    On a CPU, `scan` is at least as fast at every length measured. On a GPU each step of
    a scan is a kernel of its own: `associative` is 4 times as fast at 16 steps, the
    fewest measured, and 90 times at 1,024.
    """
    return "scan" if jax.default_backend() == "cpu" else "associative"


def cut_at_ends(factors: jax.Array, ends: jax.Array | None) -> jax.Array:
    """Sets factors to 0 where an episode ended, so that nothing flows back across."""
    return factors if ends is None else jnp.where(ends, 0.0, factors)


def shift_back(arrays: jax.Array, *, last: jax.Array) -> jax.Array:
    """What the next step holds, for every step of [T, ...]; `last` for the last."""
    return jnp.concatenate([arrays[1:], last[None]])


def _by_scan(
    increments: jax.Array,
    factors: jax.Array,
    initial: jax.Array,
    scale: float | jax.Array,
) -> jax.Array:
    def backward(
        later: jax.Array, step: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        increment, factor = step
        now = increment + scale * factor * later
        return now, now

    return jax.lax.scan(backward, initial, (increments, factors), reverse=True)[1]


def _by_associative_scan(
    increments: jax.Array, factors: jax.Array, initial: jax.Array
) -> jax.Array:
    def compose(
        later: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        return now[0] + now[1] * later[0], now[1] * later[1]

    sums, products = jax.lax.associative_scan(
        compose, (increments, factors), reverse=True
    )
    return sums + products * initial[None]
