"""A walk with luck in it, whose episodes end in both ways and differ in length."""

import jax
import jax.numpy as jnp

from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec

GOAL, LIMIT = 3, 5


def wandering() -> Environment:
    """Builds it: action 1 mostly steps forward; 3 is the goal, 5 steps the limit."""

    def reset(key: jax.Array) -> tuple[tuple, jax.Array]:
        position = jax.random.randint(key, (), 0, 2)
        return (position, jnp.zeros((), jnp.int32)), seen(position)

    def step(key: jax.Array, state: tuple, action: jax.Array) -> tuple[tuple, Outcome]:
        position, steps = state
        luck = jax.random.uniform(key)
        forward = (action == 1) & (luck < 0.7)
        position, steps = position + forward, steps + 1
        outcome = Outcome(
            observation=seen(position),
            reward=jnp.float32(luck + position),
            terminated=position >= GOAL,
            truncated=steps >= LIMIT,
        )
        return (position, steps), outcome

    def seen(position: jax.Array) -> jax.Array:
        return jax.nn.one_hot(position, GOAL + 1)

    spec = EnvironmentSpec(
        "Wandering", ArraySpec((GOAL + 1,), jnp.float32), DiscreteSpec(2)
    )
    return Environment(spec, reset, step)
