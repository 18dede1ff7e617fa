"""An environment of one's own whose reward becomes NaN at the 22nd step."""

import jax
import jax.numpy as jnp

from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

FAILS_AT = 22


def failing() -> Environment:
    """Builds it; its episodes are truncated after 100 steps."""

    def reset(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((), jnp.int32), jnp.zeros(1, jnp.float32)

    def step(
        key: jax.Array, state: jax.Array, action: jax.Array
    ) -> tuple[jax.Array, Outcome]:
        state = state + 1
        return state, Outcome(
            observation=jnp.ones(1, jnp.float32),
            reward=jnp.where(state == FAILS_AT, jnp.nan, 1.0),
            terminated=jnp.zeros((), bool),
            truncated=state >= 100,
        )

    spec = EnvironmentSpec("Failing", ArraySpec((1,), jnp.float32), DiscreteSpec(2))
    return Environment(spec, reset, step)
