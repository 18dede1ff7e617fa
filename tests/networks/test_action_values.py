"""Networks of action values: interface, choices, and errors before anything runs."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

FLAT = ArraySpec((4,), np.float32)
CELLS = ArraySpec((10, 10, 4), np.float32, 0, 1)
NESTED = {"cells": CELLS, "place": ArraySpec((), np.int32, 0, 15)}


def spec(observation: Any = FLAT) -> EnvironmentSpec:
    return EnvironmentSpec("Test-v0", observation, DiscreteSpec(3))


def network(num_values: int = 1, cosines: int | None = None, **settings) -> QNetwork:
    config = QNetworkConfig(**{"hidden": (8,), **settings})
    return config.build(spec())(num_values, cosines=cosines)


PARTS = list(itertools.product([None, 16], [False, True], [False, True]))


@pytest.mark.parametrize(("cosines", "dueling", "noisy"), PARTS)
def test_parts_combine_freely_and_leading_axes_change_nothing(cosines, dueling, noisy):
    net = network(
        num_values=1 if cosines else 5,
        cosines=cosines,
        head_hidden=(6,),
        dueling=dueling,
        noisy=noisy,
    )
    assert net.num_actions == 3
    rows = jax.random.normal(jax.random.key(2), (2, 3, 4))
    fractions: Any = None
    if cosines:
        fractions = jax.random.uniform(jax.random.key(3), (2, 3, 5))

    @jax.jit
    def values() -> tuple[jax.Array, jax.Array, jax.Array]:
        params, noise = net.init(jax.random.key(0)), net.noise(jax.random.key(1))
        one_fractions = fractions[1, 2] if cosines else None
        return (
            net.apply(params, rows, noise, fractions),
            net.apply(params, rows[1, 2], noise, one_fractions),
            net.apply(params, rows, None, fractions),
        )

    noisy_values, one, means = values()
    assert noisy_values.shape == (2, 3, 3, 5)
    np.testing.assert_allclose(one, noisy_values[1, 2], rtol=1e-4, atol=1e-5)
    assert np.allclose(means, noisy_values, atol=1e-6) == (not noisy)


@pytest.mark.parametrize("observation", [FLAT, CELLS, NESTED])
def test_every_kind_of_observation_has_values(observation):
    net = QNetworkConfig(hidden=(8,)).build(spec(observation))()
    params = jax.jit(net.init)(jax.random.key(0))
    rows = jax.tree.map(
        lambda leaf: jnp.ones((2, 3, *leaf.shape), leaf.dtype),
        observation,
        is_leaf=lambda node: isinstance(node, ArraySpec),
    )
    assert net.apply(params, rows, ()).shape == (2, 3, 3, 1)


@pytest.mark.parametrize("kind", ["lstm", "gru", "min_gru"])
def test_values_of_a_sequence_are_those_of_each_of_its_episodes_alone(kind):
    config = QNetworkConfig(hidden=(8,), core=CoreConfig(kind, 5), noisy=True)
    net = config.build(spec())(cosines=4, may_remember=True)
    ends = (0, 3, 4, 9)  # three episodes, the second of one row
    is_first = jnp.zeros((9, 2), bool).at[jnp.array(ends[1:-1])].set(True)

    @jax.jit
    def values() -> tuple:
        keys = jax.random.split(jax.random.key(0), 5)
        params, noise = net.init(keys[0]), net.noise(keys[1])
        rows = jax.random.normal(keys[2], (9, 2, 4))
        fractions = jax.random.uniform(keys[3], (9, 2, 5))
        memory = jax.tree.map(
            lambda x: jax.random.normal(keys[4], x.shape), net.initial_memory(2)
        )

        def read(memory: Any, start: int, end: int, is_first: jax.Array) -> tuple:
            return net.unroll(
                params,
                memory,
                rows[start:end],
                is_first,
                noise=noise,
                fractions=fractions[start:end],
            )

        alone, last = [], memory
        for number, (start, end) in enumerate(itertools.pairwise(ends)):
            begin = net.initial_memory(2) if number else memory
            last, answer = read(begin, start, end, jnp.zeros((end - start, 2), bool))
            alone.append(answer)
        return read(memory, 0, 9, is_first), (last, jnp.concatenate(alone))

    together, alone = values()
    assert together[1].shape == (9, 2, 3, 5)
    for got, wanted in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_without_hidden_layers_values_are_linear_in_the_observation():
    net = network(hidden=())
    params = jax.jit(net.init)(jax.random.key(0))
    rows = jax.random.normal(jax.random.key(1), (5, 4))
    got = net.apply(params, rows, ())[..., 0]
    kernel = params["params"]["head"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(got, rows @ kernel, rtol=1e-5, atol=1e-6)


def test_quantiles_of_an_implicit_network_depend_on_their_own_fraction_alone():
    net = network(cosines=16, hidden=(32,))
    params = jax.jit(net.init)(jax.random.key(0))
    rows = jax.random.normal(jax.random.key(1), (2, 4))
    fractions = jnp.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9]])
    got = net.apply(params, rows, (), fractions)
    moved = net.apply(params, rows, (), fractions.at[0, 1].set(0.2))
    changed = np.asarray(got != moved).any(axis=1)  # [B, N]
    np.testing.assert_array_equal(changed, [[False, True, False], [False] * 3])


def test_noise_is_one_vector_for_the_layers_after_the_torso_and_nothing_without():
    net = network(noisy=True, head_hidden=(6,), hidden=(8,))
    assert net.noise(jax.random.key(0)).shape == ((8 + 6) + (6 + 3),)
    assert net.noise(jax.random.key(0)).dtype == jnp.float32
    assert network().noise(jax.random.key(0)) == ()
    torso = net.init(jax.random.key(0))["params"]["torso"]
    assert set(torso["Dense_0"]) == {"kernel", "bias"}


def test_sigmas_begin_at_the_noise_asked_for():
    params = network(noisy=True, noisy_std=0.25).init(jax.random.key(0))
    sigma = params["params"]["head"]["NoisyDense_0"]["kernel_sigma"]
    np.testing.assert_allclose(sigma, 0.25 / 8**0.5, rtol=1e-6)


def test_continuous_actions_are_refused_in_one_line():
    action = ArraySpec((2,), np.float32, -1.0, 1.0)
    with pytest.raises(ValueError, match="needs discrete actions, but Pend") as error:
        QNetworkConfig().build(EnvironmentSpec("Pendulum-v1", FLAT, action))
    assert "\n" not in str(error.value) and "(2,)" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_values": 0}, "^num_values must be at least 1, got 0"),
        ({"cosines": 0}, "^cosines must be at least 1, got 0"),
        ({"num_values": 5, "cosines": 4}, "cosines=4 with num_values=5"),
    ],
)
def test_impossible_outputs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize(
    ("cosines", "fractions", "message"),
    [
        (None, jnp.ones((2, 5)), "^fractions are for an implicit network"),
        (4, None, "^an implicit network needs fractions"),
        (4, jnp.ones((3, 5)), r"^fractions have shape \(3, 5\), expected \[N\]"),
    ],
)
def test_fractions_are_given_exactly_to_implicit_networks(cosines, fractions, message):
    net = network(cosines=cosines)
    params = jax.jit(net.init)(jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        net.apply(params, jnp.ones((2, 4)), (), fractions)


def test_fractions_may_be_the_same_for_all_observations():
    net = network(cosines=4)
    params, rows = net.init(jax.random.key(0)), jnp.arange(8.0).reshape(2, 4)
    fractions = jnp.array([0.1, 0.5, 0.9])
    shared = net.apply(params, rows, (), fractions)
    each = net.apply(params, rows, (), jnp.stack([fractions] * 2))
    np.testing.assert_allclose(shared, each, rtol=1e-6)


def test_noise_of_another_network_is_refused():
    net = network(noisy=True)
    params = jax.jit(net.init)(jax.random.key(0))
    with pytest.raises(ValueError, match=r"noise has shape \(4,\), expected \(11,\)"):
        net.apply(params, jnp.ones((2, 4)), jnp.ones(4))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden": (64, 0)}, r"^hidden\[1\] must be at least 1, got 0"),
        ({"head_hidden": (0,)}, r"^head_hidden\[0\] must be at least 1, got 0"),
        ({"noisy_std": 0.0}, "^noisy_std must be above 0, got 0.0"),
    ],
)
def test_impossible_settings_are_refused_by_name(setting, message):
    with pytest.raises(ValueError, match=message):
        QNetworkConfig(**setting)


def test_every_setting_is_a_flag():
    got = tyro.cli(
        QNetworkConfig,
        args=["--hidden", "32", "16", "--head-hidden", "8", "--dueling", "--noisy"],
    )
    assert got == QNetworkConfig(
        hidden=(32, 16), head_hidden=(8,), dueling=True, noisy=True
    )
