"""Replay on the device against a plain Python model."""

import functools
import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxrl_dist.replay import priorities
from jaxrl_dist.replay.sequences import Replay, ReplayConfig
from tests.replay.model import Model, compiled, make_rows

NUM_ENVS, LENGTH = 3, 11


@functools.cache
def small(sequence_length: int, prioritized: bool) -> Replay:
    """A compiled replay of 3 environments and rings of 11 rows."""
    config = ReplayConfig(
        capacity=NUM_ENVS * LENGTH,
        batch_size=NUM_ENVS * (LENGTH - sequence_length + 1),
        warmup_steps=100,
        prioritized=prioritized,
        alpha=1.0,
    )
    replay = config.build(sequence_length=sequence_length, num_envs=NUM_ENVS)
    return compiled(replay)


def check_draw(replay, state, model, key) -> np.ndarray:
    """Draws, and compares every row drawn with the model; returns the slots."""
    sample = jax.device_get(replay.sample(state, key, 0.5))
    sequences = model.sequences()
    for n, slot in enumerate(sample.slot):
        expected = jax.tree.map(lambda *x: np.stack(x), *sequences[int(slot)])
        drawn = jax.tree.map(lambda x, n=n: x[:, n], sample.trajectory)
        jax.tree.map(np.testing.assert_array_equal, drawn, expected)
        jax.tree.map(
            lambda x, y: np.testing.assert_equal(x.dtype, y.dtype), drawn, expected
        )
    return sample.slot


def check_priorities(state, model) -> None:
    levels = jax.device_get(state.ranking.levels)
    expected = np.zeros(NUM_ENVS * LENGTH, np.float32)
    for (environment, position), value in model.priority.items():
        expected[position * NUM_ENVS + environment] = value
    np.testing.assert_array_equal(levels[0][: expected.size], expected)
    rebuilt = priorities.build_levels(jnp.asarray(levels[0]))
    jax.tree.map(np.testing.assert_array_equal, levels, jax.device_get(rebuilt))
    np.testing.assert_array_equal(state.ranking.greatest, np.float32(model.greatest))


def check_against(replay, state, model, prioritized, key) -> None:
    assert replay.num_sequences(state) == len(model.sequences())
    if prioritized:
        check_priorities(state, model)
        if any(model.priority.values()):
            slots = check_draw(replay, state, model, key)
            assert all(model.priority[divmod(int(s), LENGTH)] > 0 for s in slots)
    elif model.sequences():
        check_draw(replay, state, model, key)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([1, 2, 5, LENGTH]), st.booleans()),
        st.tuples(st.just("set"), st.integers(0, 100), st.booleans()),
    ),
    max_size=12,
)


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    sequence_length=st.sampled_from([1, 2, 4, LENGTH]),
    prioritized=st.booleans(),
    operations=OPERATIONS,
)
def test_any_operations_leave_what_a_plain_model_holds(
    sequence_length, prioritized, operations
):
    replay = small(sequence_length, prioritized)
    state, time = replay.init(jax.tree.map(lambda x: x[0], make_rows(1, NUM_ENVS))), 0
    model = Model(NUM_ENVS, LENGTH, sequence_length)
    for number, (what, amount, flag) in enumerate(operations):
        rng = np.random.default_rng(number)
        if what == "add":
            rows = make_rows(amount, NUM_ENVS, first=time)
            given = rng.random((amount, NUM_ENVS)).astype(np.float32) * 3
            given = given if flag else None
            state, time = replay.add(state, rows, given), time + amount
            model.add(rows, given)
        elif prioritized:
            slot = rng.integers(0, NUM_ENVS * LENGTH, 16).astype(np.int32)
            value = rng.random(16).astype(np.float32) * amount
            value[:3] = (np.nan, np.inf, -1.0) if flag else value[:3]
            state, refused = replay.set_priorities(state, slot, value)
            assert refused == model.set_priorities(slot, value)
        check_against(replay, state, model, prioritized, jax.random.key(number))


