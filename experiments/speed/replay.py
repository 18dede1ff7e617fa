"""Replay on the device beside flashbax: cycles of adding, drawing and re-ranking.

One cycle adds a row of each of 64 environments, draws 256 sequences, hands them over in
memory and, if prioritized, sets 256 priorities. Cycles follow each other inside one
compiled scan with a donated state, the two programs in turns. Each row is an
observation with the scalars of a `Trajectory`; both store the same. Ours hands over
sequences [L, N, ...], flashbax [N, L, ...], but where it says "time-major".

    python -m pip install flashbax==0.1.3
    python -m experiments.speed.replay
    python -m experiments.speed.replay --no-peer --table

On a CPU with other work going on, only the ratios mean something.
"""

import dataclasses
import functools
import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro

from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.types import Trajectory

NUM_ENVS, BATCH_SIZE, ALPHA, BETA = 64, 256, 0.6, 0.4
PICTURE, SMALL = (10, 10, 4), (4,)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        rounds: samples of each program, in turns; medians count.
        seconds_per_sample: duration of one sample, about.
        peer: measure flashbax as well; it must be installed.
        table: measure types and capacities instead of the contests.
        only: measure only what has this in its name.
    """

    rounds: int = 9
    seconds_per_sample: float = 0.15
    peer: bool = True
    table: bool = False
    only: str = ""


class Workload(NamedTuple):
    """What is stored and drawn."""

    capacity: int = 2**17  # rows
    sequence_length: int = 1
    prioritized: bool = False
    shape: tuple[int, ...] = PICTURE  # of an observation
    stored: str = "float32"  # type in the store
    given: str = "float32"  # type that the environment gives and the learner wants
    time_major: bool = False  # flashbax's sequences too are handed over as [L, N]

    def name(self) -> str:
        """One line of a table."""
        draw = "prioritized" if self.prioritized else "uniform"
        kind = self.stored if self.stored == self.given else f"{self.stored} as float"
        size = "x".join(map(str, self.shape))
        power = self.capacity.bit_length() - 1
        rows = f"{self.sequence_length}{', time-major' * self.time_major}"
        return f"{draw} | {size} | {kind} | {rows} | 2^{power}"


def make_rows(workload: Workload, num_steps: int, dtype: str) -> Trajectory:
    """Rows [T, B] with observations of a type."""
    shape = (num_steps, NUM_ENVS)
    number = jnp.arange(num_steps * NUM_ENVS).reshape(shape)
    flags = number % 50 == 0
    observation = (number % 100).reshape(*shape, *[1] * len(workload.shape))
    return Trajectory(
        observation=jnp.broadcast_to(observation, (*shape, *workload.shape)).astype(
            dtype
        ),
        is_first=flags,
        is_last=jnp.roll(flags, -1),
        action=number % 6,
        reward=jnp.sin(number.astype(jnp.float32)),
        terminated=flags,
    )


class Program(NamedTuple):
    """A replay filled to the brim, and a number of cycles compiled into one call."""

    run: Callable  # (carry) to carry; the carry is donated
    carry: Any


def ours(workload: Workload, cycles: int) -> Program:
    """The replay of this project."""
    config = ReplayConfig(
        capacity=workload.capacity,
        batch_size=BATCH_SIZE,
        warmup_steps=workload.capacity,
        prioritized=workload.prioritized,
        alpha=ALPHA,
        observation_dtype=workload.stored,
    )
    replay = config.build(sequence_length=workload.sequence_length, num_envs=NUM_ENVS)
    rows = make_rows(workload, 1, workload.given)

    def cycle(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
        state, _, key = carry
        state = replay.add(state, rows)
        sample = replay.sample(state, jax.random.fold_in(key, index), BETA)
        if workload.prioritized:
            priority = jnp.abs(sample.trajectory.reward[0]) * sample.weight
            state, _ = replay.set_priorities(state, sample.slot, priority)
        return (state, sample, key), None

    many = make_rows(workload, 64, workload.given)
    fill = jax.jit(replay.add, donate_argnums=0)
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    for _ in range(workload.capacity // (64 * NUM_ENVS) + 1):
        state = fill(state, many)
    return compiled(cycle, state, replay.sample(state, jax.random.key(0), BETA), cycles)


def make_buffer(workload: Workload) -> Any:
    """The buffer of flashbax that does the same."""
    flashbax = importlib.import_module("flashbax")
    arguments = {
        "add_batch_size": NUM_ENVS,
        "sample_batch_size": BATCH_SIZE,
        "sample_sequence_length": workload.sequence_length,
        "period": 1,
        "min_length_time_axis": workload.sequence_length,
        "max_size": workload.capacity,
    }
    if workload.prioritized:
        return flashbax.make_prioritised_trajectory_buffer(
            **arguments, priority_exponent=ALPHA, device=jax.default_backend()
        )
    return flashbax.make_trajectory_buffer(**arguments)


def theirs(workload: Workload, cycles: int) -> Program:
    """The buffer of flashbax: its own advice on donation followed."""
    buffer = make_buffer(workload)
    rows = swapped(make_rows(workload, 1, workload.stored))

    first = 0 if workload.time_major else (slice(None), 0)  # row of each sequence

    def sample_of(state: Any, key: jax.Array) -> tuple[Any, Trajectory]:
        sample = buffer.sample(state, key)
        drawn = sample.experience
        observation = drawn.observation.astype(workload.given)
        drawn = drawn._replace(observation=observation)
        return sample, swapped(drawn) if workload.time_major else drawn

    def cycle(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
        state, _, key = carry
        state = buffer.add(state, rows)
        sample, drawn = sample_of(state, jax.random.fold_in(key, index))
        weight = ()
        if workload.prioritized:
            probabilities = sample.probabilities
            weight = (jnp.min(probabilities) / probabilities) ** BETA
            priority = jnp.abs(drawn.reward[first]) * weight
            state = buffer.set_priorities(state, sample.indices, priority)
        return (state, (drawn, weight), key), None

    many = swapped(make_rows(workload, 64, workload.stored))
    fill = jax.jit(buffer.add, donate_argnums=0)
    state = buffer.init(jax.tree.map(lambda x: x[0, 0], rows))
    for _ in range(workload.capacity // (64 * NUM_ENVS) + 1):
        state = fill(state, many)
    key = jax.random.key(0)
    (_, drawn, _), _ = jax.eval_shape(cycle, (state, (), key), jnp.zeros((), int))
    drawn = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), drawn)
    return compiled(cycle, state, drawn, cycles)


def swapped(rows: Trajectory) -> Trajectory:
    """Rows [T, B] as flashbax takes and gives them, [B, T]; and back."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1), rows)


