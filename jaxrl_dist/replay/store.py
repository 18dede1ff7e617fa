"""Rows of every environment in a ring on the device, read as sequences."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.replay import packing
from jaxrl_dist.types import Trajectory

LONG_SEQUENCE = 8  # rows
SEQUENCES_PER_PART = 16


class Shape(NamedTuple):
    """Numbers that fix the shapes of a replay, on one device."""

    num_envs: int  # E
    length: int  # C, rows of each environment's ring
    sequence_length: int  # L
    batch_size: int  # N
    observation_dtype: str | None


class Rows(NamedTuple):
    """The rows stored. All environments are in step."""

    words: jax.Array  # [E, C, W] uint32, packed
    blank: Trajectory  # one row of zeros, [...]: the shapes and types of rows
    position: jax.Array  # [] int32; the next row of each environment goes here
    number: jax.Array  # [] int32; rows stored of each environment, at most C


def empty(shape: Shape, rows: Trajectory) -> Rows:
    """A store for rows like these, [B, ...], with none in it."""
    blank = packing.blank_row(rows)
    packed = jax.eval_shape(lambda x: packing.pack(x, shape.observation_dtype), blank)
    return Rows(
        words=jnp.zeros((shape.num_envs, shape.length, *packed.shape), jnp.uint32),
        blank=blank,
        position=jnp.zeros((), jnp.int32),
        number=jnp.zeros((), jnp.int32),
    )


def append(shape: Shape, stored: Rows, rows: Trajectory) -> Rows:
    """Appends rows [T, B, ...], T from 1 to C, over the oldest ones if need be."""
    num_steps = rows.is_last.shape[0]
    position = (stored.position + jnp.arange(num_steps)[:, None]) % shape.length
    index = jnp.arange(shape.num_envs)[None] * shape.length + position
    words = (
        flat(stored)
        .at[index]
        .set(
            packing.pack(rows, shape.observation_dtype),
            mode="promise_in_bounds",
            unique_indices=True,
        )
    )
    return stored._replace(
        words=words.reshape(stored.words.shape),
        position=jnp.mod(stored.position + num_steps, shape.length),
        number=jnp.minimum(stored.number + num_steps, shape.length),
    )


def num_starts(shape: Shape, stored: Rows) -> jax.Array:
    """How many complete sequences there are of each environment, [] int32."""
    return jnp.maximum(0, stored.number - shape.sequence_length + 1)


def is_complete(shape: Shape, stored: Rows, position: jax.Array) -> jax.Array:
    """Whether complete sequences begin at positions [...] of a ring; bool."""
    age = jnp.mod(stored.position - 1 - position, shape.length)
    return (age >= shape.sequence_length - 1) & (age < stored.number)


def draw_uniform(shape: Shape, stored: Rows, bits: jax.Array) -> jax.Array:
    """Draws from all complete sequences alike, to 1 part in 2^32 / C.

    Args:
        shape: of the replay.
        stored: at least one sequence.
        bits: [2, N] uint32, random.

    Returns:
        Slots, [N] int32.
    """
    number = jnp.maximum(1, num_starts(shape, stored)).astype(jnp.uint32)
    environment = (bits[0] % jnp.uint32(shape.num_envs)).astype(jnp.int32)
    order = (bits[1] % number).astype(jnp.int32)
    oldest = jnp.mod(stored.position - stored.number, shape.length)
    return environment * shape.length + wrapped(oldest + order, shape.length)


def read(shape: Shape, stored: Rows, slot: jax.Array) -> Trajectory:
    """Reads the sequences that begin at slots [N], time-major [L, N, ...]."""
    environment, position = slot // shape.length, slot % shape.length
    time = jnp.arange(shape.sequence_length)[:, None]
    position = wrapped(position[None] + time, shape.length)
    index = environment[None] * shape.length + position

    def values(start: int, end: int, convert: Callable) -> jax.Array:
        def some(index: jax.Array) -> jax.Array:
            words = flat(stored).at[index, start:end].get(mode="promise_in_bounds")
            return convert(words)

        if end - start <= packing.SMALL_WORDS or not reads_in_parts(index.shape):
            return some(index)
        return in_parts(some, index)

    return packing.unpack(values, stored.blank, shape.observation_dtype)


def reads_in_parts(shape: tuple[int, ...]) -> bool:
    """Whether sequences [L, N] are read a few at a time.

    A CPU fetches neighbouring rows ahead, and forgets them if hundreds of other
    sequences come between one row and the next.
    """
    length, number = shape
    long = length >= LONG_SEQUENCE and number % SEQUENCES_PER_PART == 0
    return long and jax.default_backend() == "cpu"


def in_parts(read: Callable[[jax.Array], jax.Array], index: jax.Array) -> jax.Array:
    """What `read` makes of an index [L, N], a few sequences after another."""
    number, size = index.shape[1], SEQUENCES_PER_PART

    def one(part: jax.Array, values: jax.Array) -> jax.Array:
        start = part * size
        new = read(jax.lax.dynamic_slice_in_dim(index, start, size, axis=1))
        return jax.lax.dynamic_update_slice_in_dim(values, new, start, axis=1)

    like = jax.eval_shape(read, index)
    empty_values = jax.lax.empty(like.shape, like.dtype)
    return jax.lax.fori_loop(0, number // size, one, empty_values)


def flat(stored: Rows) -> jax.Array:
    """All rows as one list, [E C, W]; a slot is an index into it."""
    return stored.words.reshape(-1, stored.words.shape[-1])


def wrapped(position: jax.Array, length: int) -> jax.Array:
    """A position in [0, 2 length) of a ring, as one in [0, length)."""
    return jnp.where(position >= length, position - length, position)
