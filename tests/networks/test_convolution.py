"""Convolutions by patches are those of lax, in value and gradient."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks import convolution
from jaxrl_dist.networks.convolution import Conv, patches_of

KEY = jax.random.key(0)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 1))])
@pytest.mark.parametrize(("size", "strides"), [((3, 3), 1), ((4, 2), (2, 3))])
def test_values_and_gradients_are_those_of_lax(size, strides, padding, monkeypatch):
    images = jax.random.normal(KEY, (2, 3, 9, 8, 4))
    arguments = {"strides": strides, "padding": padding}
    ours, theirs = Conv(5, size, **arguments), nn.Conv(5, size, **arguments)
    params = ours.init(KEY, images)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, theirs.init(KEY, images)
    )

    def loss(module: nn.Module):
        def total(*arguments: Any) -> jax.Array:
            answer: Any = module.apply(*arguments)
            return jnp.sum(jnp.sin(answer))

        return total

    calls = []
    counted = convolution.patches_of
    monkeypatch.setattr(
        convolution, "patches_of", lambda *x: (calls.append(1), counted(*x))[1]
    )
    got = jax.value_and_grad(loss(ours), argnums=(0, 1))(params, images)
    assert calls, "lax did it"
    wanted = jax.value_and_grad(loss(theirs), argnums=(0, 1))(params, images)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"feature_group_count": 2}, {"kernel_dilation": 2}]
)
def test_what_is_no_plain_convolution_is_left_to_lax(options):
    images = jax.random.normal(KEY, (2, 9, 8, 4))
    ours, theirs = Conv(4, (3, 3), **options), nn.Conv(4, (3, 3), **options)
    params = ours.init(KEY, images)
    np.testing.assert_array_equal(
        ours.apply(params, images), theirs.apply(params, images)
    )


def test_patches_are_in_the_order_of_a_kernel():
    images = jnp.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)
    patches = patches_of(images, (2, 3), (2, 1))
    assert patches.shape == (2, 2, 3, 18)
    np.testing.assert_array_equal(patches[1, 1, 2], images[1, 2:4, 2:5].ravel())
