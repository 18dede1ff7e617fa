"""Draws in proportion to priorities: frequencies, zeros, strata; sums without drift."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxrl_dist.replay import priorities

BATCH_SIZE = 1024


@functools.partial(jax.jit, static_argnums=(1, 2))
def count_draws(levels, num_batches: int, batch_size: int = BATCH_SIZE) -> jax.Array:
    """How often each item is drawn in a number of batches."""

    def one(counts: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        bits = jax.random.bits(key, (2, batch_size), jnp.uint32)
        items, _ = priorities.draw(levels, bits)
        return counts.at[items].add(1), None

    zeros = jnp.zeros(levels[0].size, jnp.int32)
    keys = jax.random.split(jax.random.key(0), num_batches)
    return jax.lax.scan(one, zeros, keys)[0]


def check_frequencies(num_items: int, num_draws: int, batch_size: int) -> None:
    """Compares the counts with the exact probabilities by chi-square."""
    rng = np.random.default_rng(num_items)
    items = rng.gamma(2.0, size=num_items).astype(np.float32)
    items[rng.random(num_items) < 0.1] = 0.0
    levels = priorities.build_levels(jnp.asarray(items))
    num_batches = num_draws // batch_size
    counts = np.asarray(count_draws(levels, num_batches, batch_size))[:num_items]
    exact = items.astype(np.float64) / items.sum(dtype=np.float64)
    expected = exact * num_batches * batch_size
    assert not counts[expected == 0].any()
    # Cells of few expected draws are put together, in the order of the items.
    cells = np.cumsum(expected) // 8
    kept = expected > 0
    firsts = np.flatnonzero(np.diff(cells[kept], prepend=-1))
    seen = np.add.reduceat(counts[kept], firsts)
    due = np.add.reduceat(expected[kept], firsts)
    statistic = np.sum((seen - due) ** 2 / due)
    assert scipy.stats.chi2.sf(statistic, len(due) - 1) > 1e-4


@pytest.mark.parametrize("batch_size", [1, 32])
def test_frequencies_at_2_to_the_10(batch_size):
    check_frequencies(2**10, 2**16, batch_size)


def test_frequencies_at_2_to_the_17():
    check_frequencies(2**17, 2**21, 2**12)


@pytest.mark.slow
def test_frequencies_at_2_to_the_20():
    check_frequencies(2**20, 10**7, 256)


def test_the_first_and_the_last_item_of_every_block_get_their_share():
    size = 2**17
    items = np.ones(size, np.float32)
    levels = priorities.build_levels(jnp.asarray(items))
    counts = np.asarray(count_draws(levels, 2**11))
    radix = priorities.radix_of(levels)
    expected = counts.sum() / radix
    by_place = counts.reshape(-1, radix).sum(0)
    np.testing.assert_allclose(by_place, expected, atol=5 * np.sqrt(expected))


@pytest.mark.parametrize("num_items", [40, 2**12, 2**17])
def test_items_of_priority_0_are_not_drawn(num_items):
    check_zeros(num_items, 2**18)


@pytest.mark.slow
@pytest.mark.parametrize("num_items", [2**10, 2**17, 2**20])
def test_items_of_priority_0_are_not_drawn_in_10_million_draws(num_items):
    check_zeros(num_items, 10**7)


def check_zeros(num_items: int, num_draws: int) -> None:
    """Draws where priorities of every magnitude stand between many zeros."""
    rng = np.random.default_rng(0)
    items = (10.0 ** rng.uniform(-30, 30, num_items)).astype(np.float32)
    items[rng.random(num_items) < 0.5] = 1.0
    items[rng.random(num_items) < 0.7] = 0.0
    items[-(num_items // 3) :] = 0.0
    levels = priorities.build_levels(jnp.asarray(items))
    counts = np.asarray(count_draws(levels, -(-num_draws // BATCH_SIZE)))[:num_items]
    assert counts.sum() >= num_draws
    assert not counts[items == 0].any()


def test_draws_are_stratified_down_to_single_items():
    items = np.ones(2**15, np.float32)
    items[777] = 2**15 - 1  # half of the total
    levels = priorities.build_levels(jnp.asarray(items))
    draw = jax.jit(priorities.draw)
    for seed in range(20):
        bits = jax.random.bits(jax.random.key(seed), (2, 256), jnp.uint32)
        drawn, _ = draw(levels, bits)
        assert abs(int(jnp.sum(drawn == 777)) - 128) <= 1
        assert (jnp.diff(drawn) >= 0).all()


def test_the_priority_of_each_item_drawn_is_returned_exactly():
    items = jax.random.uniform(jax.random.key(1), (5000,)) ** 9
    bits = jax.random.bits(jax.random.key(2), (2, 4096), jnp.uint32)
    drawn, values = priorities.draw(priorities.build_levels(items), bits)
    np.testing.assert_array_equal(values, items[drawn])


def test_one_item_among_a_million_zeros_is_found():
    for where in (12345, 2**20 - 1):
        levels = priorities.build_levels(jnp.zeros(2**20).at[where].set(1e-20))
        bits = jax.random.bits(jax.random.key(where), (2, 64), jnp.uint32)
        drawn, _ = priorities.draw(levels, bits)
        np.testing.assert_array_equal(drawn, where)


@pytest.mark.parametrize("size", [100, 5000, 2**15 + 5, 2**18 + 9])
def test_levels_equal_a_rebuild_bit_for_bit_after_many_updates(size):
    def one(levels: tuple, key: jax.Array) -> tuple[tuple, None]:
        keys = jax.random.split(key, 4)
        items = jax.random.randint(keys[0], (64,), 0, size + 3)  # a few out of bounds
        levels = priorities.set_items(
            levels,
            jnp.where(items < size, items, levels[0].size),
            jax.random.exponential(keys[1], (64,)) ** 3,
        )
        position = jax.random.randint(keys[2], (), 0, size)
        values = jax.random.exponential(keys[3], (50,)) ** 3
        return priorities.set_window(levels, values, position, length=size), None

    levels = priorities.build_levels(jnp.zeros(size))
    keys = jax.random.split(jax.random.key(0), 2000)
    levels, _ = jax.jit(lambda *x: jax.lax.scan(one, *x))(levels, keys)
    rebuilt = priorities.build_levels(levels[0])
    jax.tree.map(np.testing.assert_array_equal, levels, rebuilt)
    assert (levels[0][:size] > 0).mean() > 0.3
    assert not levels[0][size:].any()


def test_of_several_values_for_one_item_the_greatest_is_kept():
    levels = priorities.build_levels(jnp.full(5000, 9.0))
    items = jnp.array([7, 3, 7, 7, 4999, 3])
    values = jnp.array([0.25, 2.0, 0.75, 0.5, 0.0, 1.0])
    for order in (slice(None), slice(None, None, -1)):
        new = priorities.set_items(levels, items[order], values[order])
        np.testing.assert_array_equal(new[0][jnp.array([7, 3, 4999])], [0.75, 2.0, 0.0])
        np.testing.assert_array_equal(new[0][8], 9.0)


def test_a_window_wraps_around_the_end():
    levels = priorities.build_levels(jnp.zeros(5000))
    values = jnp.arange(1.0, 11.0)
    levels = priorities.set_window(levels, values, jnp.int32(4993), length=5000)
    np.testing.assert_array_equal(levels[0][4993:5000], values[:7])
    np.testing.assert_array_equal(levels[0][:3], values[7:])
    rebuilt = priorities.build_levels(levels[0])
    jax.tree.map(np.testing.assert_array_equal, levels, rebuilt)


def test_the_ends_of_a_block_that_are_0_are_not_taken():
    blocks = jnp.array([[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]] * 3)
    fraction = jnp.array([0.0, 1 / 3 - 1e-6, priorities.BELOW_ONE])
    child, _, value = priorities.descend(blocks, fraction)
    np.testing.assert_array_equal(child, [1, 1, 3])
    np.testing.assert_array_equal(value, [1.0, 1.0, 2.0])


@pytest.mark.parametrize("bits", [0, 2**32 - 1])
@pytest.mark.parametrize("num_items", [40, 2**15])
def test_the_least_and_the_greatest_random_bits_find_items_above_0(bits, num_items):
    items = jnp.zeros(num_items).at[num_items // 4 : num_items // 2 : 3].set(0.7)
    drawn, values = priorities.draw(
        priorities.build_levels(items), jnp.full((2, 64), bits, jnp.uint32)
    )
    np.testing.assert_array_equal(values, items[drawn])
    assert (values > 0).all()
