"""Acting with continuous actions: their units, and noise that may last.

Agents think of actions in units of half their range, in [-1, 1]; environments and
replay hold them in their own units. `ActionScale` stands between.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.agents.policy_and_critics import Acting, ActingParams
from jaxrl_dist.types import ArraySpec, ArrayTree, TimeStep


class ActionScale(NamedTuple):
    """Turns actions of an environment into units of half their range, and back."""

    center: np.ndarray  # [D] action units
    half_range: np.ndarray  # [D] action units

    @classmethod
    def of(cls, spec: ArraySpec) -> "ActionScale":
        """The scale of actions with finite bounds."""
        low, high = (
            np.broadcast_to(np.asarray(bound, np.float32), spec.shape)
            for bound in (spec.low, spec.high)
        )
        return cls((low + high) / 2, (high - low) / 2)

    def to_unit(self, action: jax.Array) -> jax.Array:
        """Maps actions [..., D] of the environment to [-1, 1]."""
        center, half_range = self._like(action)
        return (action - center) / half_range

    def from_unit(self, action: jax.Array) -> jax.Array:
        """Maps [-1, 1] to actions [..., D] of the environment."""
        center, half_range = self._like(action)
        return center + half_range * action

    def _like(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Center and half of the range, with the rank of an action."""
        shape = (1,) * (action.ndim - 1) + self.center.shape
        center, half_range = (jnp.asarray(x.reshape(shape)) for x in self)
        return center, half_range


def make_acting(
    choose: Callable[..., jax.Array], spec: ArraySpec, correlation_steps: float
) -> Acting:
    """Builds the functions that act, with noise that lasts if it is told to.

    The noise is an Ornstein-Uhlenbeck process that begins anew with each episode. At
    each step by itself it is standard normal:

        x_t = c x_{t-1} + sqrt(1 - c^2) noise_t,    c = exp(-1 / correlation_steps)

    Until the first update, actions are uniform within their bounds, and as correlated.

    Args:
        choose: (policy's params, observation [B, ...], noise [B, D] or None) to actions
            [B, D] in [-1, 1]; without noise, to those that the policy holds for best.
        spec: of the actions.
        correlation_steps: environment steps after which the correlation of the noise
            has fallen to 1/e; at 0, it is fresh at each step.

    Returns:
        Functions of an `Agent`. The memory is the noise of the step before, or ().
    """
    scale = ActionScale.of(spec)
    kept = math.exp(-1.0 / correlation_steps) if correlation_steps else 0.0

    def initial_memory(batch_size: int) -> ArrayTree:
        return jnp.zeros((batch_size, *spec.shape)) if correlation_steps else ()

    def draw(key: jax.Array, batch_size: int) -> jax.Array:
        return jax.random.normal(key, (batch_size, *spec.shape))

    def act(
        params: ActingParams,
        memory: ArrayTree,
        time_step: TimeStep,
        noise: jax.Array | None,
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        if noise is None:
            action = choose(params.policy, time_step.observation, None)
            return memory, scale.from_unit(action), ()
        if correlation_steps:
            later = kept * memory + math.sqrt(1.0 - kept**2) * noise
            noise = jnp.where(time_step.is_first[:, None], noise, later)
            memory = noise
        action = choose(params.policy, time_step.observation, noise)
        uniform = jax.scipy.special.erf(noise / math.sqrt(2.0))
        action = jnp.where(params.num_updates == 0, uniform, action)
        return memory, scale.from_unit(action), ()

    return Acting(initial_memory, draw, act)
