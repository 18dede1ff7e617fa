"""Priorities in levels of sums, and draws in proportion to them.

Level 0 holds one number per item; each number of a level above is the sum of a block
of the level below. Sums are always added up anew from the blocks below, in one fixed
order, never corrected by differences: they do not drift, and equal a rebuild bit for
bit.
"""

import jax
import jax.numpy as jnp

Levels = tuple[jax.Array, ...]  # [size] each, items first; the last is the top

TOP_SIZE = 4096  # sums at the top, at most
# Items in a block, and how many items there may be. Each level costs a round of reading
# and writing, each item in a block some arithmetic.
RADIXES = ((8, TOP_SIZE * 8**2), (16, 2**62))
# Sums at the top become whole numbers of about 2^30 in all: adding those is exact.
TOP_TOTAL = 2.0**30
BELOW_ONE = 1.0 - 2.0**-24


def build_levels(items: jax.Array) -> Levels:
    """Adds up all levels from items [size], padded with zeros to whole blocks."""
    radix = next(radix for radix, most in RADIXES if items.size <= most)
    num_sums = 0
    while items.size > TOP_SIZE * radix**num_sums:
        num_sums += 1
    levels = (jnp.pad(items, (0, -items.size % radix**num_sums)),)
    for _ in range(num_sums):
        levels += (add_up(levels[-1].reshape(-1, radix)),)
    return levels


def radix_of(levels: Levels) -> int:
    """Items in a block; 1 if there is no level of sums."""
    return levels[0].size // levels[1].size if len(levels) > 1 else 1


def add_up(blocks: jax.Array) -> jax.Array:
    """Sums of blocks [..., radix], always in the same order: halves upon halves."""
    while blocks.shape[-1] > 1:
        half = blocks.shape[-1] // 2
        blocks = blocks[..., :half] + blocks[..., half:]
    return blocks[..., 0]


def set_items(levels: Levels, items: jax.Array, values: jax.Array) -> Levels:
    """Sets scattered items.

    Args:
        levels: of sums.
        items: [N] int32, which; one may be named several times, and one that is not
            below the number of items is passed over.
        values: [N] at least 0; of several values for one item the greatest is kept.

    Returns:
        The levels, with the sums above those items added up anew.
    """
    bottom = levels[0].at[items].set(0.0, mode="drop")
    bottom = bottom.at[items].max(values, mode="drop")
    return refresh((bottom, *levels[1:]), items)


def set_window(
    levels: Levels, values: jax.Array, position: jax.Array, *, length: int
) -> Levels:
    """Sets a window of items that may wrap around.

    Args:
        levels: of sums over a ring of items.
        values: [size] at least 0, size from 1 to length.
        position: [] int32 where the window begins, in [0, length).
        length: of the ring, in items.

    Returns:
        The levels, with the sums above those items added up anew.
    """
    (size,) = values.shape
    items = (position + jnp.arange(size)) % length
    bottom = (
        levels[0].at[items].set(values, mode="promise_in_bounds", unique_indices=True)
    )
    # One item out of each block, on either side of the ring's end.
    radix = radix_of(levels)
    steps = jnp.minimum(radix * jnp.arange((size - 1) // radix + 2), size - 1)
    starts = jnp.minimum(position, length - size), jnp.zeros((), jnp.int32)
    touched = jnp.concatenate([start + steps for start in starts])
    return refresh((bottom, *levels[1:]), touched)


def refresh(levels: Levels, items: jax.Array) -> Levels:
    """Adds up anew the sums above items [K]; those out of bounds are passed over."""
    radix, new = radix_of(levels), [levels[0]]
    for above in levels[1:]:
        items = items // radix
        blocks = new[-1].reshape(-1, radix).at[items].get(mode="clip")
        new.append(above.at[items].set(add_up(blocks), mode="drop"))
    return tuple(new)


def draw(levels: Levels, bits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws items in proportion to their priorities, stratified over the batch.

    The total is cut into N equal strata, and one item is drawn from each. An item of
    priority 0 has no width at any level and is never drawn, as long as one is above 0.

    Args:
        levels: of sums.
        bits: [2, N] uint32, random.

    Returns:
        items: [N] int32, in ascending order.
        values: [N] their priorities.
    """
    top = levels[-1]
    # Whole numbers, so that cumulative sums are exact and never fall; an item of
    # priority 0 has width 0, and every other one at least 1.
    shares = top / jnp.maximum(jnp.max(top), 2.0**-126)
    scale = TOP_TOTAL / jnp.maximum(jnp.sum(shares), 1.0)
    widths = jnp.where(top > 0, jnp.maximum(shares * scale, 1.0), 0.0).astype(jnp.int32)
    ends = jnp.cumsum(widths)
    point = stratified(ends[-1], bits[0])
    items = jnp.searchsorted(ends, point, side="right", method="scan")
    items = jnp.minimum(items, top.size - 1).astype(jnp.int32)
    end, width = ends[items], widths[items]
    inside = (point - (end - width)).astype(jnp.float32) + unit_interval(bits[1])
    fraction = jnp.clip(inside / jnp.maximum(width, 1), 0.0, BELOW_ONE)
    values, radix = top[items], radix_of(levels)
    for level in reversed(levels[:-1]):
        blocks = level.reshape(-1, radix).at[items].get(mode="promise_in_bounds")
        child, fraction, values = descend(blocks, fraction)
        items = items * radix + child
    return items, values


def stratified(total: jax.Array, bits: jax.Array) -> jax.Array:
    """One whole number in [0, total) from each of N equal strata; [N] int32.

    The remainder of 2^32 favours some numbers by 1 part in 4 N. As the total is close
    to a power of two, those are some millionths of all.
    """
    (number,) = bits.shape
    index = jnp.arange(number)
    quotient, remainder = total // number, total % number
    start = index * quotient + jnp.minimum(index, remainder)
    width = jnp.maximum(quotient + (index < remainder), 1)
    return start + (bits % width.astype(jnp.uint32)).astype(jnp.int32)


def unit_interval(bits: jax.Array) -> jax.Array:
    """Random bits, uint32, as numbers in [0, 1) of 24 bits."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def descend(blocks: jax.Array, fraction: jax.Array) -> tuple:
    """Finds the member of each block in which a fraction of its sum falls.

    Args:
        blocks: [N, radix] at least 0.
        fraction: [N] in [0, 1).

    Returns:
        Which member, [N] int32; the fraction within it, [N] in [0, 1); its value, [N].
    """
    members = list(jnp.moveaxis(blocks, -1, 0))
    totals = members[0]
    for member in members[1:]:
        totals = totals + member
    target = fraction * totals
    end = start = jnp.zeros_like(target)
    child = jnp.zeros(target.shape, jnp.int32)
    value = jnp.zeros_like(target)
    found = jnp.zeros(target.shape, bool)
    # Sums grow one member at a time: they never fall, and a member of 0 adds nothing.
    for member in members:
        end = end + member
        here = (target < end) & ~found
        value = jnp.where(here, member, value)
        found = found | here
        start = jnp.where(found, start, end)
        child = child + ~found
    fraction = (target - start) / jnp.where(value > 0, value, 1.0)
    child = jnp.minimum(child, len(members) - 1)
    return child, jnp.clip(fraction, 0.0, BELOW_ONE), value
