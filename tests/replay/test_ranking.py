"""How priorities enter, are refused and turn into weights; on one device and on two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.replay.sequences import Replay, ReplayConfig, ReplayState
from tests.replay.model import compiled, make_rows

NUM_ENVS, LENGTH = 4, 16


@functools.cache
def make_replay(sequence_length: int = 2, *, alpha: float = 1.0, **options) -> Replay:
    """A prioritized replay of 4 environments with rings of 16 rows."""
    config = ReplayConfig(
        capacity=NUM_ENVS * LENGTH,
        batch_size=8,
        warmup_steps=100,
        prioritized=True,
        alpha=alpha,
    )
    return compiled(
        config.build(sequence_length=sequence_length, num_envs=NUM_ENVS, **options)
    )


def fill(replay: Replay, num_steps: int = LENGTH, is_last: bool = False) -> ReplayState:
    """A state with some rows, none or all of them last."""
    rows = make_rows(num_steps, NUM_ENVS)
    rows = rows._replace(is_last=np.full(rows.is_last.shape, is_last))
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    return replay.add(state, rows)


def items_of(state: ReplayState) -> np.ndarray:
    """Priorities to the power of alpha, [environments, ring]."""
    items = np.array(state.ranking.levels[0])[: NUM_ENVS * LENGTH]
    return items.reshape(LENGTH, NUM_ENVS).T


def slots(*places: tuple[int, int]) -> jax.Array:
    """Slots of (environment, position)."""
    return jnp.array([e * LENGTH + p for e, p in places], jnp.int32)


def test_new_sequences_enter_at_the_greatest_priority_ever_set():
    replay = make_replay(alpha=0.5)
    state = fill(replay, 3)
    np.testing.assert_array_equal(items_of(state)[:, :3], [[1.0, 1.0, 0.0]] * 4)
    state, _ = replay.set_priorities(state, slots((0, 0)), jnp.array([9.0]))
    state, _ = replay.set_priorities(state, slots((0, 0)), jnp.array([4.0]))
    rows = make_rows(1, NUM_ENVS)._replace(is_last=np.zeros((1, NUM_ENVS), bool))
    state = replay.add(state, rows)
    np.testing.assert_array_equal(items_of(state)[0, :4], [2.0, 1.0, 3.0, 0.0])


def test_given_priorities_belong_to_the_sequences_that_become_complete():
    replay = make_replay(3)
    rows = make_rows(4, NUM_ENVS)
    rows = rows._replace(is_last=np.zeros((4, NUM_ENVS), bool))
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    priority = jnp.arange(16.0).reshape(4, 4) + 1
    state = replay.add(state, rows, priority)
    # Two sequences do not exist yet; theirs are ignored.
    np.testing.assert_array_equal(items_of(state)[:, :4].T[:2], priority[2:])
    assert not items_of(state)[:, 2:].any()
    assert state.ranking.greatest == 16.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0])
def test_a_bad_priority_given_with_rows_becomes_the_greatest_so_far(bad):
    replay = make_replay()
    rows = make_rows(2, NUM_ENVS)._replace(is_last=np.zeros((2, NUM_ENVS), bool))
    state = replay.init(jax.tree.map(lambda x: x[0], rows))
    priority = jnp.full((2, NUM_ENVS), 0.25).at[1, 2].set(bad)
    state = replay.add(state, rows, priority)
    np.testing.assert_array_equal(items_of(state)[:, 0], [0.25, 0.25, 1.0, 0.25])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0])
def test_a_bad_priority_changes_nothing_and_is_counted(bad):
    replay = make_replay()
    state = fill(replay)
    before, _ = replay.set_priorities(state, slots((1, 5)), jnp.array([3.0]))
    places = slots((1, 5), (0, 0), (2, 2), (2, 2))
    after, refused = replay.set_priorities(
        before, places, jnp.array([bad, 2.0, bad, 0.5])
    )
    assert refused == 2
    expected = items_of(before)
    expected[0, 0], expected[2, 2] = 2.0, 0.5
    np.testing.assert_array_equal(items_of(after), expected)
    assert after.ranking.greatest == 3.0


def test_a_sequence_that_is_not_complete_cannot_be_given_a_priority():
    replay = make_replay(4)
    state = fill(replay, 6)
    places = slots((0, 2), (0, 3), (0, 5), (0, 6), (0, 15))
    state, refused = replay.set_priorities(state, places, jnp.full(5, 7.0))
    np.testing.assert_array_equal(np.flatnonzero(items_of(state)[0] == 7.0), [2])
    assert not items_of(state)[0, 3:].any()
    assert refused == 0


def test_a_priority_of_0_can_be_raised_again():
    replay = make_replay()
    state = fill(replay)
    for value in (0.0, 0.5):
        state, _ = replay.set_priorities(state, slots((3, 3)), jnp.array([value]))
        assert items_of(state)[3, 3] == value


@pytest.mark.parametrize("first_row_only", [True, False])
def test_a_sequence_that_begins_with_a_last_row_enters_only_if_it_can_teach(
    first_row_only,
):
    replay = make_replay(first_row_only=first_row_only)
    assert items_of(fill(replay, is_last=True)).any() == (not first_row_only)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_weights_undo_the_probabilities(alpha):
    replay = make_replay(alpha=alpha)
    state = fill(replay)
    complete = [(e, p) for e in range(NUM_ENVS) for p in range(LENGTH - 1)]
    raw = np.random.default_rng(0).gamma(1.0, size=len(complete)).astype(np.float32)
    state, _ = replay.set_priorities(state, slots(*complete), jnp.asarray(raw))
    by_slot = dict(zip(slots(*complete).tolist(), raw.tolist(), strict=True))
    for beta in (0.0, 0.4, 1.0):
        sample = replay.sample(state, jax.random.key(3), beta)
        drawn = np.array([by_slot[int(slot)] ** alpha for slot in sample.slot])
        expected = (drawn.min() / drawn) ** beta
        np.testing.assert_allclose(sample.weight, expected, rtol=1e-5)


def test_with_nothing_to_draw_the_weights_are_0():
    replay = make_replay()
    sample = replay.sample(fill(replay, is_last=True), jax.random.key(0), 0.4)
    assert not sample.weight.any()


def test_finite_priorities_of_any_size_stay_drawable_and_finite():
    replay = make_replay()
    state = fill(replay)
    places = slots((0, 0), (1, 1))
    for value in (3e38, 1e-37):
        state, _ = replay.set_priorities(state, places, jnp.full(2, value))
        assert np.isfinite(items_of(state)).all()
        assert (items_of(state)[[0, 1], [0, 1]] > 0).all()
        sample = replay.sample(state, jax.random.key(0), 1.0)
        assert np.isfinite(sample.weight).all()


def test_weights_are_normalised_over_the_batch_of_all_devices():
    replay = make_replay(num_devices=2, axis_name="devices")
    rows = make_rows(LENGTH, NUM_ENVS)._replace(
        is_last=np.zeros((LENGTH, NUM_ENVS), bool)
    )
    halves = jax.tree.map(lambda x: np.stack([x[:, :2], x[:, 2:]]), rows)
    priority = np.random.default_rng(0).gamma(1.0, size=(2, LENGTH, 2))
    priority = priority.astype(np.float32) * np.array([1, 10])[:, None, None]

    def one(rows, priority, key):
        state = replay.init(jax.tree.map(lambda x: x[0], rows))
        state = replay.add(state, rows, jnp.asarray(priority, jnp.float32))
        return state.ranking.levels[0], replay.sample(state, key, 0.7)

    keys = jax.random.split(jax.random.key(0), 2)
    items, sample = jax.pmap(one, axis_name="devices")(halves, priority, keys)
    assert sample.weight.shape == (2, 4)
    positions = sample.slot % LENGTH * 2 + sample.slot // LENGTH
    drawn = np.take_along_axis(np.asarray(items), np.asarray(positions), axis=1)
    probabilities = drawn / np.asarray(items).sum(1, keepdims=True)
    expected = (probabilities.min() / probabilities) ** 0.7
    np.testing.assert_allclose(sample.weight, expected, rtol=1e-4)
