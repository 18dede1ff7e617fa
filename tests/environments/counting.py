"""An environment of one's own: it counts its steps, pays 1 for each, and ends at 10."""

import jax
import jax.numpy as jnp

from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec


def counting(length: int = 10, terminates: bool = True) -> Environment:
    """Builds it; it ends after `length` steps, terminated or else truncated."""

    def reset(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((), jnp.int32), jnp.zeros(1, jnp.float32)

    def step(
        key: jax.Array, state: jax.Array, action: jax.Array
    ) -> tuple[jax.Array, Outcome]:
        state = state + 1
        ends = state >= length
        return state, Outcome(
            observation=state[None].astype(jnp.float32),
            reward=jnp.float32(1.0),
            terminated=ends & terminates,
            truncated=ends & (not terminates),
        )

    spec = EnvironmentSpec("Counting", ArraySpec((1,), jnp.float32), DiscreteSpec(2))
    return Environment(spec, reset, step)
