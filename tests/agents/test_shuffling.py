"""The shuffle is a bijection for every size, and favours no place and no neighbour."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.shuffling import permutation

SIZES = [1, 2, 7, 30, 63, 64, 72, 97, 100, 121, 1024, 1000, 2 * 509, 8192, 128 * 100]


def many(size: int, number: int, seed: int = 0) -> np.ndarray:
    """Permutations [number, size] by different keys."""
    keys = jax.random.split(jax.random.key(seed), number)
    return np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, size)))(keys))


def excess(counts: np.ndarray, num_free: int) -> float:
    """Chi-square of counts that should be equal, in deviations above its mean."""
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    return (chi_square - num_free) / np.sqrt(2 * num_free)


@pytest.mark.parametrize("size", SIZES)
def test_every_number_comes_once(size):
    order = permutation(jax.random.key(3), size)
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


@pytest.mark.parametrize("size", [64, 128])
def test_every_number_comes_to_every_place_equally_often(size):
    orders = many(size, 20_000)
    places = np.arange(size)[None] * size + orders
    counts = np.bincount(places.ravel(), minlength=size**2)
    assert abs(excess(counts, (size - 1) ** 2)) < 5


@pytest.mark.parametrize("size", [64, 128])
def test_every_number_follows_every_other_equally_often(size):
    orders = many(size, 20_000, seed=1)
    pairs = orders[:, :-1] * size + orders[:, 1:]
    counts = np.bincount(pairs.ravel(), minlength=size**2).reshape(size, size)
    assert not counts.diagonal().any()
    others = counts[~np.eye(size, dtype=bool)]
    assert abs(excess(others, size * (size - 1) - 1)) < 5


@pytest.mark.parametrize("distance", [1, 8])
def test_numbers_near_each_other_do_not_stay_together(distance):
    """Any two of 64 fall into one of 4 minibatches with a chance of 15 in 63."""
    size, number = 64, 5_000
    minibatch = np.argsort(many(size, number, seed=2), axis=1) // (size // 4)
    together = minibatch[:, :-distance] == minibatch[:, distance:]
    chance = (size // 4 - 1) / (size - 1)
    spread = np.sqrt(chance * (1 - chance) / number)
    assert np.abs(together.mean(0) - chance).max() < 5 * spread


def test_other_keys_give_other_orders():
    orders = many(64, 1_000)
    assert len({tuple(order) for order in orders}) == 1_000


def test_compiled_and_mapped_it_is_the_same():
    keys = jax.random.split(jax.random.key(0), 3)
    plain = [permutation(key, 96) for key in keys]
    np.testing.assert_array_equal(many(96, 3), plain)
