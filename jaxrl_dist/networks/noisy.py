"""Noisy layers: weights with learned noise, which explores in place of dice.

Noise is an argument and never drawn inside a network, so that acting, online and target
network each get their own, and a whole batch or rollout shares one.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.networks.dense import dense_dot_general


def draw_noise(key: jax.Array, size: int) -> jax.Array:
    """Draws sgn(x) sqrt|x| of standard normal numbers x, [size] float32.

    Args:
        key: random key; used up.
        size: how many numbers; a layer takes `noise_size` of them.
    """
    normal = jax.random.normal(key, (size,))
    return jnp.sign(normal) * jnp.sqrt(jnp.abs(normal))


def noise_size(num_features: int, units: int) -> int:
    """How many numbers the factorised noise of one layer has."""
    return num_features + units


class NoisyDense(nn.Module):
    """A dense layer with factorised Gaussian noise on its weights.

    y_j = sum_i x_i (mu_ij + sigma_ij e_i e_j) + mu_j + sigma_j e_j, with e from
    `draw_noise`: one number per input, one per output. The means begin uniform within
    1 / sqrt(F), the sigmas at `std` / sqrt(F).

    Attributes:
        units: U.
        std: sigma_0, the initial noise of the sum over F inputs of size 1.

    Source:
        Fortunato et al. 2018, equations 9 to 11 and section 3.2, arXiv:1706.10295.
    """

    units: int
    std: float = 0.5

    @nn.compact
    def __call__(self, features: jax.Array, noise: jax.Array | None) -> jax.Array:
        """Maps features [..., F] to [..., U].

        Args:
            features: [..., F].
            noise: [F + U] from `draw_noise`, the same for all leading axes; None leaves
                the means.
        """
        num_features, units = features.shape[-1], self.units
        bound = 1.0 / math.sqrt(num_features)
        mean_init = _uniform_within(bound)
        sigma_init = nn.initializers.constant(self.std * bound)
        kernel = self.param("kernel", mean_init, (num_features, units))
        bias = self.param("bias", mean_init, (units,))
        kernel_sigma = self.param("kernel_sigma", sigma_init, (num_features, units))
        bias_sigma = self.param("bias_sigma", sigma_init, (units,))
        if noise is not None:
            ins, outs = noise[:num_features], noise[num_features:]
            # One product with the noisy weights is quicker than one with the means and
            # one with the sigmas.
            kernel = kernel + kernel_sigma * jnp.outer(ins, outs)
            bias = bias + bias_sigma * outs
        dimensions = (((features.ndim - 1,), (0,)), ((), ()))
        outputs = dense_dot_general(features, kernel, dimensions)
        return outputs + bias.reshape((1,) * (outputs.ndim - 1) + (units,))


def _uniform_within(bound: float) -> nn.initializers.Initializer:
    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