@pytest.mark.parametrize("prioritized", [False, True])
def test_all_sequences_are_drawn(prioritized):
    replay = small(4, prioritized)
    rows = make_rows(LENGTH + 3, NUM_ENVS)
    rows = rows._replace(is_last=np.zeros_like(rows.is_last))
    state, model = replay.init(jax.tree.map(lambda x: x[0], rows)), Model(3, LENGTH, 4)
    for part in (slice(0, 11), slice(11, 14)):
        part_rows = jax.tree.map(lambda x, part=part: x[part], rows)
        state = replay.add(state, part_rows)
        model.add(part_rows)
    drawn = set()
    for seed in range(30):
        drawn |= set(check_draw(replay, state, model, jax.random.key(seed)).tolist())
    assert drawn == set(model.sequences())


def test_uniform_draws_take_every_complete_sequence_alike():
    config = ReplayConfig(capacity=3 * 40, batch_size=60, warmup_steps=200)
    replay = compiled(config.build(sequence_length=5, num_envs=3))
    rows = make_rows(33, 3)
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    state = replay.add(replay.add(state, rows), rows)
    keys = jax.random.split(jax.random.key(0), 2000)
    slots = jax.jit(jax.vmap(lambda key: replay.sample(state, key, 1.0).slot))(keys)
    counts = np.bincount(np.asarray(slots).reshape(-1), minlength=120)
    position = 66 % 40
    complete = (position + np.arange(36)) % 40
    drawn = counts.reshape(3, 40)[:, complete]
    assert drawn.sum() == counts.sum()
    assert scipy.stats.chisquare(drawn.reshape(-1)).pvalue > 1e-4


def test_seeds_side_by_side_equal_each_alone():
    replay = small(2, True)
    rows = [make_rows(7, NUM_ENVS, seed=seed) for seed in range(3)]

    def run(rows, key):
        state = replay.init(jax.tree.map(lambda x: x[0], rows))
        state = replay.add(state, rows)
        sample = replay.sample(state, key, 0.5)
        priority = jnp.abs(sample.trajectory.reward[0])
        state, refused = replay.set_priorities(state, sample.slot, priority)
        return state, sample, refused

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(run))(jax.tree.map(lambda *x: np.stack(x), *rows), keys)
    for seed in range(3):
        alone = run(jax.tree.map(jnp.asarray, rows[seed]), keys[seed])
        one = jax.tree.map(lambda x, seed=seed: x[seed], together)
        jax.tree.map(np.testing.assert_array_equal, one, alone)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("num_steps", [1, 8])
