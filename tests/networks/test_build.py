"""Networks chosen from specs: interface, choices, and errors before anything runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.distributions import (
    Categorical,
    DiagonalGaussian,
    TanhGaussian,
)
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

FLAT = ArraySpec((4,), np.float32)
CELLS = ArraySpec((10, 10, 4), np.float32, 0, 1)
SMALL = ArraySpec((30, 40, 3), np.uint8, 0, 255)
PIXELS = ArraySpec((84, 84, 4), np.uint8, 0, 255)
NESTED = {"cells": CELLS, "place": ArraySpec((), np.int32, 0, 15)}
DISCRETE = DiscreteSpec(3)
BOX = ArraySpec((2,), np.float32, -1.0, np.array([1.0, 3.0]))


def spec(
    observation: Any, action: DiscreteSpec | ArraySpec = DISCRETE
) -> EnvironmentSpec:
    return EnvironmentSpec("Test-v0", observation, action)


def zeros(observation, *leading):
    return jax.tree.map(
        lambda leaf: jnp.zeros((*leading, *leaf.shape), leaf.dtype),
        observation,
        is_leaf=lambda node: isinstance(node, ArraySpec),
    )


def torso_layers(params) -> set[str]:
    return set(params["params"]["policy_torso"])


@pytest.mark.parametrize("observation", [FLAT, CELLS, SMALL, NESTED])
@pytest.mark.parametrize("shared_torso", [False, True])
def test_act_and_unroll_agree_on_every_kind_of_observation(observation, shared_torso):
    network = ActorCriticConfig(shared_torso=shared_torso).build(spec(observation))
    params = jax.jit(network.init)(jax.random.key(0))
    memory = network.initial_memory(3)
    rows = jax.tree.map(lambda x: x + 1, zeros(observation, 2, 3))
    is_first = jnp.zeros((2, 3), bool)
    memory, whole, values = jax.jit(network.unroll)(params, memory, rows, is_first)
    assert values.shape == (2, 3)
    last = jax.tree.map(lambda x: x[1], rows)
    _, one = jax.jit(network.act)(params, memory, last, is_first[1])
    np.testing.assert_allclose(one.logits, whole.logits[1], rtol=1e-4, atol=1e-6)
    noise = network.noise(jax.random.key(1), 3)
    assert one.sample(noise).shape == (3,)
    assert not network.is_recurrent and memory == ()


@pytest.mark.parametrize(
    ("observation", "layers"),
    [
        (FLAT, {"Dense_0", "Dense_1"}),
        (ArraySpec((10, 5), np.int32, 0, 1), {"Dense_0", "Dense_1"}),
        (NESTED, {"Dense_0", "Dense_1"}),
        (CELLS, {"Conv_0", "Dense_0"}),
        (SMALL, {"Conv_0", "Dense_0"}),
        (PIXELS, {"Conv_0", "Conv_1", "Conv_2", "Dense_0"}),
    ],
)
def test_the_torso_is_chosen_from_the_observation(observation, layers):
    network = ActorCriticConfig().build(spec(observation))
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert torso_layers(params) == layers


def test_an_mlp_can_be_asked_for_on_an_image():
    network = ActorCriticConfig(torso="mlp", hidden=(8,)).build(spec(CELLS))
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert params["params"]["policy_torso"]["Dense_0"]["kernel"].shape == (400, 8)


def test_a_shared_torso_exists_once_and_gets_both_gradients():
    network = ActorCriticConfig(shared_torso=True).build(spec(FLAT))
    params = jax.jit(network.init)(jax.random.key(0))
    assert "value_torso" not in params["params"]
    gradient = jax.grad(
        lambda p: network.unroll(p, (), jnp.ones((1, 4)), None)[2].sum()
    )
    assert gradient(params)["params"]["policy_torso"]["Dense_0"]["kernel"].any()


def test_separate_torsos_keep_the_value_loss_from_the_policy():
    network = ActorCriticConfig().build(spec(FLAT))
    params = jax.jit(network.init)(jax.random.key(0))
    gradient = jax.grad(
        lambda p: network.unroll(p, (), jnp.ones((1, 4)), None)[2].sum()
    )
    policy = gradient(params)["params"]["policy_torso"]
    assert not any(leaf.any() for leaf in jax.tree.leaves(policy))


def test_act_computes_nothing_of_the_value_function():
    network = ActorCriticConfig().build(spec(FLAT))
    params = jax.jit(network.init)(jax.random.key(0))
    for name in ("value_torso", "value_head"):
        del params["params"][name]
    network.act(params, (), jnp.ones((1, 4)), jnp.zeros(1, bool))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("auto", DiagonalGaussian),
        ("gaussian", DiagonalGaussian),
        ("tanh_gaussian", TanhGaussian),
    ],
)
@pytest.mark.parametrize("state_dependent_std", [False, True])
def test_continuous_policies_sample_actions_of_the_right_shape(
    policy, expected, state_dependent_std
):
    config = ActorCriticConfig(policy=policy, state_dependent_std=state_dependent_std)
    network = config.build(spec(FLAT, BOX))
    params = jax.jit(network.init)(jax.random.key(0))
    _, distribution = network.act(params, (), jnp.ones((5, 4)), jnp.zeros(5, bool))
    assert isinstance(distribution, expected)
    action = distribution.sample(network.noise(jax.random.key(1), 5))
    assert action.shape == (5, 2)
    assert distribution.log_prob(action).shape == (5,)


def test_discrete_actions_get_a_categorical_policy():
    network = ActorCriticConfig().build(spec(FLAT))
    params = jax.jit(network.init)(jax.random.key(0))
    _, distribution = network.act(params, (), jnp.ones((5, 4)), jnp.zeros(5, bool))
    assert isinstance(distribution, Categorical)


@pytest.mark.parametrize(
    ("config", "observation", "action", "message"),
    [
        (
            {"torso": "nature_cnn"},
            FLAT,
            DISCRETE,
            "nature_cnn needs one image .* 4 feat",
        ),
        ({"torso": "impala_cnn"}, NESTED, DISCRETE, "impala_cnn needs one image"),
        (
            {"torso": "nature_cnn"},
            SMALL,
            DISCRETE,
            "from 36x36, but Test-v0 observes 30x40",
        ),
        (
            {"policy": "gaussian"},
            FLAT,
            DISCRETE,
            "policy=gaussian does not fit Test-v0",
        ),
        (
            {"policy": "categorical"},
            FLAT,
            BOX,
            "policy=categorical does not fit Test-v0",
        ),
        (
            {"policy": "tanh_gaussian"},
            FLAT,
            ArraySpec((1,), np.float32),
            "squashed by tanh needs finite bounds",
        ),
        ({}, FLAT, ArraySpec((), np.float32, 0, 1), r"actions of shape \(\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(config, observation, action, message):
    with pytest.raises(ValueError, match=message) as error:
        ActorCriticConfig(**config).build(spec(observation, action))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden": (64, 0)}, r"^hidden\[1\] must be at least 1, got 0"),
        ({"initial_std": 0.0}, "^initial_std must be above 0, got 0.0"),
    ],
)
def test_impossible_settings_are_refused_by_name(setting, message):
    with pytest.raises(ValueError, match=message):
        ActorCriticConfig(**setting)


def test_every_setting_is_a_flag():
    got = tyro.cli(
        ActorCriticConfig,
        args=["--torso", "mlp", "--hidden", "32", "16", "--shared-torso"],
    )
    assert got == ActorCriticConfig(torso="mlp", hidden=(32, 16), shared_torso=True)
