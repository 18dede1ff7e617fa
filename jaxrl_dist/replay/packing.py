"""Rows as vectors of 32-bit words, so that a draw reads one array and not ten.

Rows whose large columns all have numbers of one byte, such as frames of bytes, are
vectors of bytes: on a CPU, taking words apart costs more than reading them.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.types import Trajectory

FLAGS = ("is_first", "is_last", "terminated")  # bits of word 0, in this order
LAST_BIT = FLAGS.index("is_last")
SMALL_WORDS = 16  # columns up to this size are read together, greater ones directly


class Layout(NamedTuple):
    """Where the columns of a row are, in words."""

    starts: tuple[int, ...]  # of each column, in the order of the tree
    num_small: int  # words 0 to here are the flags and the small columns
    num_words: int  # W
    word_units: int  # that a word has in the vector: 1, or 4 where it is one of bytes


def blank_row(rows: Trajectory) -> Trajectory:
    """One row of zeros, [row], of the shapes and types of rows [..., row]."""
    rank = rows.is_last.ndim
    return jax.tree.map(lambda x: jnp.zeros(x.shape[rank:], x.dtype), rows)


def layout_of(blank: Trajectory, observation_dtype: str | None) -> Layout:
    """Lays out a row: flags, then the small columns, then the others."""
    sizes = [num_words(leaf) for leaf in columns_of(blank, observation_dtype)[0]]
    starts, end = [0] * len(sizes), 1
    num_small = 1
    for index in np.argsort(sizes, kind="stable"):
        starts[index], end = end, end + sizes[index]
        num_small = end if sizes[index] <= SMALL_WORDS else num_small
    columns = columns_of(blank, observation_dtype)[0]
    large = [x for x, size in zip(columns, sizes, strict=True) if size > SMALL_WORDS]
    as_bytes = bool(large) and all(x.dtype.itemsize == 1 for x in large)
    return Layout(tuple(starts), num_small, end, 4 if as_bytes else 1)


def pack(rows: Trajectory, observation_dtype: str | None) -> jax.Array:
    """Packs rows into vectors, bit for bit, but for the type of observations.

    Args:
        rows: [..., row] of numbers of 1, 2, 4 or 8 bytes.
        observation_dtype: in which observations are stored; None: as they are.

    Returns:
        [..., W] uint32, or [..., 4 W] uint8. Word 0 holds the flags, in its first byte;
        every column begins with a word.
    """
    batch = rows.is_last.shape
    flags = jnp.zeros(batch, jnp.uint32)
    for bit, name in enumerate(FLAGS):
        flags |= getattr(rows, name).astype(jnp.uint32) << bit
    columns, _ = columns_of(rows, observation_dtype)
    parts = [to_words(column, len(batch)) for column in columns]
    order = np.argsort([part.shape[-1] for part in parts], kind="stable")
    words = jnp.concatenate([flags[..., None], *(parts[i] for i in order)], axis=-1)
    if layout_of(blank_row(rows), observation_dtype).word_units == 1:
        return words
    return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*batch, -1)


def unpack(
    read: Callable[..., jax.Array],
    blank: Trajectory,
    observation_dtype: str | None,
) -> Trajectory:
    """Undoes `pack`; observations come back in their own type.

    Args:
        read: (start, end, convert) to what `convert` makes of the vectors' numbers
            between them, [..., end - start]. Large columns are asked for one by one, so
            that nothing is copied twice.
        blank: one row, for the shapes and types.
        observation_dtype: as given to `pack`.

    Returns:
        [..., row].
    """
    layout = layout_of(blank, observation_dtype)
    columns, treedef = columns_of(blank, observation_dtype)
    own_types = [leaf.dtype for leaf in columns_of(blank, None)[0]]
    units = layout.word_units
    small = read(0, units * layout.num_small, words_of)
    leaves = []
    for column, dtype, start in zip(columns, own_types, layout.starts, strict=True):
        end = start + num_words(column)
        convert = functools.partial(from_words, like=column, dtype=dtype)
        if end <= layout.num_small:
            numbers = convert(small[..., start:end])
        else:
            numbers = read(units * start, units * end, convert)
        # In one axis until here: loops over small inner axes are slow.
        leaves.append(numbers.reshape(*numbers.shape[:-1], *column.shape))
    flags = {
        name: (small[..., 0] & jnp.uint32(1 << bit)) > 0
        for bit, name in enumerate(FLAGS)
    }
    return jax.tree.unflatten(treedef, leaves)._replace(**flags)


def columns_of(rows: Trajectory, observation_dtype: str | None) -> tuple:
    """The columns of rows but for the flags, as stored; and how to put them back."""
    observation = rows.observation
    if observation_dtype is not None:
        observation = jax.tree.map(lambda x: x.astype(observation_dtype), observation)
    rest = rows._replace(observation=observation, is_first=(), is_last=())
    return jax.tree.flatten(rest._replace(terminated=()))


def num_words(column: jax.Array) -> int:
    """Words that one row of a column takes up."""
    return -(-column.size * column.dtype.itemsize // 4)


def to_words(column: jax.Array, batch_rank: int) -> jax.Array:
    """A column [..., shape] as words [..., num_words]."""
    batch = column.shape[:batch_rank]
    if column.dtype == jnp.bool_:
        column = column.astype(jnp.uint8)
    if column.dtype.itemsize >= 4:
        return jax.lax.bitcast_convert_type(column, jnp.uint32).reshape(*batch, -1)
    units = jax.lax.bitcast_convert_type(column, jnp.uint8).reshape(*batch, -1)
    padding = [(0, 0)] * batch_rank + [(0, -units.shape[-1] % 4)]
    units = jnp.pad(units, padding).reshape(*batch, -1, 4)
    return jax.lax.bitcast_convert_type(units, jnp.uint32)


def words_of(units: jax.Array) -> jax.Array:
    """Words [..., n] out of a vector's numbers, which are words or four bytes each."""
    if units.dtype == jnp.uint32:
        return units
    return jax.lax.bitcast_convert_type(
        units.reshape(*units.shape[:-1], -1, 4), jnp.uint32
    )


def from_words(words: jax.Array, *, like: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Undoes `to_words`: numbers [..., size] of a type, stored as one row `like`.

    Bytes [..., size] are taken as well, of columns whose numbers have one.
    """
    batch, size = words.shape[:-1], like.dtype.itemsize
    stored = jnp.uint8 if like.dtype == jnp.bool_ else like.dtype
    if size > 4:
        words = words.reshape(*batch, -1, size // 4)
    units = jax.lax.bitcast_convert_type(words, stored).reshape(*batch, -1)
    return units[..., : math.prod(like.shape)].astype(dtype)
