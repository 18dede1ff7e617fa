"""Running statistics of observations and returns, kept in the training state.

A rollout updates them once, over all devices together; agents see observations and
rewards through them. Environments themselves stay as they are, so an evaluation uses
the same statistics and counts the true rewards.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.types import ArraySpec, ArrayTree, EnvironmentSpec, Trajectory

CLIP = 10.0  # normalised values lie in [-CLIP, CLIP]
EPSILON = 1e-8  # added to variances, in squared units of what is normalised


class RunningMoments(NamedTuple):
    """Mean and variance of all that was seen, element by element.

    The variance is kept rather than the sum of squares, which would outgrow float32.
    """

    num_seen: jax.Array  # [] float32; inexact beyond 2^24, which is harmless
    mean: jax.Array  # [...] float32
    variance: jax.Array  # [...] float32, around the mean; 1 before anything was seen


class NormaliserState(NamedTuple):
    """What normalisation remembers; part of the training state."""

    observations: ArrayTree  # of RunningMoments, in place of the spec's ArraySpecs
    returns: RunningMoments  # of the discounted return so far, [], reward units
    return_so_far: jax.Array  # [B] discounted, of the running episodes


def init(spec: EnvironmentSpec, batch_size: int) -> NormaliserState:
    """Statistics before anything was seen: they change nothing but types.

    Args:
        spec: of the environment.
        batch_size: B, environments on this device.

    Returns:
        The state; all but `return_so_far` is the same on every device.
    """
    observations = jax.tree.map(
        lambda array: _no_moments(array.shape),
        spec.observation,
        is_leaf=lambda array: isinstance(array, ArraySpec),
    )
    return_so_far = jnp.zeros(batch_size, jnp.float32)
    return NormaliserState(observations, _no_moments(()), return_so_far)


def normalise_observations(state: NormaliserState, observation: ArrayTree) -> ArrayTree:
    """Brings observations to mean 0 and variance 1, clipped to [-10, 10].

    Args:
        state: the statistics.
        observation: [..., *shape] of any type, with any axes in front.

    Returns:
        [..., *shape] float32. Gradients flow through, not into the statistics.
    """

    def normalise(moments: RunningMoments, x: jax.Array) -> jax.Array:
        moments = jax.lax.stop_gradient(moments)
        mean, variance = (_lead(m, x.ndim) for m in moments[1:])
        scaled = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(variance + EPSILON)
        return jnp.clip(scaled, -CLIP, CLIP)

    return jax.tree.map(normalise, state.observations, observation, is_leaf=_is_moments)


def scale_rewards(state: NormaliserState, reward: jax.Array) -> jax.Array:
    """Divides rewards by the deviation of discounted returns, clipped to [-10, 10].

    Args:
        state: the statistics.
        reward: [...] environment reward units.

    Returns:
        [...] float32, without unit. Their sign is kept: nothing is subtracted.

    Source:
        Engstrom et al. 2020, section 3, arXiv:2005.12729.
    """
    variance = jax.lax.stop_gradient(state.returns.variance)
    return jnp.clip(reward * jax.lax.rsqrt(variance + EPSILON), -CLIP, CLIP)


def update(
    state: NormaliserState,
    rows: Trajectory,
    *,
    gamma: float,
    axis_name: str | None = None,
) -> NormaliserState:
    """Takes one rollout into the statistics.

    Args:
        state: so far.
        rows: [T + 1, B, ...] as the environments answered. The final row begins the
            next rollout and is counted there.
        gamma: discount per environment step of the returns, in [0, 1].
        axis_name: device axis over which statistics are joined; None for one device.

    Returns:
        The statistics with T x B observations more on every device; of returns, one
        for each real transition, so none for an episode's last row.
    """
    rows = jax.tree.map(lambda x: x[:-1], rows)
    return_so_far, returns = discounted_returns(state.return_so_far, rows, gamma)
    every, real = jnp.ones(rows.is_last.shape), 1.0 - rows.is_last

    moments, structure = jax.tree.flatten(state.observations, is_leaf=_is_moments)
    counted = [(x, every) for x in jax.tree.leaves(rows.observation)]
    *moments, return_moments = _merge(
        [*moments, state.returns], [*counted, (returns, real)], axis_name
    )
    observations = jax.tree.unflatten(structure, moments)
    return NormaliserState(observations, return_moments, return_so_far)


def discounted_returns(
    return_so_far: jax.Array, rows: Trajectory, gamma: float
) -> tuple[jax.Array, jax.Array]:
    """Follows the discounted returns of episodes through rows.

    Args:
        return_so_far: [B] before the first row.
        rows: [T, B, ...] as the environments answered.
        gamma: discount per environment step, in [0, 1].

    Returns:
        The return of each episode up to and with the last row, [B], and each, [T, B].
    """

    def forward(before: jax.Array, row: tuple) -> tuple[jax.Array, jax.Array]:
        reward, carried = row
        now = reward + carried * before
        return now, now

    carried = gamma * (1.0 - rows.is_first)
    return jax.lax.scan(forward, return_so_far, (rows.reward, carried))


def _merge(
    moments: list[RunningMoments],
    counted: list[tuple[jax.Array, jax.Array]],
    axis_name: str | None,
) -> list[RunningMoments]:
    """Joins moments with those of arrays [T, B, ...], each with its weights [T, B].

    Two passes, the second around the mean of the arrays themselves, so that a small
    variance around a large mean survives float32. All arrays share the two sums over
    devices.
    """

    def sums(values: ArrayTree) -> ArrayTree:
        values = jax.tree.map(lambda x: x.sum((0, 1)), values)
        return values if axis_name is None else jax.lax.psum(values, axis_name)

    pairs = [
        (x.astype(jnp.float32), w.reshape(*w.shape, *(1,) * (x.ndim - 2)))
        for x, w in counted
    ]
    counts, totals = sums(([w for _, w in counted], [w * x for x, w in pairs]))
    means = [
        total / jnp.maximum(count, 1.0)
        for count, total in zip(counts, totals, strict=True)
    ]
    squares = sums(
        [
            w * (x - _lead(mean, x.ndim)) ** 2
            for (x, w), mean in zip(pairs, means, strict=True)
        ]
    )
    return list(map(_joined, moments, counts, means, squares))


def _joined(
    old: RunningMoments, count: jax.Array, mean: jax.Array, squares: jax.Array
) -> RunningMoments:
    """Moments of two sets together, from those of each.

    Source:
        Chan, Golub and LeVeque 1983, equation 2.1, doi:10.1080/00031305.1983.10483115.
    """
    variance = squares / jnp.maximum(count, 1.0)
    share = count / jnp.maximum(old.num_seen + count, 1.0)
    delta = mean - old.mean
    spread = share * (1.0 - share) * delta**2
    return RunningMoments(
        num_seen=old.num_seen + count,
        mean=old.mean + share * delta,
        variance=old.variance + share * (variance - old.variance) + spread,
    )


def _no_moments(shape: tuple[int, ...]) -> RunningMoments:
    zeros, ones = jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32)
    return RunningMoments(jnp.zeros((), jnp.float32), zeros, ones)


def _is_moments(value: object) -> bool:
    return isinstance(value, RunningMoments)


def _lead(x: jax.Array, ndim: int) -> jax.Array:
    """Puts axes of size 1 in front, up to ndim of them all."""
    return x.reshape(*(1,) * (ndim - x.ndim), *x.shape)
