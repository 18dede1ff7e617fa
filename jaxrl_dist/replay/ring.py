"""Writing into a ring that lives on the device, in place."""

import jax
import jax.numpy as jnp


def window_starts(position: jax.Array, size: int, length: int) -> tuple:
    """Where to write so that a window that may wrap around is covered.

    Args:
        position: [] int32 where the window begins, in [0, length).
        size: of the window, from 1 to length.
        length: of the ring.

    Returns:
        One or two starts of stretches of `size` that lie in the ring; together they
        hold the window, whichever way it falls.
    """
    if size == 1:
        return (position,)
    if size == length:
        return (jnp.zeros((), jnp.int32),)
    return jnp.minimum(position, length - size), jnp.zeros((), jnp.int32)


def write(
    ring: jax.Array,
    values: jax.Array,
    position: jax.Array,
    *,
    axis: int,
    length: int | None = None,
) -> jax.Array:
    """Writes a window into a ring, around its end if need be.

    Two short stretches are read, merged and written back, at the end and at the start
    of the ring: no copy of the ring is made, and no branch taken.

    Args:
        ring: [..., length, ...].
        values: [..., size, ...] of the same type, size from 1 to length.
        position: [] int32 where the first value goes, in [0, length).
        axis: along which the ring runs.
        length: of the ring; None if it takes up the whole axis.

    Returns:
        The ring with the values in it.
    """
    length, size = length or ring.shape[axis], values.shape[axis]
    for start in window_starts(position, size, length):
        if size == 1:
            merged = values
        else:
            offset = jnp.mod(start - position + jnp.arange(size), length)
            new = jnp.take(values, offset, axis=axis, mode="clip")
            old = jax.lax.dynamic_slice_in_dim(ring, start, size, axis)
            shape = [1] * ring.ndim
            shape[axis] = size
            inside = jnp.broadcast_to((offset < size).reshape(shape), old.shape)
            merged = jnp.where(inside, new, old)
        ring = jax.lax.dynamic_update_slice_in_dim(ring, merged, start, axis)
    return ring
