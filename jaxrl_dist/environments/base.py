"""What an environment is, and how many of them answer in rows.

A user writes an `Environment`: one instance as three values, with no batch, no reset
logic and no episode counting. `batch` turns it into what everything else uses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.types import ArraySpec, ArrayTree, EnvironmentSpec, TimeStep


class Outcome(NamedTuple):
    """What one environment answers to one action."""

    observation: ArrayTree  # [...] what is seen after the action
    reward: jax.Array  # [] float32, for that action, environment reward units
    terminated: jax.Array  # [] bool; the action ended the episode by itself
    truncated: jax.Array  # [] bool; it was cut off here; counts only if not terminated


class Environment(NamedTuple):
    """One environment instance as pure functions.

    `state` is any tree of arrays whose shapes and types never change. `step` is never
    asked to go on from a state that ended an episode in a way that matters: what it
    answers there is thrown away.
    """

    spec: EnvironmentSpec
    reset: Callable[..., tuple[Any, ArrayTree]]  # (key) to (state, observation)
    step: Callable[..., tuple[Any, Outcome]]  # (key, state, action) to (state, Outcome)


class BatchedEnvironment(NamedTuple):
    """B independent environments that answer in rows; all arrays have [B] in front.

    The step after a last row begins a new episode, whatever action it is given. What a
    step needs of randomness is drawn apart from it, so that a rollout draws for all of
    its steps at once, outside its loop: `chance = jax.vmap(draw)(keys)`.
    """

    spec: EnvironmentSpec
    reset: Callable[..., tuple["BatchState", TimeStep]]  # (key, batch_size)
    draw: Callable[..., "Chance"]  # (key, batch_size) to the chance of one step
    step: Callable[..., tuple["BatchState", TimeStep]]  # (state, action, chance)


class BatchState(NamedTuple):
    """Where B environments stand between two steps."""

    inner: Any  # [B, ...] the environments' own states
    is_last: jax.Array  # [B] bool; the next step resets


class Chance(NamedTuple):
    """Everything random about one step of B environments."""

    key: jax.Array  # [B] keys of the environments' own steps
    fresh_state: Any  # [B, ...] to go on from if the episode had ended
    fresh_observation: ArrayTree  # [B, ...] that belongs to it


def batch(environment: Environment) -> BatchedEnvironment:
    """Makes B copies of an environment that reset themselves and answer in rows.

    Continuous actions are clipped to the bounds of the spec before the environment
    sees them, so an agent may answer with any finite number.

    Args:
        environment: one instance.

    Returns:
        Pure functions, not yet compiled; the batch size is an argument of theirs.
    """
    action_spec = environment.spec.action

    def reset(key: jax.Array, batch_size: int) -> tuple[BatchState, TimeStep]:
        state, observation = jax.vmap(environment.reset)(
            jax.random.split(key, batch_size)
        )
        false = jnp.zeros(batch_size, bool)
        reward = jnp.zeros(batch_size, jnp.float32)
        row = TimeStep(observation, reward, false, jnp.ones(batch_size, bool), false)
        return BatchState(state, false), row

    def draw(key: jax.Array, batch_size: int) -> Chance:
        key_step, key_reset = jax.random.split(key)
        fresh_state, fresh_observation = jax.vmap(environment.reset)(
            jax.random.split(key_reset, batch_size)
        )
        step_keys = jax.random.split(key_step, batch_size)
        return Chance(step_keys, fresh_state, fresh_observation)

    def step(
        state: BatchState, action: jax.Array, chance: Chance
    ) -> tuple[BatchState, TimeStep]:
        if isinstance(action_spec, ArraySpec):
            action = jnp.clip(action, *_batched_bounds(action_spec))
        inner, outcome = jax.vmap(environment.step)(chance.key, state.inner, action)
        is_first = state.is_last
        ended = outcome.terminated | outcome.truncated
        is_last = ended & ~is_first
        row = TimeStep(
            observation=_where(is_first, chance.fresh_observation, outcome.observation),
            reward=jnp.where(is_first, 0.0, outcome.reward),
            terminated=outcome.terminated & ~is_first,
            is_first=is_first,
            is_last=is_last,
        )
        return BatchState(_where(is_first, chance.fresh_state, inner), is_last), row

    return BatchedEnvironment(environment.spec, reset, draw, step)


def _batched_bounds(spec: ArraySpec) -> tuple[jax.Array, jax.Array]:
    """The bounds of one action as [1, ...] arrays, to clip a batch with."""
    bounds = (jnp.asarray(bound, spec.dtype) for bound in (spec.low, spec.high))
    low, high = (jnp.broadcast_to(bound, (1, *spec.shape)) for bound in bounds)
    return low, high


def _where(condition: jax.Array, chosen: ArrayTree, other: ArrayTree) -> ArrayTree:
    """Picks whole environments [B, ...] out of two trees, by a condition [B]."""

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(jnp.expand_dims(condition, range(1, x.ndim)), x, y)

    return jax.tree.map(pick, chosen, other)
