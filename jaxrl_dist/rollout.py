"""A policy meets environments that live on the accelerator: one compiled scan."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.types import Agent, ArrayTree, Params, TimeStep, Trajectory

# Random numbers of a whole rollout are drawn at once, outside the loop, where that is
# quicker, up to this many bytes; beyond it they are drawn step by step, the same ones.
DRAWN_AHEAD_BYTES = 256 * 2**20


class RolloutState(NamedTuple):
    """Where a batch of environments stands between two rollouts."""

    env_state: Any
    time_step: TimeStep  # [B, ...] to act on next
    memory: ArrayTree  # [B, ...] of the policy; () if it has none
    key: jax.Array


def start(
    agent: Agent, environment: BatchedEnvironment, key: jax.Array, batch_size: int
) -> RolloutState:
    """Resets a batch of environments.

    Args:
        agent: whose memory starts afresh.
        environment: to reset.
        key: random key; used up.
        batch_size: B, environments.

    Returns:
        The state from which the first rollout starts.
    """
    key_reset, key = jax.random.split(key)
    env_state, time_step = environment.reset(key_reset, batch_size)
    return RolloutState(env_state, time_step, agent.initial_memory(batch_size), key)


def rollout(
    agent: Agent,
    environment: BatchedEnvironment,
    params: Params,
    state: RolloutState,
    *,
    num_steps: int,
) -> tuple[RolloutState, Trajectory]:
    """Runs a policy for a fixed number of steps.

    Args:
        agent: whose `draw` and `act` are used.
        environment: answers the actions, and resets after a last row.
        params: of the policy, fixed for the whole rollout.
        state: where to start.
        num_steps: T.

    Returns:
        Where the environments now stand, and the T + 1 rows they went through,
        [T + 1, B, ...]. The final row has been seen but not acted on: its action,
        reward and extras are zeros, and it is the first row of the next rollout.
    """
    batch_size = state.time_step.is_first.shape[0]

    def draw(key: jax.Array) -> tuple[ArrayTree, ArrayTree]:
        key_act, key_env = jax.random.split(key)
        return agent.draw(key_act, batch_size), environment.draw(key_env, batch_size)

    key, key_draws = jax.random.split(state.key)
    draws = jax.random.split(key_draws, num_steps)
    sizes = jax.tree.map(
        lambda x: math.prod(x.shape) * x.dtype.itemsize, jax.eval_shape(draw, key)
    )
    ahead = sum(jax.tree.leaves(sizes)) * num_steps <= DRAWN_AHEAD_BYTES
    if ahead:
        draws = jax.vmap(draw)(draws)

    # Reward and termination of the step before are nothing to act on, so they are not
    # carried from step to step; on a small batch every array carried costs time.
    unseen = jnp.zeros(batch_size), jnp.zeros(batch_size, bool)

    def one_step(carry: tuple, drawn: Any) -> tuple[tuple, Trajectory]:
        env_state, observation, is_first, is_last, memory = carry
        noise, chance = drawn if ahead else draw(drawn)
        seen = TimeStep(observation, *unseen, is_first, is_last)
        new_memory, action, extras = agent.act(params, memory, seen, noise)
        env_state, answer = environment.step(env_state, action, chance)
        row = Trajectory(
            observation=observation,
            is_first=is_first,
            is_last=is_last,
            action=action,
            reward=answer.reward,
            terminated=answer.terminated,
            extras=extras,
            memory=memory,
        )
        new = env_state, answer.observation, answer.is_first, answer.is_last, new_memory
        return new, row

    now = state.time_step
    carry = state.env_state, now.observation, now.is_first, now.is_last, state.memory
    carry, rows = jax.lax.scan(one_step, carry, draws)
    env_state, observation, is_first, is_last, memory = carry
    last = TimeStep(
        observation, rows.reward[-1], rows.terminated[-1], is_first, is_last
    )
    state = RolloutState(env_state, last, memory, key)
    return state, with_final_row(rows, last, memory)


def with_final_row(
    rows: Trajectory, time_step: TimeStep, memory: ArrayTree
) -> Trajectory:
    """Appends the observation that was reached to rows [T, B, ...], as row T."""
    unknown = jax.tree.map(lambda x: jnp.zeros_like(x[0]), rows)
    final = unknown._replace(
        observation=time_step.observation,
        is_first=time_step.is_first,
        is_last=time_step.is_last,
        memory=memory,
    )
    return jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), rows, final)
