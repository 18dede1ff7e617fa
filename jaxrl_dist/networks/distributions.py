"""Distributions over actions: what a policy head answers.

Each is a pytree of arrays [..., A] or [..., D]; D is the length of an action. Every
method serves any leading axes and answers one number per element. Sampling takes noise
instead of a key, because a rollout draws the random numbers of all its steps at once,
outside its loop; `noise` draws them, for the same leading axes.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

LOG_SQRT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
# A masked action's logit: e^-1e9 is 0, yet products and sums of it stay finite.
MASKED_LOGIT = -1e9
# How near to a bound, as a share of half the range, a squashed action is still told
# apart from it. Float32 numbers just below 1 lie 6e-8 apart.
SQUASH_MARGIN = 1e-6
QUADRATURE_NODES = 16


class Distribution(Protocol):
    """What every distribution over actions can do."""

    @staticmethod
    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws the random numbers of one sample for parameters of a shape."""
        ...

    def sample(self, noise: jax.Array) -> jax.Array:
        """Turns noise into an action."""
        ...

    def mode(self) -> jax.Array:
        """The action to take when nothing is left to chance."""
        ...

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log-probability or log-density of an action, [...] in nats."""
        ...

    def entropy(self) -> jax.Array:
        """Entropy, [...] in nats."""
        ...

    def kl(self, other: Any) -> jax.Array:
        """Kullback-Leibler divergence from this to another, [...] in nats."""
        ...


class Categorical(NamedTuple):
    """One choice out of A."""

    logits: jax.Array  # [..., A] unnormalized log-probabilities, in nats

    @staticmethod
    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws standard Gumbel numbers, [..., A], for logits of that shape."""
        return jax.random.gumbel(key, shape)

    def masked(self, allowed: jax.Array) -> "Categorical":
        """Leaves probability only to allowed actions.

        Log-probabilities, entropy and gradients stay finite, and no gradient reaches a
        masked logit. Where nothing is allowed, all actions are equally likely.

        Args:
            allowed: [..., A] bool.

        Returns:
            The distribution over the allowed actions.
        """
        lowest = float(jnp.finfo(self.logits.dtype).min) / 2
        floor = jnp.asarray(max(MASKED_LOGIT, lowest), self.logits.dtype)
        return Categorical(jnp.where(allowed, self.logits, floor))

    def log_probs(self) -> jax.Array:
        """Log-probability of every action, [..., A] in nats."""
        return jax.nn.log_softmax(self.logits)

    def sample(self, noise: jax.Array) -> jax.Array:
        """Turns Gumbel noise [..., A] into an action, [...] int32."""
        return jnp.argmax(self.logits + noise, axis=-1).astype(jnp.int32)

    def mode(self) -> jax.Array:
        """The most likely action, [...] int32; the first of equals."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log-probability of an action [...] int32, [...] in nats."""
        # A comparison instead of a gather, whose gradient would be a slow scatter.
        chosen = jax.nn.one_hot(action, self.logits.shape[-1], dtype=jnp.bool_)
        return jnp.sum(jnp.where(chosen, self.log_probs(), 0.0), axis=-1)

    def entropy(self) -> jax.Array:
        """Entropy, [...] in nats, in [0, log A]."""
        log_probs = self.log_probs()
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)

    def kl(self, other: "Categorical") -> jax.Array:
        """Kullback-Leibler divergence from this to another, [...] in nats."""
        log_probs = self.log_probs()
        difference = log_probs - other.log_probs()
        return jnp.sum(jnp.exp(log_probs) * difference, axis=-1)