def compiled(cycle: Callable, state: Any, drawn: Any, cycles: int) -> Program:
    """Compiles cycles that follow each other, and runs them once."""

    def run(carry: tuple) -> tuple:
        return jax.lax.scan(cycle, carry, jnp.arange(cycles))[0]

    carry = jax.tree.map(jnp.copy, (state, drawn, jax.random.key(0)))
    compiled_run = jax.jit(run, donate_argnums=0).lower(carry).compile()
    return Program(compiled_run, jax.block_until_ready(compiled_run(carry)))


def seconds(program: Program) -> tuple[float, Program]:
    """Runs a program once more, and tells how long it took."""
    start = time.perf_counter()
    carry = jax.block_until_ready(program.run(program.carry))
    return time.perf_counter() - start, program._replace(carry=carry)


def measure(
    builders: list[Callable[[int], Program]], settings: Settings
) -> list[float]:
    """Microseconds per cycle of several programs, sampled in turns; medians."""
    once, _ = seconds(builders[0](200))
    cycles = max(20, int(200 * settings.seconds_per_sample / once))
    programs = [build(cycles) for build in builders]
    samples: list[list[float]] = [[] for _ in builders]
    for _ in range(settings.rounds):
        for number, kept in enumerate(samples):
            taken, programs[number] = seconds(programs[number])
            kept.append(1e6 * taken / cycles)
    return [statistics.median(kept) for kept in samples]


def contests() -> list[Workload]:
    """What is measured beside flashbax."""
    base = Workload()
    found = []
    for prioritized in (False, True):
        one = base._replace(prioritized=prioritized)
        found += [
            one,
            one._replace(stored="uint8", given="uint8"),
            one._replace(stored="uint8"),
            one._replace(sequence_length=2),
            one._replace(sequence_length=2, stored="uint8", given="uint8"),
            one._replace(sequence_length=20),
            one._replace(sequence_length=20, time_major=True),
            one._replace(sequence_length=20, stored="uint8", given="uint8"),
        ]
        found += [
            one._replace(shape=SMALL, capacity=2**power) for power in (15, 17, 20)
        ]
    return found


def costs() -> list[Workload]:
    """Every type, drawn either way, as sequences of two rows; and small rows."""
    kinds = (("float32", "float32"), ("bfloat16", "float32"), ("uint8", "float32"))
    return [
        Workload(0, 2, prioritized, shape, stored, given)
        for prioritized in (False, True)
        for shape, types in (
            (SMALL, kinds[:1]),
            (PICTURE, (*kinds, ("uint8", "uint8"))),
        )
        for stored, given in types
    ]


def print_contests(settings: Settings) -> None:
    """Prints a row for each contest."""
    print("| draw | observation | type | rows | capacity | ours | flashbax | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for workload in contests():
        if settings.only not in workload.name():
            continue
        programs = [functools.partial(ours, workload)]
        if settings.peer:
            programs.append(functools.partial(theirs, workload))
        medians = measure(programs, settings)
        figures = [f"{median:.0f}" for median in medians]
        if settings.peer:
            figures.append(f"{medians[1] / medians[0]:.2f}")
        print(f"| {workload.name()} | {' | '.join(figures)} |", flush=True)


def print_costs(settings: Settings) -> None:
    """Prints a row for each type, the capacities measured in turns."""
    print("| draw | observation | type | rows | 2^15 | 2^17 | 2^20 | 2^20 over 2^15 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for workload in costs():
        name = workload.name().rpartition(" | ")[0]
        if settings.only not in name:
            continue
        sizes = [workload._replace(capacity=2**power) for power in (15, 17, 20)]
        medians = measure([functools.partial(ours, size) for size in sizes], settings)
        figures = " | ".join(f"{median:.0f}" for median in medians)
        print(f"| {name} | {figures} | {medians[2] / medians[0]:.2f} |", flush=True)


def main(settings: Settings) -> None:
    """Prints microseconds per cycle, and the ratios."""
    print(f"{jax.devices()[0].device_kind}; microseconds per cycle")
    if settings.table:
        print_costs(settings)
    else:
        print_contests(settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
