"""Rows that a batch of environments gives when its actions are drawn at random."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.types import DiscreteSpec, TimeStep

# Compiled once and run for moments, so what counts is the compiling.
_QUICK = {"xla_backend_optimization_level": 0}


@functools.partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=_QUICK)
def random_rows(
    environment: BatchedEnvironment, num_steps: int, batch_size: int, seed: int = 0
) -> tuple[TimeStep, jax.Array]:
    """Rows [T + 1, B, ...] and the actions between them, [T, B, ...]."""
    key_reset, key_actions, key_steps = jax.random.split(jax.random.key(seed), 3)
    spec = environment.spec.action
    if isinstance(spec, DiscreteSpec):
        shape = (num_steps, batch_size)
        actions = jax.random.randint(key_actions, shape, 0, spec.num_values)
    else:
        shape = (num_steps, batch_size, *spec.shape)
        actions = jax.random.uniform(key_actions, shape, minval=-1, maxval=1)
        actions = actions * jnp.float32(np.max(spec.high))
    draws = jax.vmap(environment.draw, (0, None))(
        jax.random.split(key_steps, num_steps), batch_size
    )
    state, first = environment.reset(key_reset, batch_size)

    def step(state, inputs):
        return environment.step(state, *inputs)

    _, rows = jax.lax.scan(step, state, (actions, draws))
    rows = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, rows)
    return rows, actions
