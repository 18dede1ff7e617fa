"""What an environment is, and how many of them answer in rows.

A user writes an `Environment`: one instance as three values, with no batch, no reset
logic and no episode counting. `batch` turns it into what everything else uses.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.types import (
    ArraySpec,
    ArrayTree,
    DiscreteSpec,
    EnvironmentSpec,
    TimeStep,
)


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
    observe: Callable[..., ArrayTree] | None = None  # (state) to observation, if the
    # state alone decides it; then no observation is made of resets that do not happen


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
    fresh_observation: ArrayTree  # [B, ...] of it; () if the environment has `observe`


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
        if environment.observe is not None:
            fresh_observation = ()
        step_keys = jax.random.split(key_step, batch_size)
        return Chance(step_keys, fresh_state, fresh_observation)

    def step(
        state: BatchState, action: jax.Array, chance: Chance
    ) -> tuple[BatchState, TimeStep]:
        if isinstance(action_spec, ArraySpec):
            action = jnp.clip(action, *_batched_bounds(action_spec))
        inner, outcome = jax.vmap(environment.step)(chance.key, state.inner, action)
        is_first = state.is_last
        inner = _where(is_first, chance.fresh_state, inner)
        if environment.observe is not None:
            observation = jax.vmap(environment.observe)(inner)
        else:
            seen = outcome.observation
            observation = _where(is_first, chance.fresh_observation, seen)
        is_last = (outcome.terminated | outcome.truncated) & ~is_first
        row = TimeStep(
            observation=observation,
            reward=jnp.where(is_first, 0.0, outcome.reward.astype(jnp.float32)),
            terminated=outcome.terminated & ~is_first,
            is_first=is_first,
            is_last=is_last,
        )
        return BatchState(inner, is_last), row

    return BatchedEnvironment(environment.spec, reset, draw, step)


def check_environment(environment: Environment) -> None:
    """Checks, without running it, that an environment keeps to its own word.

    Args:
        environment: one instance, for example a user's own.

    Raises:
        ValueError: observations differ from the spec, `step` changes the types of the
            state, a reward or an end is not one number, or continuous actions have no
            bounds; the message says which.
    """
    name, observation_spec, action_spec = environment.spec
    if isinstance(action_spec, DiscreteSpec):
        action = jax.ShapeDtypeStruct((), jnp.int32)
    else:
        _check_bounds(name, action_spec)
        action = jax.ShapeDtypeStruct(action_spec.shape, action_spec.dtype)
    key = jax.eval_shape(jax.random.key, 0)
    state, observation = jax.eval_shape(environment.reset, key)
    next_state, outcome = jax.eval_shape(environment.step, key, state, action)
    expected = jax.tree.map(
        lambda spec: jax.ShapeDtypeStruct(spec.shape, spec.dtype),
        observation_spec,
        is_leaf=lambda spec: isinstance(spec, ArraySpec),
    )
    flag, number = jax.ShapeDtypeStruct((), bool), jax.ShapeDtypeStruct((), jnp.float32)
    reward = jax.ShapeDtypeStruct(outcome.reward.shape, jnp.float32)  # any type will do
    for what, given, wanted in (
        ("the observation of reset", observation, expected),
        ("the observation of step", outcome.observation, expected),
        ("the state of step, as that of reset,", next_state, state),
        ("terminated", outcome.terminated, flag),
        ("truncated", outcome.truncated, flag),
        ("the reward", reward, number),
    ):
        given, wanted = _described(given), _described(wanted)
        if given != wanted:
            raise ValueError(f"{name}: {what} must be {wanted}, got {given}")


def _check_bounds(name: str, action: ArraySpec) -> None:
    bounds = (action.low, action.high)
    # As a float, None is nan.
    if not all(np.isfinite(np.asarray(bound, float)).all() for bound in bounds):
        raise ValueError(
            f"{name}: continuous actions need finite bounds low and high, got "
            f"{action.low} and {action.high}"
        )


def _described(tree: ArrayTree) -> str:
    """Shapes and types of a tree, in one line."""
    return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree))


def bound_of(values: Any) -> Any:
    """States the bound of an array the way that `ArraySpec` holds it.

    Args:
        values: [...] numbers; the largest float32, or beyond, counts as infinite.

    Returns:
        A number if all are the same, None if nothing is bounded, else nested tuples,
        so that specs can be compared and hashed.
    """
    values = np.asarray(values, np.float32)
    unbounded = np.abs(values) >= np.finfo(np.float32).max
    if unbounded.all():
        return None
    if (values == values.flat[0]).all():
        return float(values.flat[0])
    return _nested_tuple(np.where(unbounded, np.copysign(np.inf, values), values))


def _nested_tuple(values: np.ndarray) -> Any:
    """An array as tuples of tuples of numbers."""
    if values.ndim == 0:
        return values.item()
    return tuple(_nested_tuple(value) for value in values)


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
