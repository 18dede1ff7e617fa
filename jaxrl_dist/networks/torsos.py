"""Torsos: from prepared observations to features, with any leading axes.

Weights are orthogonal, scaled by sqrt(2), biases 0, as in the PPO implementations that
Huang et al. 2022 compare ("The 37 implementation details", detail 2).
"""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.networks.convolution import Conv
from jaxrl_dist.networks.dense import Dense

Activation = Literal["tanh", "relu", "elu", "gelu", "silu"]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}
HIDDEN_INIT = nn.initializers.orthogonal(math.sqrt(2.0))


class MLP(nn.Module):
    """Dense layers, each followed by an activation.

    Attributes:
        hidden: units per layer.
        activation: name of the function after each layer.
        layer_norm: whether each layer is normalized before its activation.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [..., F] to features [..., hidden[-1]]."""
        activation = ACTIVATIONS[self.activation]
        for units in self.hidden:
            features = Dense(units, kernel_init=HIDDEN_INIT)(features)
            features = activation(_normalised(features, self.layer_norm))
        return features


class MinAtarCNN(nn.Module):
    """One small convolution and one dense layer, for images of about 10x10.

    Attributes:
        channels: of the convolution.
        units: of the dense layer.
        layer_norm: whether each layer is normalized before its activation, at each
            place of an image over its channels.

    Source:
        Young and Tian 2019, section 4, arXiv:1903.03176.
    """

    channels: int = 16
    units: int = 128
    layer_norm: bool = False

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [..., H, W, C] to features [..., units]; H and W from 3."""
        convolution = Conv(
            self.channels, (3, 3), padding="VALID", kernel_init=HIDDEN_INIT
        )
        image = nn.relu(_normalised(convolution(image), self.layer_norm))
        return _dense(_flatten_image(image), self.units, self.layer_norm)


class NatureCNN(nn.Module):
    """Three convolutions and one dense layer, for images of about 84x84.

    Attributes:
        units: of the dense layer.
        layer_norm: as for MinAtarCNN.

    Source:
        Mnih et al. 2015, methods, doi:10.1038/nature14236.
    """

    units: int = 512
    layer_norm: bool = False

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [..., H, W, C] to features [..., units]; H and W from 36."""
        for channels, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            convolution = Conv(
                channels,
                (size, size),
                strides=stride,
                padding="VALID",
                kernel_init=HIDDEN_INIT,
            )
            image = nn.relu(_normalised(convolution(image), self.layer_norm))
        return _dense(_flatten_image(image), self.units, self.layer_norm)


class ImpalaCNN(nn.Module):
    """The deep residual network of IMPALA: three stages that each halve the image.

    Attributes:
        channels: of each stage.
        units: of the dense layer.
        layer_norm: as for MinAtarCNN.

    Source:
        Espeholt et al. 2018, figure 3 right, arXiv:1802.01561.
    """

    channels: tuple[int, ...] = (16, 32, 32)
    units: int = 256
    layer_norm: bool = False

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [..., H, W, C] to features [..., units]."""
        for channels in self.channels:
            image = _convolution(channels)(image)
            image = nn.max_pool(image, (3, 3), strides=(2, 2), padding="SAME")
            for _ in range(2):
                inside = nn.relu(_normalised(image, self.layer_norm))
                inside = _convolution(channels)(inside)
                inside = nn.relu(_normalised(inside, self.layer_norm))
                image = image + _convolution(channels)(inside)
        image = nn.relu(_normalised(image, self.layer_norm))
        return _dense(_flatten_image(image), self.units, self.layer_norm)


def _convolution(channels: int) -> nn.Conv:
    return Conv(channels, (3, 3), padding="SAME", kernel_init=HIDDEN_INIT)


def _dense(features: jax.Array, units: int, layer_norm: bool) -> jax.Array:
    """A dense layer with its activation."""
    features = Dense(units, kernel_init=HIDDEN_INIT)(features)
    return nn.relu(_normalised(features, layer_norm))


def _normalised(features: jax.Array, layer_norm: bool) -> jax.Array:
    return nn.LayerNorm()(features) if layer_norm else features


def _flatten_image(image: jax.Array) -> jax.Array:
    return image.reshape(*image.shape[:-3], math.prod(image.shape[-3:]))
