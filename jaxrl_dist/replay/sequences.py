"""Replay on the device: a ring of rows, out of which sequences are drawn.

The store is part of the training state. Donated, it is written in place.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import (
    check_above,
    check_at_least,
    check_in_range,
    check_rank,
    check_same_shape,
    check_shape,
)
from jaxrl_dist.replay import ranking, store
from jaxrl_dist.replay.store import Rows, Shape
from jaxrl_dist.types import ArrayTree, Sample, Trajectory

OBSERVATION_DTYPES = ("bool", "uint8", "int8", "float16", "bfloat16", "float32")


class ReplayState(NamedTuple):
    """Experience, and which of it matters; on one device."""

    stored: Rows
    ranking: ArrayTree  # Ranking; () unless prioritized


class Replay(NamedTuple):
    """A replay as pure functions, as one device sees them, not yet compiled."""

    init: Callable  # (rows [B, ...]) to ReplayState, empty
    add: Callable  # (state, rows [T, B, ...], priority [T, B] or None) to state
    sample: Callable  # (state, key, beta) to Sample [L, N, ...]
    set_priorities: Callable  # (state, slot [N], priority [N]) to (state, refused [])
    num_sequences: Callable  # (state) to [] int32, that can be drawn


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """Settings of replay on the device.

    Attributes:
        capacity: rows stored, of all environments and devices together.
        batch_size: sequences in one update, of all devices together, from 1.
        warmup_steps: environment steps of all environments before the first update.
        updates_per_step: updates per environment step, above 0; may be below 1.
        prioritized: draw in proportion to priority^alpha; otherwise all alike.
        alpha: in [0, 1]; 0 draws all alike, 1 in proportion to priorities.
        beta: in [0, 1]; at the start, how far importance weights correct.
        anneal_beta: raise beta to 1 over the run, linearly.
        observation_dtype: in which observations are stored, one of bool, uint8, int8,
            float16, bfloat16, float32; None: as they are. Values must fit.

    Raises:
        ValueError: a setting is out of its range.
    """

    capacity: int = 100_000
    batch_size: int = 128
    warmup_steps: int = 1_000
    updates_per_step: float = 0.1
    prioritized: bool = False
    alpha: float = 0.6
    beta: float = 0.4
    anneal_beta: bool = True
    observation_dtype: str | None = None

    def __post_init__(self) -> None:
        check_at_least(1, capacity=self.capacity, batch_size=self.batch_size)
        check_at_least(0, warmup_steps=self.warmup_steps)
        check_above(0, updates_per_step=self.updates_per_step)
        check_in_range(0, 1, alpha=self.alpha, beta=self.beta)
        if self.observation_dtype not in (None, *OBSERVATION_DTYPES):
            raise ValueError(
                f"observation_dtype must be None or one of "
                f"{', '.join(OBSERVATION_DTYPES)}, got {self.observation_dtype!r}"
            )

    def build(
        self,
        *,
        sequence_length: int,
        num_envs: int,
        num_devices: int = 1,
        axis_name: str | None = None,
        period: int = 1,
        first_row_only: bool = True,
    ) -> Replay:
        """Builds the replay of one device.

        Args:
            sequence_length: L, rows of each sequence, from 1.
            num_envs: environments, of all devices together.
            num_devices: over which environments and batch are divided evenly.
            axis_name: device axis over which importance weights are normalised; None
                for one device.
            period: P, rows from the beginning of a sequence to that of the next, from
                1. Above 1, memory is kept for rows that begin a sequence, and what is
                drawn has that of its first row alone, [1, N, ...].
            first_row_only: only the first row of a sequence is learnt from, as by
                n-step agents: one that begins with an episode's last row is no
                transition, and enters with priority 0. A uniform draw may still take
                it, and the agent's mask removes it.

        Raises:
            ValueError: environments or batch do not divide, or the capacity or the
                warm-up is too small.
        """
        shape = make_shape(
            self, sequence_length, num_envs, num_devices=num_devices, period=period
        )
        if not self.prioritized:
            return make_uniform(shape)
        return make_prioritized(
            shape, ranking.Settings(self.alpha, first_row_only, axis_name)
        )


def make_shape(
    config: ReplayConfig,
    sequence_length: int,
    num_envs: int,
    *,
    num_devices: int,
    period: int,
) -> Shape:
    """Divides a replay over devices, and checks that it can work."""
    check_at_least(
        1,
        sequence_length=sequence_length,
        num_envs=num_envs,
        num_devices=num_devices,
        period=period,
    )
    for name, number in (("num_envs", num_envs), ("batch_size", config.batch_size)):
        if number % num_devices:
            raise ValueError(
                f"{name} must be a multiple of the {num_devices} devices, got {number}"
            )
    length = config.capacity // num_envs // period * period
    starts = -(-config.batch_size // num_envs)  # of each environment
    fewest = num_envs * round_up(starts * period + sequence_length - 1, period)
    if config.capacity < fewest:
        raise ValueError(
            f"capacity must be at least {fewest} rows, got {config.capacity}: "
            f"{num_envs} environments need so many for a batch of {config.batch_size} "
            f"sequences of {sequence_length} rows"
        )
    if config.warmup_steps < fewest:
        raise ValueError(
            f"warmup_steps must be at least {fewest}, got {config.warmup_steps}: "
            f"{num_envs} environments need so many for the first batch of "
            f"{config.batch_size} sequences of {sequence_length} rows"
        )
    if length * num_envs >= 2**31:
        raise ValueError(f"capacity must be below 2**31 rows, got {config.capacity}")
    return Shape(
        num_envs=num_envs // num_devices,
        length=length,
        sequence_length=sequence_length,
        batch_size=config.batch_size // num_devices,
        observation_dtype=config.observation_dtype,
        period=period,
    )


def round_up(number: int, unit: int) -> int:
    """The least multiple of a unit that is no less than a number."""
    return -(-number // unit) * unit


def make_uniform(shape: Shape) -> Replay:
    """Builds a replay that draws all complete sequences alike."""

    def init(rows_like: Trajectory) -> ReplayState:
        check_shape((shape.num_envs,), is_last=rows_like.is_last)
        return ReplayState(store.empty(shape, rows_like), ())

    def add(
        state: ReplayState, rows: Trajectory, priority: jax.Array | None = None
    ) -> ReplayState:
        check_rows(shape, rows, priority)
        return state._replace(stored=store.append(shape, state.stored, rows))

    def sample(state: ReplayState, key: jax.Array, beta: float | jax.Array) -> Sample:
        bits = jax.random.bits(key, (2, shape.batch_size), jnp.uint32)
        slot = store.draw_uniform(shape, state.stored, bits)
        rows = store.read(shape, state.stored, slot)
        return Sample(rows, jnp.ones(shape.batch_size), slot)

    def set_priorities(
        state: ReplayState, slot: jax.Array, priority: jax.Array
    ) -> tuple[ReplayState, jax.Array]:
        return state, jnp.zeros((), jnp.int32)

    def num_sequences(state: ReplayState) -> jax.Array:
        return shape.num_envs * store.num_starts(shape, state.stored)

    return Replay(init, add, sample, set_priorities, num_sequences)


def make_prioritized(shape: Shape, settings: ranking.Settings) -> Replay:
    """Builds a replay that draws in proportion to priority^alpha."""
    uniform = make_uniform(shape)

    def init(rows_like: Trajectory) -> ReplayState:
        return uniform.init(rows_like)._replace(ranking=ranking.empty(shape))

    def add(
        state: ReplayState, rows: Trajectory, priority: jax.Array | None = None
    ) -> ReplayState:
        state = uniform.add(state, rows, priority)
        ranks = ranking.enter(
            settings,
            shape,
            state.ranking,
            state.stored,
            priority,
            num_steps=rows.is_last.shape[0],
        )
        return state._replace(ranking=ranks)

    def sample(state: ReplayState, key: jax.Array, beta: float | jax.Array) -> Sample:
        bits = jax.random.bits(key, (2, shape.batch_size), jnp.uint32)
        slot, weight = ranking.draw(settings, shape, state.ranking, bits, beta)
        return Sample(store.read(shape, state.stored, slot), weight, slot)

    def set_priorities(
        state: ReplayState, slot: jax.Array, priority: jax.Array
    ) -> tuple[ReplayState, jax.Array]:
        check_same_shape(slot=slot, priority=priority)
        ranks, refused = ranking.set_drawn(
            settings, shape, state.ranking, state.stored, (slot, priority)
        )
        return state._replace(ranking=ranks), refused

    return Replay(init, add, sample, set_priorities, uniform.num_sequences)


def check_rows(shape: Shape, rows: Trajectory, priority: jax.Array | None) -> None:
    """Checks that rows [T, B, ...], and priorities [T, B], fit into a replay."""
    check_rank(2, is_last=rows.is_last)
    num_steps = rows.is_last.shape[0]
    check_shape((num_steps, shape.num_envs), is_last=rows.is_last)
    if not 1 <= num_steps <= shape.length:
        raise ValueError(
            f"rows must hold 1 to {shape.length} steps of each environment, which is "
            f"the ring's length, got {num_steps}"
        )
    if priority is not None:
        check_shape((num_steps, shape.num_envs), priority=priority)
