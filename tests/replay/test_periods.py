"""Sequences that begin every few rows, against the plain model; and their memory."""

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

NUM_ENVS, LENGTH = 3, 12
SIZES = [(5, 2), (3, 4), (9, 3)]  # rows of a sequence, period


@functools.cache
def small(sequence_length: int, period: int, prioritized: bool) -> Replay:
    """A compiled replay of 3 environments and rings of 12 rows."""
    config = ReplayConfig(
        capacity=NUM_ENVS * (LENGTH + period - 1),
        batch_size=NUM_ENVS,
        warmup_steps=100,
        prioritized=prioritized,
        alpha=1.0,
    )
    replay = config.build(
        sequence_length=sequence_length,
        num_envs=NUM_ENVS,
        period=period,
        first_row_only=False,
    )
    return compiled(replay)


def check_draw(replay: Replay, state, model: Model, key: jax.Array) -> np.ndarray:
    """Draws, and compares every row drawn with the model; returns the slots."""
    sample = jax.device_get(replay.sample(state, key, 0.5))
    sequences = model.sequences()
    for n, slot in enumerate(sample.slot):
        expected = jax.tree.map(lambda *x: np.stack(x), *sequences[int(slot)])
        first = jax.tree.map(lambda x: x[:1], expected.memory)
        drawn = jax.tree.map(lambda x, n=n: x[:, n], sample.trajectory)
        expected = expected._replace(memory=first)
        jax.tree.map(np.testing.assert_array_equal, drawn, expected)
    return sample.slot


def check_priorities(state, model: Model) -> None:
    """Compares all priorities, and what a new sequence would enter at."""
    levels = jax.device_get(state.ranking.levels)
    expected = np.zeros(NUM_ENVS * LENGTH // model.period, np.float32)
    for (environment, position), value in model.priority.items():
        expected[position // model.period * NUM_ENVS + environment] = value
    np.testing.assert_array_equal(levels[0][: expected.size], expected)
    rebuilt = priorities.build_levels(jnp.asarray(levels[0]))
    jax.tree.map(np.testing.assert_array_equal, levels, jax.device_get(rebuilt))
    np.testing.assert_array_equal(state.ranking.greatest, np.float32(model.greatest))


def check_against(replay: Replay, state, model: Model, prioritized: bool) -> None:
    """Compares all that a replay holds with the model."""
    assert replay.num_sequences(state) == len(model.sequences())
    if prioritized:
        check_priorities(state, model)
    if any(model.priority.values()) if prioritized else model.sequences():
        slots = check_draw(replay, state, model, jax.random.key(model.position))
        if prioritized:
            assert all(model.priority[divmod(int(s), LENGTH)] > 0 for s in slots)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([1, 5, LENGTH]), st.booleans()),
        st.tuples(st.just("set"), st.integers(0, 100), st.booleans()),
    ),
    max_size=12,
)


@hypothesis.settings(deadline=None, max_examples=20)
@hypothesis.given(
    sizes=st.sampled_from(SIZES), prioritized=st.booleans(), operations=OPERATIONS
)
def test_any_operations_leave_what_a_plain_model_holds(sizes, prioritized, operations):
    replay = small(*sizes, prioritized)
    state, time = replay.init(jax.tree.map(lambda x: x[0], make_rows(1, NUM_ENVS))), 0
    model = Model(NUM_ENVS, LENGTH, *sizes)
    model.first_row_only = False
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
        check_against(replay, state, model, prioritized)


@pytest.mark.parametrize("prioritized", [False, True])
def test_every_period_has_its_sequence_and_all_are_drawn_alike(prioritized):
    config = ReplayConfig(
        capacity=3 * 40, batch_size=6, warmup_steps=200, prioritized=prioritized
    )
    replay = compiled(config.build(sequence_length=9, num_envs=3, period=4))
    rows = make_rows(33, 3)
    rows = rows._replace(is_last=np.zeros_like(rows.is_last))
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    state = replay.add(replay.add(state, rows), rows)  # rows 26 to 65 are there
    keys = jax.random.split(jax.random.key(0), 1000)
    slots = jax.jit(jax.vmap(lambda key: replay.sample(state, key, 1.0).slot))(keys)
    counts = np.bincount(np.asarray(slots).reshape(-1), minlength=120).reshape(3, 40)
    begin = np.arange(28, 66 - 9 + 1, 4) % 40
    assert replay.num_sequences(state) == 3 * len(begin)
    assert counts[:, begin].sum() == counts.sum()
    assert scipy.stats.chisquare(counts[:, begin].reshape(-1)).pvalue > 1e-4


def test_memory_is_kept_for_the_rows_that_begin_a_sequence():
    config = ReplayConfig(capacity=3 * 40, batch_size=6, warmup_steps=200)
    rows = jax.tree.map(lambda x: x[0], make_rows(1, 3))
    whole, some = (
        config.build(sequence_length=9, num_envs=3, period=period).init(rows).stored
        for period in (1, 8)
    )
    assert whole.memory == ()
    assert [x.shape for x in some.memory] == [(3, 5, 5), (3, 5)]
    # 5 float32 and a bool.
    assert whole.words.shape[-1] - some.words.shape[-1] == 5 + 1


@pytest.mark.parametrize("num_steps", [1, 10])
def test_a_compiled_cycle_copies_neither_rows_nor_memory_nor_priorities(num_steps):
    config = ReplayConfig(
        capacity=2**16, batch_size=32, warmup_steps=2**16, prioritized=True
    )
    replay = config.build(sequence_length=19, num_envs=8, period=8)
    rows = make_rows(num_steps, 8)
    state = replay.init(jax.tree.map(lambda x: x[0], rows))

    def cycle(state, key):
        state = jax.lax.optimization_barrier(replay.add(state, rows))
        sample = replay.sample(state, key, 0.4)
        priority = jnp.abs(sample.trajectory.reward[0]) * sample.weight
        state, refused = replay.set_priorities(state, sample.slot, priority)
        seen = sample.trajectory.observation["number"], sample.trajectory.memory
        return state, (refused, seen)

    run = jax.jit(lambda *x: jax.lax.scan(cycle, *x), donate_argnums=0)
    keys = jax.random.split(jax.random.key(0), 10)
    program = run.lower(state, keys).compile().as_text() or ""
    width = state.stored.words.shape[-1]
    kinds = [r"u32\[8,8192,\d+\]", rf"u32\[65536,{width}\]", r"f32\[8192\]"]
    kinds += [r"f32\[8,1024,5\]", r"f32\[8192,5\]", r"pred\[8,1024\]"]
    for kind in kinds:
        assert re.search(rf"= {kind}\S* ", program)
        assert not re.findall(rf"= {kind}\S* copy\(", program)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"period": 0}, "period must be at least 1, got 0"),
        ({"capacity": 47}, "capacity must be at least 48 rows, got 47"),
        ({"warmup_steps": 47}, "warmup_steps must be at least 48, got 47"),
    ],
)
def test_sizes_that_cannot_work_are_refused(settings, message):
    sizes = {"capacity": 400, "warmup_steps": 60, "period": 4} | settings
    period = sizes.pop("period")
    config = ReplayConfig(batch_size=8, **sizes)
    with pytest.raises(ValueError, match=message):
        config.build(sequence_length=5, num_envs=4, period=period)
