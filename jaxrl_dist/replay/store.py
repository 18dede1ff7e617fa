"""Rows of every environment in a ring on the device, read as sequences.

Where sequences begin every few rows, the memory of a policy is kept for the rows with
which they may begin, and for no others: it is often many times as large as the rest of
a row, and a learner starts from the first one and computes those that follow.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.replay import packing
from jaxrl_dist.types import ArrayTree, Trajectory


class Shape(NamedTuple):
    """Numbers that fix the shapes of a replay, on one device."""

    num_envs: int  # E
    length: int  # C, rows of each environment's ring
    sequence_length: int  # L
    batch_size: int  # N
    observation_dtype: str | None
    period: int = 1  # P; sequences begin with every P-th row of an environment. It
    # divides C, so that a row's position says whether it is one of them


class Rows(NamedTuple):
    """The rows stored. All environments are in step."""

    words: jax.Array  # [E, C, W] uint32, or [E, C, 4 W] uint8, packed
    blank: Trajectory  # one row of zeros, [...]: the shapes and types of rows
    position: jax.Array  # [] int32; the next row of each environment goes here
    number: jax.Array  # [] int32; rows stored of each environment, at most C
    memory: ArrayTree = ()  # [E, C / P, ...] of every P-th row; () if the words have it


def empty(shape: Shape, rows: Trajectory) -> Rows:
    """A store for rows like these, [B, ...], with none in it."""
    memory = ()
    if shape.period > 1:
        places = (shape.num_envs, shape.length // shape.period)
        memory = jax.tree.map(
            lambda x: jnp.zeros((*places, *x.shape[1:]), x.dtype), rows.memory
        )
        rows = rows._replace(memory=())
    blank = packing.blank_row(rows)
    packed = jax.eval_shape(lambda x: packing.pack(x, shape.observation_dtype), blank)
    return Rows(
        words=jnp.zeros((shape.num_envs, shape.length, *packed.shape), packed.dtype),
        blank=blank,
        position=jnp.zeros((), jnp.int32),
        number=jnp.zeros((), jnp.int32),
        memory=memory,
    )


def append(shape: Shape, stored: Rows, rows: Trajectory) -> Rows:
    """Appends rows [T, B, ...], T from 1 to C, over the oldest ones if need be."""
    num_steps = rows.is_last.shape[0]
    position = (stored.position + jnp.arange(num_steps)[:, None]) % shape.length
    index = jnp.arange(shape.num_envs)[None] * shape.length + position
    memory = stored.memory
    if shape.period > 1:
        memory = append_memory(shape, stored, rows)
        rows = rows._replace(memory=())
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
        memory=memory,
    )


def append_memory(shape: Shape, stored: Rows, rows: Trajectory) -> ArrayTree:
    """Keeps the memory of every P-th of the rows [T, B, ...] to be appended."""
    num_steps, num_places = rows.is_last.shape[0], shape.length // shape.period
    first = jnp.mod(-stored.position, shape.period)
    step = first + shape.period * jnp.arange(-(-num_steps // shape.period))
    place = (stored.position + step) // shape.period % num_places
    index = jnp.arange(shape.num_envs)[None] * num_places + place[:, None]
    # The last of them may lie beyond the rows, and is passed over.
    beyond = shape.num_envs * num_places
    index = jnp.where((step < num_steps)[:, None], index, beyond)

    def write(ring: jax.Array, new: jax.Array) -> jax.Array:
        new = jnp.take(new, step, axis=0, mode="clip")
        list_of_all = ring.reshape(-1, *ring.shape[2:]).at[index]
        return list_of_all.set(new, mode="drop").reshape(ring.shape)

    return jax.tree.map(write, stored.memory, rows.memory)


def first_start(shape: Shape, stored: Rows) -> jax.Array:
    """How many rows older than the first possible start are stored, [] in [0, P)."""
    return jnp.mod(stored.number - stored.position, shape.period)


def num_starts(shape: Shape, stored: Rows) -> jax.Array:
    """How many complete sequences there are of each environment, [] int32."""
    number = stored.number - shape.sequence_length
    if shape.period > 1:
        number = (number - first_start(shape, stored)) // shape.period
    return jnp.maximum(0, number + 1)


def is_complete(shape: Shape, stored: Rows, position: jax.Array) -> jax.Array:
    """Whether complete sequences begin at positions [...] of a ring; bool."""
    age = jnp.mod(stored.position - 1 - position, shape.length)
    whole = (age >= shape.sequence_length - 1) & (age < stored.number)
    return whole & (position % shape.period == 0) if shape.period > 1 else whole


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
    if shape.period > 1:
        order = first_start(shape, stored) + shape.period * order
    oldest = jnp.mod(stored.position - stored.number, shape.length)
    return environment * shape.length + wrapped(oldest + order, shape.length)


def read(shape: Shape, stored: Rows, slot: jax.Array) -> Trajectory:
    """Reads the sequences that begin at slots [N], time-major [L, N, ...].

    With a period above 1, memory is that of their first rows alone, [1, N, ...].
    """
    environment, position = slot // shape.length, slot % shape.length
    time = jnp.arange(shape.sequence_length)[:, None]
    position = wrapped(position[None] + time, shape.length)
    # Kept from being computed again for every number that is read.
    index = jax.lax.optimization_barrier(environment[None] * shape.length + position)

    def values(start: int, end: int, convert: Callable) -> jax.Array:
        numbers = flat(stored).at[index, start:end].get(mode="promise_in_bounds")
        return convert(numbers)

    rows = packing.unpack(values, stored.blank, shape.observation_dtype)
    if shape.period == 1:
        return rows
    memory = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:])[None, slot // shape.period],
        stored.memory,
    )
    return rows._replace(memory=memory)


def flat(stored: Rows) -> jax.Array:
    """All rows as one list, [E C, W]; a slot is an index into it."""
    return stored.words.reshape(-1, stored.words.shape[-1])


def wrapped(position: jax.Array, length: int) -> jax.Array:
    """A position in [0, 2 length) of a ring, as one in [0, length)."""
    return jnp.where(position >= length, position - length, position)
