"""Noisy layers against a plain loop, and what noise does to values and gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.noisy import NoisyDense, draw_noise, noise_size

NUM_FEATURES, UNITS = 5, 3
LAYER = NoisyDense(UNITS, 0.5)
FEATURES = jax.random.normal(jax.random.key(1), (4, NUM_FEATURES))
NOISE = draw_noise(jax.random.key(2), noise_size(NUM_FEATURES, UNITS))


def weights() -> dict[str, jax.Array]:
    """Random numbers in place of all parameters."""
    params: Any = LAYER.init(jax.random.key(0), FEATURES, None)["params"]
    keys = jax.random.split(jax.random.key(3), len(params))
    return {
        name: jax.random.normal(key, leaf.shape)
        for key, (name, leaf) in zip(keys, params.items(), strict=True)
    }


def outputs(params: dict, noise: Any, features: jax.Array = FEATURES) -> Any:
    return LAYER.apply({"params": params}, features, noise)


def test_the_layer_is_the_papers_sum_number_by_number():
    params = weights()
    got = outputs(params, NOISE)
    w = {name: np.asarray(leaf) for name, leaf in params.items()}
    ins, outs = np.asarray(NOISE[:NUM_FEATURES]), np.asarray(NOISE[NUM_FEATURES:])
    for row, features in enumerate(np.asarray(FEATURES)):
        for j in range(UNITS):
            expected = w["bias"][j] + w["bias_sigma"][j] * outs[j]
            for i in range(NUM_FEATURES):
                sigma = w["kernel_sigma"][i, j] * ins[i] * outs[j]
                expected += features[i] * (w["kernel"][i, j] + sigma)
            np.testing.assert_allclose(got[row, j], expected, rtol=1e-4, atol=1e-5)


def test_without_noise_only_the_means_count():
    params = weights()
    got = outputs(params, None)
    expected = FEATURES @ params["kernel"] + params["bias"][None]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_sigmas_get_gradients_from_noise_alone():
    def total(params, noise):
        return outputs(params, noise).sum()

    noisy = jax.grad(total)(weights(), NOISE)
    assert noisy["kernel_sigma"].all() and noisy["bias_sigma"].all()
    plain = jax.grad(total)(weights(), None)
    assert not plain["kernel_sigma"].any() and not plain["bias_sigma"].any()


def test_means_begin_within_and_sigmas_at_their_share_of_the_root_of_the_inputs():
    layer: Any = NoisyDense(400, 0.5).init(jax.random.key(0), jnp.ones((1, 16)), None)
    params = layer["params"]
    for name in ("kernel", "bias"):
        assert np.abs(params[name]).max() <= 0.25
        np.testing.assert_allclose(params[name].std(), 0.25 / 3**0.5, rtol=0.1)
        np.testing.assert_allclose(params[f"{name}_sigma"], 0.125, rtol=1e-6)


def test_noise_is_the_signed_root_of_a_normal_number():
    noise = np.asarray(draw_noise(jax.random.key(0), 100_000))
    normal = np.sign(noise) * noise**2
    assert noise.dtype == np.float32
    np.testing.assert_allclose(normal.mean(), 0.0, atol=0.02)
    np.testing.assert_allclose(normal.std(), 1.0, atol=0.02)
    np.testing.assert_allclose((noise > 1.0).mean(), 0.1587, atol=0.005)


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_all_leading_axes_share_the_noise(leading):
    features = jnp.broadcast_to(FEATURES[0], (*leading, NUM_FEATURES))
    got = outputs(weights(), NOISE, features)
    one = outputs(weights(), NOISE, FEATURES[0])
    np.testing.assert_allclose(got, np.broadcast_to(one, got.shape), rtol=1e-5)
