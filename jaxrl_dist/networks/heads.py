"""Heads: what a network says about features, whatever torso made them.

Policy heads start near 0 (weights orthogonal, scaled by 0.01), so that the first policy
hardly depends on what it sees; value heads are orthogonal, scaled by 1.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_dist.networks.dense import Dense
from jaxrl_dist.networks.distributions import (
    Categorical,
    DiagonalGaussian,
    TanhGaussian,
)

POLICY_INIT = nn.initializers.orthogonal(0.01)
VALUE_INIT = nn.initializers.orthogonal(1.0)
# Bounds on a log_std that a network computes; beyond them no gradient flows into it.
MIN_LOG_STD, MAX_LOG_STD = -10.0, 2.0


class ValueHead(nn.Module):
    """The value of a state."""

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps features [..., F] to values [...], reward units."""
        return jnp.squeeze(Dense(1, kernel_init=VALUE_INIT)(features), axis=-1)


class CategoricalHead(nn.Module):
    """A choice out of A actions.

    Attributes:
        num_actions: A.
    """

    num_actions: int

    @nn.compact
    def __call__(self, features: jax.Array) -> Categorical:
        """Maps features [..., F] to a distribution with logits [..., A]."""
        return Categorical(Dense(self.num_actions, kernel_init=POLICY_INIT)(features))


class GaussianHead(nn.Module):
    """A normal distribution over action vectors, which bounds do not limit.

    Attributes:
        size: D, the length of an action.
        state_dependent_std: whether the standard deviation is computed from features;
            otherwise it is a parameter of its own, the same in all states.
        initial_std: standard deviation before training, in units of the action.
    """

    size: int
    state_dependent_std: bool = False
    initial_std: float = 1.0

    @nn.compact
    def __call__(self, features: jax.Array) -> DiagonalGaussian:
        """Maps features [..., F] to a distribution over actions [..., D]."""
        initial = nn.initializers.constant(math.log(self.initial_std))
        mean = Dense(self.size, kernel_init=POLICY_INIT, name="mean")(features)
        if not self.state_dependent_std:
            log_std = self.param("log_std", initial, (self.size,))
            return DiagonalGaussian(mean, jnp.broadcast_to(log_std, mean.shape))
        layer = Dense(
            self.size, kernel_init=POLICY_INIT, bias_init=initial, name="log_std"
        )
        log_std = jnp.clip(layer(features), MIN_LOG_STD, MAX_LOG_STD)
        return DiagonalGaussian(mean, log_std)


class TanhGaussianHead(nn.Module):
    """A normal distribution squashed into the bounds of the actions.

    Attributes:
        low: D lower bounds.
        high: D upper bounds.
        state_dependent_std: as for GaussianHead.
        initial_std: standard deviation before training and before squashing.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    state_dependent_std: bool = True
    initial_std: float = 1.0

    @nn.compact
    def __call__(self, features: jax.Array) -> TanhGaussian:
        """Maps features [..., F] to a distribution over actions [..., D]."""
        head = GaussianHead(len(self.low), self.state_dependent_std, self.initial_std)
        base = head(features)
        return TanhGaussian(base.mean, base.log_std, self.low, self.high)


class OnTorso(nn.Module):
    """A head that reads what a torso makes of its inputs."""

    torso: nn.Module
    head: nn.Module

    def __call__(self, inputs: jax.Array) -> Any:
        """Maps inputs [..., F] to what the head answers."""
        return self.head(self.torso(inputs))
