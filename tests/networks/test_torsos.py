"""Torsos: their sizes, their weights, and leading axes that change nothing."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.torsos import MLP, ImpalaCNN, MinAtarCNN, NatureCNN

IMAGES = [
    (MinAtarCNN(), (10, 10, 4), 128),
    (NatureCNN(), (36, 36, 1), 512),
    (ImpalaCNN(), (12, 16, 3), 256),
]


def shapes(torso: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """The parameters of a torso, as shapes only."""
    return jax.eval_shape(torso.init, jax.random.key(0), jnp.ones(input_shape))


def number_of_parameters(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def apply_new(torso: nn.Module, inputs: jax.Array) -> tuple[Any, Callable]:
    """Fresh parameters of a torso, and the torso with them."""
    params = torso.init(jax.random.key(0), inputs)
    return params, jax.jit(functools.partial(torso.apply, params))


@pytest.mark.parametrize(("torso", "shape", "units"), IMAGES)
def test_image_torsos_treat_every_image_alike_whatever_the_leading_axes(
    torso, shape, units
):
    images = jax.random.uniform(jax.random.key(1), (2, 3, *shape))
    _, apply = apply_new(torso, images)
    features = apply(images)
    assert features.shape == (2, 3, units)
    np.testing.assert_allclose(
        apply(images[1, 2]), features[1, 2], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    ("torso", "shape", "activations"),
    [
        (MinAtarCNN(layer_norm=True), (10, 10, 4), 2),
        (NatureCNN(layer_norm=True), (36, 36, 1), 4),
        (ImpalaCNN(layer_norm=True), (12, 16, 3), 3 * 4 + 2),
    ],
)
def test_layers_are_normalized_before_each_activation(torso, shape, activations):
    params = shapes(torso, (1, *shape))["params"]
    norms = [name for name in params if name.startswith("LayerNorm")]
    assert len(norms) == activations


def test_a_normalized_torso_does_not_depend_on_the_brightness_of_the_image():
    image = jax.random.uniform(jax.random.key(1), (2, 10, 10, 4)) + 1.0
    _, apply = apply_new(MinAtarCNN(layer_norm=True), image)
    features = apply(image)
    np.testing.assert_allclose(apply(8.0 * image), features, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_mlp_treats_every_row_alike_whatever_the_leading_axes(layer_norm):
    torso = MLP((7, 5), "relu", layer_norm)
    rows = jax.random.normal(jax.random.key(1), (2, 3, 4))
    _, apply = apply_new(torso, rows)
    features = apply(rows)
    assert features.shape == (2, 3, 5)
    np.testing.assert_allclose(apply(rows[1, 2]), features[1, 2], rtol=1e-4, atol=1e-6)


def test_mlp_is_dense_layers_with_an_activation_after_each():
    rows = jax.random.normal(jax.random.key(1), (3, 4))
    params, apply = apply_new(MLP((7, 5), "tanh"), rows)
    expected = rows
    for name in ("Dense_0", "Dense_1"):
        layer = params["params"][name]
        expected = np.tanh(expected @ layer["kernel"] + layer["bias"][None])
    np.testing.assert_allclose(apply(rows), expected, rtol=1e-5, atol=1e-6)


def test_hidden_weights_are_orthogonal_and_scaled_by_the_root_of_two():
    params = MLP((8, 8)).init(jax.random.key(0), jnp.ones((1, 8)))
    for layer in params["params"].values():
        product = layer["kernel"].T @ layer["kernel"]
        np.testing.assert_allclose(product, 2.0 * np.eye(8), atol=1e-5)
        assert not layer["bias"].any()


def test_networks_have_as_many_parameters_as_their_papers_give():
    minatar = shapes(MinAtarCNN(), (1, 10, 10, 4))
    assert number_of_parameters(minatar) == (9 * 4 + 1) * 16 + (1024 + 1) * 128
    nature = shapes(NatureCNN(), (1, 84, 84, 4))
    convolutions = (64 * 4 + 1) * 32 + (16 * 32 + 1) * 64 + (9 * 64 + 1) * 64
    assert number_of_parameters(nature) == convolutions + (3136 + 1) * 512


def test_impala_network_halves_the_image_three_times():
    params = shapes(ImpalaCNN(), (1, 72, 96, 3))
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    assert len(kernels) == 15  # 3 stages of 1 + 2 * 2 convolutions
    dense = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert dense[0].shape == (9 * 12 * 32, 256)
