"""Random actions: as often as epsilon says, evenly, and one epsilon per rung."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.agents.exploration import (
    Acting,
    ExplorationConfig,
    epsilon_at,
    epsilon_greedy,
    ladder_exponents,
    placed,
)
from jaxrl_dist.distribution import devices


def test_random_actions_are_as_frequent_as_epsilon_says_and_evenly_spread():
    number, epsilon = 200_000, 0.03
    values = jnp.zeros((number, 5)).at[:, 2].set(1.0)
    uniform = jax.random.uniform(jax.random.key(0), (number,))
    actions = epsilon_greedy(values, jnp.full(number, epsilon), uniform)
    shares = np.bincount(actions, minlength=5) / number
    expected = np.full(5, epsilon / 5)
    expected[2] += 1 - epsilon
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.006 / number))


def test_epsilon_0_is_greedy_and_1_random():
    values = jnp.zeros((1000, 2)).at[:, 1].set(1.0)
    uniform = jnp.linspace(0.0, 0.9999, 1000)
    assert (epsilon_greedy(values, jnp.zeros(1000), uniform) == 1).all()
    assert epsilon_greedy(values, jnp.ones(1000), uniform).sum() == 500


def test_epsilon_falls_linearly_and_stays():
    config = ExplorationConfig(0.8, 0.2, decay_fraction=0.25)
    got = [float(epsilon_at(config, jnp.float32(x))) for x in (0, 0.125, 0.25, 1)]
    np.testing.assert_allclose(got, [0.8, 0.5, 0.2, 0.2], rtol=1e-6)
    at_once = ExplorationConfig(0.8, 0.2, decay_fraction=0.0)
    assert float(epsilon_at(at_once, jnp.float32(0))) == np.float32(0.8)
    assert float(epsilon_at(at_once, jnp.float32(0.01))) == np.float32(0.2)


def test_the_ladder_is_that_of_ape_x_and_goes_on_over_devices():
    # 0.4^(1 + 7 i / (N - 1)): the figures of the paper's section 4.1 for N = 8.
    exponents = ladder_exponents(7.0, 8, None)
    np.testing.assert_allclose(exponents, np.arange(1, 9), rtol=1e-6)

    def rungs(_: jax.Array) -> jax.Array:
        return ladder_exponents(7.0, 4, devices.AXIS_NAME)

    both = devices.compile_for(2, rungs)(jnp.zeros(2))
    np.testing.assert_allclose(both.ravel(), exponents, rtol=1e-6)
    assert ladder_exponents(7.0, 1, None) == 1.0


def test_actors_share_one_ladder():
    exponents = ladder_exponents(7.0, 8, None)
    parts = [
        ladder_exponents(7.0, 4, None, placed(Acting((), jnp.ones(())), i, 8).place)
        for i in (0, 4)
    ]
    np.testing.assert_allclose(np.concatenate(parts), exponents, rtol=1e-6)
