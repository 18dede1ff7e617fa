"""Rows as vectors of 32-bit words, so that a draw reads one array and not ten."""

import math

import jax
import jax.numpy as jnp

from jaxrl_dist.types import ArrayTree, Trajectory

FLAGS = ("is_first", "is_last", "terminated")  # bits of word 0, in this order
LAST_BIT = FLAGS.index("is_last")


def blank_row(rows: Trajectory) -> Trajectory:
    """One row of zeros, [...], of the shapes and types of rows [B, ...]."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), rows)


def pack(rows: Trajectory, observation_dtype: str | None) -> jax.Array:
    """Packs rows into words, bit for bit, but for the observation's type.

    Args:
        rows: [..., row] of any types of 1, 2, 4 or 8 bytes.
        observation_dtype: in which observations are stored; None: as they are.

    Returns:
        [..., W] uint32: word 0 holds the flags, then come the types of 4 bytes and
        more, then the smaller ones.
    """
    batch = rows.is_last.shape
    flags = sum(
        getattr(rows, name).astype(jnp.uint32) << bit for bit, name in enumerate(FLAGS)
    )
    wide, narrow = [jnp.asarray(flags)[..., None]], []
    for leaf in jax.tree.leaves(stored_columns(rows, observation_dtype)):
        if leaf.dtype == jnp.bool_:
            leaf = leaf.astype(jnp.uint8)
        kind = jnp.uint32 if leaf.dtype.itemsize >= 4 else jnp.uint8
        part = jax.lax.bitcast_convert_type(leaf, kind).reshape(*batch, -1)
        (wide if kind == jnp.uint32 else narrow).append(part)
    if narrow:
        size = sum(part.shape[-1] for part in narrow)
        padding = jnp.zeros((*batch, -size % 4), jnp.uint8)
        parts = jnp.concatenate([*narrow, padding], axis=-1)
        words = parts.reshape(*batch, -1, 4)
        wide.append(jax.lax.bitcast_convert_type(words, jnp.uint32))
    return jnp.concatenate(wide, axis=-1)


def unpack(
    words: jax.Array, blank: Trajectory, observation_dtype: str | None
) -> Trajectory:
    """Undoes `pack`; observations come back in their own type.

    Args:
        words: [..., W] uint32.
        blank: one row, for the shapes and types.
        observation_dtype: as given to `pack`.

    Returns:
        [..., row].
    """
    columns, treedef = jax.tree.flatten(stored_columns(blank, observation_dtype))
    batch = words.shape[:-1]
    num_wide = 1 + sum(
        column.nbytes // 4 for column in columns if column.dtype.itemsize >= 4
    )
    wide = words[..., 1:num_wide]
    narrow = jax.lax.bitcast_convert_type(words[..., num_wide:], jnp.uint8)
    narrow = narrow.reshape(*batch, -1)
    leaves, next_wide, next_narrow = [], 0, 0
    for column in columns:
        size = column.dtype.itemsize
        if size >= 4:
            end = next_wide + column.nbytes // 4
            part, next_wide = wide[..., next_wide:end], end
        else:
            end = next_narrow + column.nbytes
            part, next_narrow = narrow[..., next_narrow:end], end
        leaves.append(from_units(part, column))
    stored = jax.tree.unflatten(treedef, leaves)
    observation = jax.tree.map(
        lambda x, like: x.astype(like.dtype), stored.observation, blank.observation
    )
    flags = {
        name: ((words[..., 0] >> bit) & jnp.uint32(1)).astype(bool)
        for bit, name in enumerate(FLAGS)
    }
    return stored._replace(observation=observation, **flags)


def stored_columns(rows: Trajectory, observation_dtype: str | None) -> Trajectory:
    """The rows as they are stored, without the flags."""
    observation: ArrayTree = rows.observation
    if observation_dtype is not None:
        observation = jax.tree.map(lambda x: x.astype(observation_dtype), observation)
    return rows._replace(
        observation=observation, is_first=(), is_last=(), terminated=()
    )


def from_units(part: jax.Array, like: jax.Array) -> jax.Array:
    """Reads words or bytes [..., U] as an array of another's row shape and type."""
    batch = part.shape[:-1]
    unit, size = part.dtype.itemsize, like.dtype.itemsize
    dtype = jnp.uint8 if like.dtype == jnp.bool_ else like.dtype
    if size > unit:
        part = part.reshape(*batch, math.prod(like.shape), size // unit)
    part = jax.lax.bitcast_convert_type(part, dtype)
    return part.reshape(*batch, *like.shape).astype(like.dtype)
