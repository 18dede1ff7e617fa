"""A policy meets environments on the host: one compiled call for each of their steps.

What is random about a whole rollout is drawn at once beforehand, and what the policy
knew at each step stays on its device until the end, so that a step costs one call and
brings back nothing but actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.environments.host import HostEnvironment
from jaxrl_dist.types import Agent, ArrayTree, Params, TimeStep, Trajectory


class HostState(NamedTuple):
    """Where environments and policy stand between two rollouts."""

    time_step: TimeStep  # [B, ...] of numpy, to act on next
    memory: ArrayTree  # [B, ...] of the policy, on its device; () if it has none
    key: jax.Array


class Known(NamedTuple):
    """What the policy decided and knew, [T + 1, B, ...]; the final row is unknown."""

    action: ArrayTree
    extras: ArrayTree
    memory: ArrayTree


class Playing(NamedTuple):
    """What changes from step to step of a rollout; all of it is donated."""

    memory: ArrayTree  # [B, ...]
    known: Known  # up to the step


class Acting(NamedTuple):
    """The compiled functions of an agent that acts on the host."""

    initial_memory: Callable  # (batch_size) to memory [B, ...]
    draw: Callable  # (key, num_steps, batch_size) to (key, noise [T, B, ...])
    blank: Callable  # (T, params, memory, noise [T, B, ...], Seen) to Known of zeros
    step: Callable  # (params, Playing, noise [T, B, ...], t, Seen) to (Playing with row
    # t, action [B, ...])
    finish: Callable  # (memory, Known) to Known with the final row's memory
    act: Callable  # (params, memory, Seen, noise of a step or None) to (memory, action)


class Seen(NamedTuple):
    """What of a row a policy acts on."""

    observation: ArrayTree  # [B, ...]
    is_first: Any  # [B] bool
    is_last: Any  # [B] bool


def compile_acting(agent: Agent) -> Acting:
    """Compiles how an agent acts, for any number of steps and environments.

    Args:
        agent: whose `initial_memory`, `draw` and `act` are used.

    Returns:
        Functions that are compiled when first called.
    """

    def draw(key: jax.Array, num_steps: int, batch_size: int) -> tuple:
        # As in `rollout`, where each step's key serves the environment as well.
        key, key_draws = jax.random.split(key)
        keys = jax.vmap(jax.random.split)(jax.random.split(key_draws, num_steps))
        return key, jax.vmap(lambda k: agent.draw(k, batch_size))(keys[:, 0])

    def act(
        params: Params, memory: ArrayTree, seen: Seen, noise: ArrayTree
    ) -> tuple[ArrayTree, ArrayTree, ArrayTree]:
        batch_size = seen.is_first.shape[0]
        unseen = jnp.zeros(batch_size), jnp.zeros(batch_size, bool)
        time_step = TimeStep(seen.observation, *unseen, seen.is_first, seen.is_last)
        return agent.act(params, memory, time_step, noise)

    def blank(
        num_steps: int,
        params: Params,
        memory: ArrayTree,
        noise: ArrayTree,
        seen: Seen,
    ) -> Known:
        now = jax.tree.map(lambda x: x[0], noise)
        _, action, extras = jax.eval_shape(act, params, memory, seen, now)
        return jax.tree.map(
            lambda x: jnp.zeros((num_steps + 1, *x.shape), x.dtype),
            Known(action, extras, memory),
        )

    def step(
        params: Params, playing: Playing, noise: ArrayTree, t: jax.Array, seen: Seen
    ) -> tuple[Playing, ArrayTree]:
        now = jax.tree.map(lambda x: x[t], noise)
        memory, action, extras = act(params, playing.memory, seen, now)
        row = Known(action, extras, playing.memory)
        known = jax.tree.map(lambda rows, x: rows.at[t].set(x), playing.known, row)
        return Playing(memory, known), action

    def finish(memory: ArrayTree, known: Known) -> Known:
        last = jax.tree.map(lambda rows, x: rows.at[-1].set(x), known.memory, memory)
        return known._replace(memory=last)

    return Acting(
        initial_memory=agent.initial_memory,
        draw=jax.jit(draw, static_argnums=(1, 2)),
        blank=jax.jit(blank, static_argnums=0),
        step=jax.jit(step, donate_argnums=1),
        finish=jax.jit(finish, donate_argnums=1),
        act=jax.jit(lambda *arguments: act(*arguments)[:2]),
    )


def start_on_host(acting: Acting, environment: HostEnvironment, seed: int) -> HostState:
    """Resets environments on the host.

    Args:
        acting: whose memory starts afresh.
        environment: to reset.
        seed: of the environments and of what the policy leaves to chance, from 0.

    Returns:
        The state from which the first rollout starts.
    """
    memory = jax.tree.map(jnp.copy, acting.initial_memory(environment.num_envs))
    return HostState(environment.reset(seed), memory, jax.random.key(seed))


def rollout_on_host(
    acting: Acting,
    environment: HostEnvironment,
    params: Params,
    state: HostState,
    *,
    num_steps: int,
) -> tuple[HostState, Trajectory]:
    """Runs a policy for a fixed number of steps; mirrors `rollout.rollout`.

    Args:
        acting: of `compile_acting`.
        environment: answers the actions, and resets after a last row.
        params: of the policy, on its device, fixed for the whole rollout.
        state: where to start; its memory is used up.
        num_steps: T, from 1.

    Returns:
        Where the environments now stand, and the T + 1 rows they went through,
        [T + 1, B, ...], of numpy. The final row has been seen but not acted on: its
        action, reward and extras are zeros, and it is the first row of the next
        rollout.
    """
    now, memory = state.time_step, state.memory
    key, noise = acting.draw(state.key, num_steps, environment.num_envs)
    known = acting.blank(num_steps, params, memory, noise, seen_of(now))
    playing = Playing(memory, known)
    rows = jax.tree.map(lambda x: np.zeros((num_steps + 1, *x.shape), x.dtype), now)
    for t in range(num_steps):
        seen = seen_of(now)
        playing, action = acting.step(params, playing, noise, np.int32(t), seen)
        _write(t, seen_of(rows), seen)  # while the policy decides
        now = environment.step(np.asarray(action))
        _write(t, (rows.reward, rows.terminated), (now.reward, now.terminated))
    _write(num_steps, seen_of(rows), seen_of(now))
    known = acting.finish(playing.memory, playing.known)
    known = jax.tree.map(np.asarray, known)
    return HostState(now, playing.memory, key), Trajectory(
        observation=rows.observation,
        is_first=rows.is_first,
        is_last=rows.is_last,
        action=known.action,
        reward=rows.reward,
        terminated=rows.terminated,
        extras=known.extras,
        memory=known.memory,
    )


def seen_of(time_step: TimeStep) -> Seen:
    """What a policy acts on."""
    return Seen(time_step.observation, time_step.is_first, time_step.is_last)


def _write(t: int, rows: ArrayTree, row: ArrayTree) -> None:
    """Copies one row [B, ...] into rows [T + 1, B, ...] of numpy, as row t."""
    for all_rows, now in zip(jax.tree.leaves(rows), jax.tree.leaves(row), strict=True):
        all_rows[t] = now