def test_a_compiled_cycle_copies_neither_rows_nor_priorities(prioritized, num_steps):
    config = ReplayConfig(
        capacity=2**16, batch_size=32, warmup_steps=2**16, prioritized=prioritized
    )
    replay = config.build(sequence_length=3, num_envs=8)
    rows = make_rows(num_steps, 8)
    state = replay.init(jax.tree.map(lambda x: x[0], rows))

    def cycle(state, key):
        state = replay.add(state, rows)
        sample = replay.sample(state, key, 0.4)
        priority = jnp.abs(sample.trajectory.reward[0]) * sample.weight
        state, refused = replay.set_priorities(state, sample.slot, priority)
        return state, (refused, sample.trajectory.observation["number"])

    run = jax.jit(lambda *x: jax.lax.scan(cycle, *x), donate_argnums=0)
    keys = jax.random.split(jax.random.key(0), 10)
    program = run.lower(state, keys).compile().as_text() or ""
    width = state.stored.words.shape[-1]
    kinds = [rf"u32\[8,8192,{width}\]", rf"u32\[65536,{width}\]"]
    kinds += [rf"f32\[{size}\]" for size in (65536, 8192)]
    for kind in kinds:
        assert not re.findall(rf"= {kind}\S* copy\(", program)
    assert re.findall(rf"= {kinds[1]}\S* (?:fusion|scatter)\(", program)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "capacity must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"updates_per_step": 0.0}, "updates_per_step must be above 0, got 0.0"),
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ({"beta": -0.1}, r"beta must be in \[0, 1\], got -0.1"),
        ({"beta": float("nan")}, r"beta must be in \[0, 1\], got nan"),
        ({"observation_dtype": "uint9"}, "observation_dtype must be None or one of"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ReplayConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "sizes", "message"),
    [
        ({}, {"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({}, {"sequence_length": 0}, "sequence_length must be at least 1, got 0"),
        ({}, {"num_devices": 0}, "num_devices must be at least 1, got 0"),
        ({}, {"num_devices": 3}, "num_envs must be a multiple of the 3 devices, got 4"),
        (
            {"batch_size": 3},
            {"num_devices": 2},
            "batch_size must be a multiple of the 2",
        ),
        ({"capacity": 36}, {}, "capacity must be at least 40 rows, got 36"),
        ({"warmup_steps": 39}, {}, "warmup_steps must be at least 40, got 39"),
        ({"capacity": 2**33}, {}, r"capacity must be below 2\*\*31 rows"),
    ],
)
def test_sizes_that_cannot_work_are_refused(settings, sizes, message):
    config = {"capacity": 400, "batch_size": 32, "warmup_steps": 40} | settings
    with pytest.raises(ValueError, match=message):
        ReplayConfig(**config).build(**{"sequence_length": 3, "num_envs": 4} | sizes)


def test_rows_that_do_not_fit_are_refused():
    replay = small(2, True)
    rows = make_rows(LENGTH + 1, NUM_ENVS)
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    with pytest.raises(ValueError, match="rows must hold 1 to 11 steps .* got 12"):
        replay.add(state, rows)
    with pytest.raises(ValueError, match=r"is_last has shape \(2, 4\), expected"):
        replay.add(state, make_rows(2, 4))
    with pytest.raises(ValueError, match=r"priority has shape \(3, 3\), expected"):
        replay.add(state, make_rows(2, 3), jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"priority has shape \(3,\), but slot"):
        replay.set_priorities(state, jnp.zeros(2, int), jnp.ones(3))


def test_smaller_observations_come_back_in_their_own_type():
    config = ReplayConfig(
        capacity=100, batch_size=8, warmup_steps=50, observation_dtype="uint8"
    )
    replay = compiled(config.build(sequence_length=2, num_envs=2))
    rows = make_rows(20, 2)
    whole = np.broadcast_to(
        np.arange(20.0, dtype=np.float32)[:, None, None], (20, 2, 9)
    )
    rows = rows._replace(observation=whole)
    state = replay.add(replay.init(jax.tree.map(lambda x: x[0], rows)), rows)
    sample = replay.sample(state, jax.random.key(0), 1.0)
    assert sample.trajectory.observation.dtype == jnp.float32
    first = sample.trajectory.observation[0, :, 0]
    np.testing.assert_array_equal(first, sample.slot % 50)
    np.testing.assert_array_equal(sample.trajectory.observation[1, :, 8], first + 1)


@pytest.mark.parametrize("batch_size", [32, 33])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize("prioritized", [False, True])
def test_long_sequences_of_large_rows_are_read_whole(kind, prioritized, batch_size):
    config = ReplayConfig(
        capacity=200,
        batch_size=batch_size,
        warmup_steps=150,
        prioritized=prioritized,
        alpha=1.0,
    )
    replay = compiled(config.build(sequence_length=9, num_envs=2))
    rows = make_rows(60, 2)
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(60, 2, 80)).astype(np.float32)
    if kind == "uint8":
        whole = rng.integers(0, 256, whole.shape).astype(np.uint8)
    rows = rows._replace(observation=whole)
    state, model = replay.init(jax.tree.map(lambda x: x[0], rows)), Model(2, 100, 9)
    assert state.stored.words.dtype == (jnp.uint8 if kind == "uint8" else jnp.uint32)
    for _ in range(2):
        state = replay.add(state, rows)
        model.add(rows)
    slots = check_draw(replay, state, model, jax.random.key(0))
    if prioritized:
        assert all(model.priority[divmod(int(slot), 100)] > 0 for slot in slots)
