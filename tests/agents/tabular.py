"""A table in the place of a network, and rows to learn it from, for value agents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.networks.q_network import QNetwork
from jaxrl_dist.types import Sample, Trajectory

STATES, ACTIONS = 6, 3


def make_table(
    num_values: int = 1, *, cosines: int | None = None, may_remember: bool = False
) -> QNetwork:
    """Numbers for each state, action and atom, which are the parameters themselves.

    With cosines, quantiles are straight lines: a + b tau.
    """
    width = num_values if cosines is None else 2

    def init(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (STATES, ACTIONS, width))

    def apply(params, observation, noise, fractions: Any = None):
        numbers = params[observation]
        if cosines is None:
            return numbers
        fractions = jnp.broadcast_to(
            fractions, (*observation.shape, fractions.shape[-1])
        )
        lines = numbers[..., None]
        return lines[..., 0, :] + lines[..., 1, :] * fractions[..., None, :]

    def unroll(params, memory, observation, is_first, *, noise, fractions=None):
        return memory, apply(params, observation, noise, fractions)

    return QNetwork(
        init=init,
        initial_memory=lambda batch_size: (),
        noise=lambda key: (),
        apply=apply,
        unroll=unroll,
        num_actions=ACTIONS,
    )


def make_sample(n: int, batch_size: int = 64, seed: int = 0) -> Sample:
    """Random sequences of n + 1 rows with ends of both kinds anywhere.

    What a last row and the final row hold beside their observation is rubbish that
    nobody may count.
    """
    random = np.random.default_rng(seed)
    shape = (n + 1, batch_size)
    is_first, is_last, terminated = (np.zeros(shape, bool) for _ in range(3))
    is_last[0] = random.random(batch_size) < 0.2
    for t in range(1, n + 1):
        is_first[t] = is_last[t - 1]
        is_last[t] = ~is_first[t] & (random.random(batch_size) < 0.3)
        terminated[t - 1] = is_last[t] & (random.random(batch_size) < 0.5)
    rubbish = is_last.copy()
    rubbish[-1] = True
    reward = np.where(rubbish, 1e3, random.normal(size=shape))
    rows = Trajectory(
        observation=jnp.asarray(random.integers(0, STATES, shape)),
        is_first=jnp.asarray(is_first),
        is_last=jnp.asarray(is_last),
        action=jnp.asarray(random.integers(0, ACTIONS, shape), jnp.int32),
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated | (rubbish & (random.random(shape) < 0.5))),
    )
    weight = jnp.asarray(random.uniform(0.2, 1.0, batch_size), jnp.float32)
    return Sample(rows, weight, jnp.arange(batch_size, dtype=jnp.int32))


def n_step_by_hand(rows: Trajectory, column: int, gamma: float) -> tuple | None:
    """Walks through one sequence: (return, factor, state reached); None if no step."""
    if rows.is_last[0, column]:
        return None
    total, factor, t = 0.0, 1.0, 0
    for t in range(len(rows.reward) - 1):
        total += factor * float(rows.reward[t, column])
        factor *= 0.0 if rows.terminated[t, column] else gamma
        if rows.is_last[t + 1, column]:
            break
    return total, factor, int(rows.observation[t + 1, column])
