"""Replay on the device against a plain Python model."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.replay import priorities
from jaxrl_dist.replay.sequences import Replay, ReplayConfig
from tests.replay.model import Model, make_rows

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
    return replay._replace(
        add=jax.jit(replay.add),
        sample=jax.jit(replay.sample),
        set_priorities=jax.jit(replay.set_priorities),
    )


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


@hypothesis.settings(deadline=None, max_examples=40)
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