class DiagonalGaussian(NamedTuple):
    """Independent normal numbers; an action is a vector of D."""

    mean: jax.Array  # [..., D]
    log_std: jax.Array  # [..., D] natural logarithm of the standard deviation

    @staticmethod
    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws standard normal numbers, [..., D], for a mean of that shape."""
        return jax.random.normal(key, shape)

    def sample(self, noise: jax.Array) -> jax.Array:
        """Turns normal noise [..., D] into an action, [..., D]."""
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> jax.Array:
        """The mean, [..., D]."""
        return self.mean

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log-density of an action [..., D], [...] in nats."""
        deviations = (action - self.mean) * jnp.exp(-self.log_std)
        terms = -0.5 * jnp.square(deviations) - self.log_std - LOG_SQRT_TWO_PI
        return jnp.sum(terms, axis=-1)

    def entropy(self) -> jax.Array:
        """Differential entropy, [...] in nats."""
        return jnp.sum(self.log_std + (0.5 + LOG_SQRT_TWO_PI), axis=-1)

    def kl(self, other: "DiagonalGaussian") -> jax.Array:
        """Kullback-Leibler divergence from this to another, [...] in nats."""
        log_ratio = self.log_std - other.log_std
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        terms = 0.5 * (jnp.exp(2.0 * log_ratio) + jnp.square(shift) - 1.0) - log_ratio
        return jnp.sum(terms, axis=-1)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("mean", "log_std"),
    meta_fields=("low", "high"),
)
@dataclasses.dataclass(frozen=True)
class TanhGaussian:
    """A diagonal Gaussian squashed by tanh into the bounds of the actions.

        action = center + half_range * tanh(mean + std * noise)

    The bounds are part of the type and no arrays, so that a trajectory of
    distributions does not carry them along with each row.

    Attributes:
        mean: [..., D] before squashing.
        log_std: [..., D] natural logarithm of the standard deviation before squashing.
        low: D lower bounds of the actions.
        high: D upper bounds.

    Source:
        Haarnoja et al. 2018, appendix C, arXiv:1801.01290.
    """

    mean: jax.Array
    log_std: jax.Array
    low: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Draws standard normal numbers, [..., D], for a mean of that shape."""
        return jax.random.normal(key, shape)

    def sample(self, noise: jax.Array) -> jax.Array:
        """Turns normal noise [..., D] into an action within the bounds, [..., D]."""
        return self._squash(self._base().sample(noise))

    def sample_with_log_prob(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Samples, and gives the log-density without inverting the tanh.

        Exact however close to a bound the action lies, and differentiable in both
        outputs, as reparameterized policy gradients need it.

        Args:
            noise: [..., D] standard normal.

        Returns:
            The action [..., D] and its log-density [...] in nats.
        """
        before = self._base().sample(noise)
        return self._squash(before), self._log_density(before)

    def mode(self) -> jax.Array:
        """The squashed mean, [..., D]: the median of each number, not the mode."""
        return self._squash(self.mean)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log-density of an action, [...] in nats; finite also at the bounds.

        Args:
            action: [..., D] within the bounds. One closer to a bound than a millionth
                of half the range counts as being that far from it.
        """
        center, half_range = self._scale()
        limit = 1.0 - SQUASH_MARGIN
        squashed = jnp.clip((action - center) / half_range, -limit, limit)
        return self._log_density(jnp.arctanh(squashed))

    def entropy(self) -> jax.Array:
        """Differential entropy, [...] in nats, by quadrature.

        That of the Gaussian plus the expected logarithm of the squashing's slope, which
        has no closed form. Gauss-Hermite quadrature with 16 nodes per number is within
        1e-3 nats for standard deviations up to 1, and 0.05 up to 4.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
        weights = weights / weights.sum()
        std = jnp.exp(self.log_std)
        slopes = sum(
            float(weight) * self._log_slope(self.mean + float(node) * std)
            for node, weight in zip(nodes, weights, strict=True)
        )
        return self._base().entropy() + jnp.sum(slopes, axis=-1)

    def kl(self, other: "TanhGaussian") -> jax.Array:
        """Kullback-Leibler divergence from this to another, [...] in nats.

        Squashing both alike does not change it.

        Raises:
            ValueError: the bounds differ.
        """
        if (self.low, self.high) != (other.low, other.high):
            raise ValueError(
                f"kl needs equal bounds, got [{self.low}, {self.high}] "
                f"and [{other.low}, {other.high}]"
            )
        return self._base().kl(other._base())

    def _base(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean, self.log_std)

    def _scale(self) -> tuple[jax.Array, jax.Array]:
        """Center and half of the range of the actions, [..., D]."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        shape, dtype = self.mean.shape, self.mean.dtype
        center = jnp.broadcast_to(jnp.asarray((low + high) / 2, dtype), shape)
        half_range = jnp.broadcast_to(jnp.asarray((high - low) / 2, dtype), shape)
        return center, half_range

    def _squash(self, before: jax.Array) -> jax.Array:
        center, half_range = self._scale()
        return center + half_range * jnp.tanh(before)

    def _log_slope(self, before: jax.Array) -> jax.Array:
        """Log d action / d before, [..., D]; does not overflow as log(1 - tanh^2)."""
        _, half_range = self._scale()
        log_one_minus_square = 2.0 * (
            math.log(2.0) - before - jax.nn.softplus(-2.0 * before)
        )
        return jnp.log(half_range) + log_one_minus_square

    def _log_density(self, before: jax.Array) -> jax.Array:
        slopes = jnp.sum(self._log_slope(before), axis=-1)
        return self._base().log_prob(before) - slopes
