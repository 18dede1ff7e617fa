"""Returns and lengths of the episodes that end within a rollout."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.types import Trajectory


class RunningEpisodes(NamedTuple):
    """What the running episodes have come to; part of the training state.

    Returns are summed with compensation (Kahan), so that float32 is exact enough for
    episodes of millions of steps.
    """

    return_so_far: jax.Array  # [B] float32, undiscounted, environment reward units
    excess: jax.Array  # [B] float32, by which rounding made return_so_far too large
    length_so_far: jax.Array  # [B] int32, environment steps


class EpisodeSums(NamedTuple):
    """Sums over the episodes that ended in some rollouts, and the steps of these."""

    num_steps: jax.Array  # [] int32, real transitions: rows that are not last ones
    num_episodes: jax.Array  # [] int32, ended
    return_sum: jax.Array  # [] float32, of ended episodes, environment reward units
    return_min: jax.Array  # [] float32; infinite if none ended
    return_max: jax.Array  # [] float32; minus infinite if none ended
    length_sum: jax.Array  # [] int32, of ended episodes, environment steps


def init(batch_size: int) -> RunningEpisodes:
    """Episodes that have just begun.

    Args:
        batch_size: B, environments.
    """
    zero = jnp.zeros(batch_size, jnp.float32)
    return RunningEpisodes(zero, zero, jnp.zeros(batch_size, jnp.int32))


def no_episodes() -> EpisodeSums:
    """The sums of nothing: joined with others, they change nothing."""
    zero, none = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    return EpisodeSums(zero, zero, none, none + jnp.inf, none - jnp.inf, zero)


def update(
    running: RunningEpisodes, rows: Trajectory
) -> tuple[RunningEpisodes, EpisodeSums]:
    """Follows the episodes through one rollout.

    Args:
        running: the episodes as the rollout before left them.
        rows: [T + 1, B, ...] as the environments answered. The final row begins the
            next rollout and is counted there, also as the end of its episode.

    Returns:
        The episodes as this rollout leaves them, and what ended within it.
    """
    rows = rows._replace(observation=(), extras=(), memory=())
    rows = jax.tree.map(lambda x: x[:-1], rows)
    ends = rows.is_last
    running, (returns, lengths) = jax.lax.scan(_follow, running, rows)
    return running, EpisodeSums(
        num_steps=jnp.sum(~ends, dtype=jnp.int32),
        num_episodes=jnp.sum(ends, dtype=jnp.int32),
        return_sum=jnp.sum(returns, where=ends),
        return_min=jnp.min(returns, where=ends, initial=jnp.inf),
        return_max=jnp.max(returns, where=ends, initial=-jnp.inf),
        length_sum=jnp.sum(lengths, where=ends, dtype=jnp.int32),
    )


def _follow(
    before: RunningEpisodes, row: Trajectory
) -> tuple[RunningEpisodes, tuple[jax.Array, jax.Array]]:
    """One row [B] of every environment; answers returns and lengths up to it."""
    total, excess, length = (jnp.where(row.is_first, 0, x) for x in before)
    reward = jnp.where(row.is_last, 0.0, row.reward) - excess
    return_so_far = total + reward
    excess = (return_so_far - total) - reward
    length = length + ~row.is_last
    return RunningEpisodes(return_so_far, excess, length), (return_so_far, length)


def join(sums: EpisodeSums, axis: int | tuple[int, ...] | None = None) -> EpisodeSums:
    """Joins the sums of several rollouts, devices or seeds.

    Args:
        sums: with axes in front, for example [updates] or [devices, updates].
        axis: which of them to join over; None for all.

    Returns:
        Sums without those axes. Counts must stay below 2^31, so join what one report
        covers and go on in Python's numbers.
    """
    return EpisodeSums(
        num_steps=sums.num_steps.sum(axis),
        num_episodes=sums.num_episodes.sum(axis),
        return_sum=sums.return_sum.sum(axis),
        return_min=sums.return_min.min(axis),
        return_max=sums.return_max.max(axis),
        length_sum=sums.length_sum.sum(axis),
    )
