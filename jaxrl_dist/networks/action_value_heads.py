"""Heads of action values: plain or dueling, one number per action or a distribution.

Hidden layers begin as He et al. 2015 say (normal, variance 2 / inputs), outputs as
LeCun et al. 1998 do (normal, variance 1 / inputs), biases at 0; noisy layers begin as
`NoisyDense` says.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.networks.dense import Dense
from jaxrl_dist.networks.noisy import NoisyDense, noise_size
from jaxrl_dist.networks.torsos import ACTIVATIONS, Activation

HIDDEN_INIT = nn.initializers.he_normal()
OUTPUT_INIT = nn.initializers.lecun_normal()


class ActionValueHead(nn.Module):
    """N numbers for each of A actions: values, logits of atoms, or quantiles.

    A dueling head has two streams, each with hidden layers of its own, and adds up, for
    each of the N numbers alone,

        values[a, n] = value[n] + advantage[a, n] - mean over b of advantage[b, n].

    Attributes:
        num_actions: A.
        num_values: N.
        hidden: units per layer between features and outputs, in each stream.
        activation: name of the function after each hidden layer.
        layer_norm: whether hidden layers are normalized before their activation.
        dueling: whether values come from two streams.
        noisy_std: sigma_0 of the noise on all layers; None for plain layers.

    Source:
        Wang et al. 2016, equation 9, arXiv:1511.06581; for distributions, Hessel et al.
        2018, Rainbow, section "The Integrated Agent", arXiv:1710.02298.
    """

    num_actions: int
    num_values: int = 1
    hidden: tuple[int, ...] = ()
    activation: Activation = "relu"
    layer_norm: bool = False
    dueling: bool = False
    noisy_std: float | None = None

    @nn.compact
    def __call__(self, features: jax.Array, noise: jax.Array | None) -> jax.Array:
        """Maps features [..., F] to [..., A, N].

        Args:
            features: [..., F].
            noise: [sum of `noise_sizes(F)`] from `draw_noise`; None where layers are
                plain, or to leave the means of noisy ones.
        """
        streams = self._streams()
        noises = iter(self._noise_of_layers(features.shape[-1], noise))
        # The first layers of both streams read the same features: one product for both.
        first_units = [units[0] for units in streams]
        first = self._dense(features, sum(first_units), next(noises), not self.hidden)
        parts = jnp.split(first, list(itertools.accumulate(first_units))[:-1], axis=-1)
        outputs = []
        for units, part in zip(streams, parts, strict=True):
            for layer, width in enumerate(units[1:], start=1):
                is_output = layer == len(self.hidden)
                part = self._dense(self._activate(part), width, next(noises), is_output)
            outputs.append(part.reshape(*part.shape[:-1], -1, self.num_values))
        if not self.dueling:
            return outputs[0]
        value, advantage = outputs
        return value + (advantage - advantage.mean(axis=-2, keepdims=True))

    def noise_sizes(self, num_features: int) -> list[int]:
        """How many random numbers each noisy layer takes, in their order."""
        if self.noisy_std is None:
            return []
        streams = self._streams()
        sizes = [noise_size(num_features, sum(units[0] for units in streams))]
        for units in streams:
            sizes += [noise_size(*pair) for pair in itertools.pairwise(units)]
        return sizes

    def _streams(self) -> list[tuple[int, ...]]:
        """Units per layer of each stream."""
        outputs = self.num_actions * self.num_values
        if not self.dueling:
            return [(*self.hidden, outputs)]
        return [(*self.hidden, self.num_values), (*self.hidden, outputs)]

    def _noise_of_layers(
        self, num_features: int, noise: jax.Array | None
    ) -> list[jax.Array] | list[None]:
        sizes = self.noise_sizes(num_features)
        if noise is None or not sizes:
            return [None] * sum(len(units) for units in self._streams())
        return jnp.split(noise, list(itertools.accumulate(sizes))[:-1])

    def _dense(
        self,
        features: jax.Array,
        units: int,
        noise: jax.Array | None,
        is_output: bool,
    ) -> jax.Array:
        if self.noisy_std is not None:
            return NoisyDense(units, self.noisy_std)(features, noise)
        kernel_init = OUTPUT_INIT if is_output else HIDDEN_INIT
        return Dense(units, kernel_init=kernel_init)(features)

    def _activate(self, features: jax.Array) -> jax.Array:
        if self.layer_norm:
            features = nn.LayerNorm()(features)
        return ACTIVATIONS[self.activation](features)


class CosineEmbedding(nn.Module):
    """Mixes fractions of a distribution into features, for implicit quantiles.

    phi_j(tau) = relu(sum_i cos(pi i tau) w_ij + b_j), for i = 0 .. n - 1; each fraction
    tau makes features of its own, the product of the torso's with phi(tau).

    Attributes:
        num_cosines: n.

    Source:
        Dabney et al. 2018, equation 4, arXiv:1806.06923.
    """

    num_cosines: int = 64

    @nn.compact
    def __call__(self, features: jax.Array, fractions: jax.Array) -> jax.Array:
        """Maps features [..., F] and fractions [..., N] in [0, 1] to [..., N, F].

        Fractions [N] serve all features alike, and are embedded once.
        """
        frequencies = jnp.arange(self.num_cosines, dtype=features.dtype)
        cosines = cosine_of_half_turns(jnp.multiply.outer(fractions, frequencies))
        layer = Dense(features.shape[-1], kernel_init=HIDDEN_INIT)
        embedded = nn.relu(layer(cosines))
        missing = features.ndim + 1 - embedded.ndim
        embedded = embedded.reshape((1,) * missing + embedded.shape)
        return jnp.expand_dims(features, -2) * embedded


def cosine_of_half_turns(half_turns: jax.Array) -> jax.Array:
    """Computes cos(pi x), to 3e-7 for |x| up to 2^20.

    On a CPU, `jnp.cos` took half of an update of IQN: it is ready for any argument. In
    half turns, the nearest quarter turn is found without rounding, and six terms of the
    sine's series do from there.

    Args:
        half_turns: [...] x, in units of pi.
    """
    folded = jnp.abs(half_turns - 2.0 * jnp.round(0.5 * half_turns))  # in [0, 1]
    angle = jnp.pi * (0.5 - folded)  # cos(pi x) is its sine
    square = jnp.square(angle)
    series = jnp.ones_like(angle)
    for factor in (110.0, 72.0, 42.0, 20.0, 6.0):  # (2 k + 1) 2 k, from k = 5
        series = 1.0 - series * square / factor
    return angle * series
