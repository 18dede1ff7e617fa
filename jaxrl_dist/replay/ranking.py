"""Which sequences matter how much: the prioritized half of a replay."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.replay import packing, priorities, store
from jaxrl_dist.replay.store import Rows, Shape

# Priorities to the power of alpha are kept within these, so that neither sums overflow
# nor a priority above 0 becomes 0.
LEAST, GREATEST = 2.0**-100, 2.0**100


class Settings(NamedTuple):
    """How priorities are used."""

    alpha: float  # in [0, 1]
    first_row_only: bool  # a sequence that begins with a last row teaches nothing
    axis_name: str | None  # device axis over which weights are normalised


class Ranking(NamedTuple):
    """Priorities of all sequences."""

    levels: priorities.Levels  # item = position / P x environments + environment
    greatest: jax.Array  # [] of all priorities ever set, before alpha, from 1


def empty(shape: Shape) -> Ranking:
    """The priorities of a store with nothing in it."""
    items = jnp.zeros(shape.length // shape.period * shape.num_envs)
    return Ranking(priorities.build_levels(items), jnp.ones(()))


def is_accepted(priority: jax.Array) -> jax.Array:
    """Which priorities may enter: neither negative, infinite nor NaN."""
    return (priority >= 0) & (priority < jnp.inf)


def powered(priority: jax.Array, alpha: float) -> jax.Array:
    """priority^alpha, 0 at 0, in the range that sums can hold."""
    power = priority if alpha == 1 else priority**alpha
    return jnp.where(priority > 0, jnp.clip(power, LEAST, GREATEST), 0.0)


def enter(
    settings: Settings,
    shape: Shape,
    ranking: Ranking,
    stored: Rows,
    priority: jax.Array | None,
    *,
    num_steps: int,
) -> Ranking:
    """Follows the appending of T rows.

    Those of the T sequences that end with the new rows enter that may begin where they
    do: the oldest of the T begins L - 1 rows before the first new row. Sequences that
    begin with the last L - 1 new rows are not complete.

    Args:
        settings: how priorities are used.
        shape: of the replay.
        ranking: before.
        stored: the rows, the new ones among them.
        priority: [T, E] of the sequences that enter, oldest first; where there is no
            such sequence it is ignored, and one that is not accepted is replaced by
            the greatest there has been. None: all enter at that.
        num_steps: T.

    Returns:
        The ranking after.
    """
    levels, greatest = ranking
    before, num_items = starts_of_window(shape, stored, num_steps)
    whole = (before <= -shape.sequence_length) & (before >= -stored.number)
    exists = jnp.broadcast_to(whole[:, None], (len(before), shape.num_envs))
    first = jnp.mod(stored.position + before, shape.length)
    raw = jnp.full(exists.shape, greatest)
    if priority is not None:
        priority = priority.at[before + num_steps + shape.sequence_length - 1].get(
            mode="clip"
        )
        given = is_accepted(priority) & exists
        raw = jnp.where(given, priority, raw)
        greatest = jnp.maximum(greatest, jnp.max(jnp.where(given, priority, 0.0)))
    if settings.first_row_only:
        flags = stored.words[:, first, 0].T
        exists &= (flags >> packing.LAST_BIT) & 1 == 0
    values = jnp.where(exists, powered(raw, settings.alpha), 0.0)
    incomplete = jnp.zeros((num_items - len(before), shape.num_envs))
    values = jnp.concatenate([values, incomplete])
    num_starts = shape.length // shape.period
    place = first[0] // shape.period
    if shape.period > 1:
        last = (place + num_items - 1) % num_starts * shape.num_envs
        old = jax.lax.dynamic_slice(levels[0], (last,), (shape.num_envs,))
        is_old = before[0] + shape.period * (num_items - 1) >= 0
        values = values.at[-1].set(jnp.where(is_old, old, values[-1]))
    levels = priorities.set_window(
        levels,
        values.reshape(-1),
        place * shape.num_envs,
        length=num_starts * shape.num_envs,
    )
    return Ranking(levels, greatest)


def starts_of_window(
    shape: Shape, stored: Rows, num_steps: int
) -> tuple[jax.Array, int]:
    """Where sequences begin that T new rows complete.

    Args:
        shape: of the replay.
        stored: the rows, the new ones among them.
        num_steps: T.

    Returns:
        [K] int32 rows, relative to where the next row goes, oldest first; and how many
        starts there are from the first of them on, at least K. Those after them are
        not complete, but for the last, which may be the oldest of all: none before 0.
    """
    # A ring full of new rows: the oldest starts are overwritten by the newest.
    window = min(num_steps + shape.sequence_length - 1, shape.length)
    entering = min(num_steps, shape.length - shape.sequence_length + 1)
    period = shape.period
    first = jnp.asarray(-window)
    if period > 1:
        first += jnp.mod(window - stored.position, period)
    return first + period * jnp.arange(-(-entering // period)), -(-window // period)


def draw(
    settings: Settings,
    shape: Shape,
    ranking: Ranking,
    bits: jax.Array,
    beta: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Draws sequences in proportion to priority^alpha, stratified.

    The weight of sequence i, drawn with probability P_i, is (min_j P_j / P_i)^beta with
    the least of the whole batch, on all devices.

    Args:
        settings: how priorities are used.
        shape: of the replay.
        ranking: priorities; if none is above 0, the weights are 0.
        bits: [2, N] uint32, random.
        beta: [] in [0, 1].

    Returns:
        Slots, [N] int32, and weights, [N] in (0, 1].

    Source:
        Schaul et al. 2016, Prioritized experience replay, section 3.3 and 3.4,
        arXiv:1511.05952.
    """
    levels = ranking.levels
    total = jnp.sum(levels[-1])

    def some() -> tuple[jax.Array, jax.Array]:
        items, values = priorities.draw(levels, bits)
        return items, values / total

    def none() -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(bits.shape[1], jnp.int32), jnp.zeros(bits.shape[1])

    # The branch keeps all reading of the levels in one place, before the writing of
    # `set_drawn`. Without it, XLA reads some of it later, and copies all levels before
    # they are written to, so as to be able to.
    items, probabilities = jax.lax.cond(total > 0, some, none)
    environment, position = items % shape.num_envs, items // shape.num_envs
    slot = environment * shape.length + position * shape.period
    drawn = probabilities > 0
    least = jnp.min(jnp.where(drawn, probabilities, jnp.inf))
    if settings.axis_name is not None:
        least = jax.lax.pmin(least, settings.axis_name)
    logarithms = jnp.log(least / jnp.where(drawn, probabilities, 1.0))
    return slot, jnp.where(drawn, jnp.exp(beta * logarithms), 0.0)


def set_drawn(
    settings: Settings,
    shape: Shape,
    ranking: Ranking,
    stored: Rows,
    update: tuple[jax.Array, jax.Array],
) -> tuple[Ranking, jax.Array]:
    """Sets priorities; see `Replay.set_priorities`.

    Args:
        settings: how priorities are used.
        shape: of the replay.
        ranking: before.
        stored: the rows.
        update: slots [N] and their priorities [N].

    Returns:
        The ranking after, and how many priorities were not accepted, [] int32.
    """
    levels, greatest = ranking
    slot, priority = update
    environment, position = slot // shape.length, slot % shape.length
    accepted = is_accepted(priority)
    enters = accepted & store.is_complete(shape, stored, position)
    beyond = levels[0].size  # such an item is passed over
    item = position // shape.period * shape.num_envs + environment
    items = jnp.where(enters, item, beyond)
    levels = priorities.set_items(levels, items, powered(priority, settings.alpha))
    greatest = jnp.maximum(greatest, jnp.max(jnp.where(enters, priority, 0.0)))
    return Ranking(levels, greatest), jnp.sum(~accepted, dtype=jnp.int32)
