"""Heads of action values, and the embedding of fractions, against plain numbers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.action_value_heads import (
    ActionValueHead,
    CosineEmbedding,
    cosine_of_half_turns,
)
from jaxrl_dist.networks.noisy import draw_noise

FEATURES = jax.random.normal(jax.random.key(1), (2, 4, 6))


def fresh(module: nn.Module, *inputs: Any) -> Any:
    """New parameters."""
    return jax.jit(module.init)(jax.random.key(0), *inputs)


def outputs(module: nn.Module, params: Any, *inputs: Any) -> Any:
    return module.apply(params, *inputs)


def test_a_dueling_head_adds_value_and_centred_advantages_of_each_number():
    head = ActionValueHead(num_actions=2, num_values=3, dueling=True)
    # Per column: the three numbers of the value, then those of action 0 and action 1.
    kernel = jnp.array([[1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 12.0, 26.0, 38.0]])
    params = {"params": {"Dense_0": {"kernel": kernel, "bias": jnp.zeros(9)}}}
    got = outputs(head, params, jnp.ones((1, 1)), None)
    expected = [[[1.0 - 1.0, 2.0 - 3.0, 3.0 - 4.0], [1.0 + 1.0, 2.0 + 3.0, 3.0 + 4.0]]]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_both_streams_of_a_dueling_head_have_hidden_layers_of_their_own():
    head = ActionValueHead(num_actions=2, hidden=(3,), dueling=True)
    params = fresh(head, FEATURES, None)
    layers = params["params"]
    first, value, advantage = (layers[f"Dense_{number}"] for number in range(3))
    hidden = np.maximum(FEATURES @ first["kernel"], 0.0)
    values = hidden[..., :3] @ value["kernel"]
    advantages = hidden[..., 3:] @ advantage["kernel"]
    expected = values + advantages - advantages.mean(axis=-1, keepdims=True)
    got = outputs(head, params, FEATURES, None)
    assert got.shape == (2, 4, 2, 1)
    np.testing.assert_allclose(got[..., 0], expected, rtol=1e-4, atol=1e-5)


def test_hidden_and_output_weights_begin_with_the_variances_of_he_and_lecun():
    head = ActionValueHead(num_actions=40, num_values=10, hidden=(500,))
    layers = fresh(head, jnp.ones((1, 200)), None)["params"]
    hidden, output = (np.asarray(layers[f"Dense_{n}"]["kernel"]) for n in range(2))
    np.testing.assert_allclose(hidden.std(), (2 / 200) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(output.std(), (1 / 500) ** 0.5, rtol=0.02)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_every_noisy_layer_gets_noise_of_its_own_and_all_of_it(dueling, hidden):
    head = ActionValueHead(
        num_actions=3, num_values=2, hidden=hidden, dueling=dueling, noisy_std=0.5
    )
    params = fresh(head, FEATURES, None)
    sigmas = [
        leaf
        for path, leaf in jax.tree.leaves_with_path(params)
        if "kernel_sigma" in jax.tree_util.keystr(path)
    ]
    size = sum(head.noise_sizes(6))
    assert size == sum(sum(sigma.shape) for sigma in sigmas)
    noise = draw_noise(jax.random.key(2), size)
    gradient = jax.grad(lambda n: jnp.sum(outputs(head, params, FEATURES, n) ** 2))(
        noise
    )
    # Only units that no activation cuts off pass a gradient on; most do.
    assert (gradient != 0).mean() > 0.5
    parts = jnp.split(gradient, np.cumsum(head.noise_sizes(6))[:-1])
    assert all(part.any() for part in parts)


def test_layer_norm_applies_to_hidden_layers_and_not_to_outputs():
    head = ActionValueHead(num_actions=3, hidden=(5, 4), layer_norm=True, dueling=True)
    layers = fresh(head, FEATURES, None)["params"]
    norms = [layers[name]["scale"].shape for name in layers if "LayerNorm" in name]
    assert sorted(norms) == [(4,), (4,), (5,), (5,)]


def test_fractions_are_embedded_as_the_paper_says():
    num_cosines, num_features = 7, 6
    fractions = jax.random.uniform(jax.random.key(2), (2, 4, 3))
    module = CosineEmbedding(num_cosines)
    params = fresh(module, FEATURES, fractions)
    params = jax.tree.map(lambda x: x + 0.1, params)
    got = outputs(module, params, FEATURES, fractions)
    layer = params["params"]["Dense_0"]
    for index in np.ndindex(2, 4, 3):
        tau = float(fractions[index])
        for j in range(num_features):
            inside = float(layer["bias"][j]) + sum(
                np.cos(np.pi * i * tau) * float(layer["kernel"][i, j])
                for i in range(num_cosines)
            )
            expected = float(FEATURES[index[:2]][j]) * max(inside, 0.0)
            np.testing.assert_allclose(got[index][j], expected, rtol=1e-4, atol=1e-5)


def test_cosine_of_half_turns_is_that_of_any_argument():
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(0, 128, 10_000), np.arange(-300, 300) / 2])
    x = x.astype(np.float32)
    expected = np.cos(np.pi * x.astype(np.float64))
    got = jax.jit(cosine_of_half_turns)(x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-7)
