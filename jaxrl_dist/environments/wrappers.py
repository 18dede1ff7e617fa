"""Wrappers: functions from one `Environment` to another."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.checks import check_above, check_at_least, check_in_range
from jaxrl_dist.environments.base import Environment, Outcome, bound_of
from jaxrl_dist.environments.previous_step import PreviousState
from jaxrl_dist.types import ArraySpec, ArrayTree, DiscreteSpec

VELOCITY_INDICES = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
}


def mask_velocity(
    environment: Environment, indices: Sequence[int] | None = None
) -> Environment:
    """Hides velocities: they read 0, so the present does not tell the future.

    Args:
        environment: whose observation is one vector.
        indices: what to hide; by default what `VELOCITY_INDICES` says for its name.

    Returns:
        The environment with a mask on its observations, which keep their shape.

    Raises:
        ValueError: nothing is known of the environment's velocities, or an index is
            not there.
    """
    name, spec = environment.spec.name, environment.spec.observation
    if indices is None and name not in VELOCITY_INDICES:
        known = ", ".join(VELOCITY_INDICES)
        raise ValueError(f"mask_velocity: {name} is not one of {known}")
    hidden = VELOCITY_INDICES[name] if indices is None else tuple(indices)
    size = spec.shape[0] if isinstance(spec, ArraySpec) and len(spec.shape) == 1 else 0
    if not all(0 <= index < size for index in hidden):
        raise ValueError(f"mask_velocity: {name} has no indices {hidden} in {spec}")
    visible = np.ones(size, bool)
    visible[list(hidden)] = False

    def mask(observation: jax.Array) -> jax.Array:
        return jnp.where(visible, observation, 0)

    def reset(key: jax.Array) -> tuple[Any, ArrayTree]:
        state, observation = environment.reset(key)
        return state, mask(observation)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Outcome]:
        state, outcome = environment.step(key, state, action)
        return state, outcome._replace(observation=mask(outcome.observation))

    observe = environment.observe
    masked = None if observe is None else lambda state: mask(observe(state))
    return Environment(environment.spec, reset, step, masked)


class StickyState(NamedTuple):
    """Where an environment with sticky actions stands."""

    inner: Any
    action: jax.Array  # the last one that was executed


def sticky_actions(environment: Environment, probability: float) -> Environment:
    """Makes an environment repeat its last action, by chance, instead of the given one.

    Before the first action of an episode the last one counts as 0, or as what is
    nearest to 0 within the bounds: in MinAtar and Atari, doing nothing.

    Args:
        environment: any.
        probability: of repeating, in [0, 1], drawn for each step.

    Returns:
        The environment with sticky actions.

    Raises:
        ValueError: the probability is outside [0, 1].

    Source:
        Machado et al. 2018, section 5.2, arXiv:1709.06009.
    """
    check_in_range(0, 1, sticky_action_probability=probability)
    spec = environment.spec.action
    if isinstance(spec, DiscreteSpec):
        nothing = np.zeros((), np.int32)
    else:
        nothing = np.clip(np.zeros(spec.shape, spec.dtype), spec.low, spec.high)

    def reset(key: jax.Array) -> tuple[StickyState, ArrayTree]:
        inner, observation = environment.reset(key)
        return StickyState(inner, jnp.asarray(nothing)), observation

    def step(
        key: jax.Array, state: StickyState, action: jax.Array
    ) -> tuple[StickyState, Outcome]:
        key_repeat, key_step = jax.random.split(key)
        repeat = jax.random.bernoulli(key_repeat, probability)
        action = jnp.where(repeat, state.action, action.astype(nothing.dtype))
        inner, outcome = environment.step(key_step, state.inner, action)
        return StickyState(inner, action), outcome

    return Environment(environment.spec, reset, step, _observe_inner(environment))


class StackState(NamedTuple):
    """Where an environment that shows several observations stands."""

    inner: Any
    frames: ArrayTree  # as shown: the oldest first, along the last axis


def frame_stack(environment: Environment, num_frames: int) -> Environment:
    """Shows the last observations at once, joined along their last axis, oldest first.

    An episode begins with its first observation repeated.

    Args:
        environment: any; a scalar observation becomes a vector.
        num_frames: observations shown at once, from 1.

    Returns:
        The environment whose observations are num_frames times as wide.

    Raises:
        ValueError: num_frames is below 1.
    """
    check_at_least(1, frame_stack=num_frames)

    def repeat(frame: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.atleast_1d(frame)] * num_frames, axis=-1)

    def push(frames: jax.Array, frame: jax.Array) -> jax.Array:
        frame = jnp.atleast_1d(frame)
        return jnp.concatenate([frames[..., frame.shape[-1] :], frame], axis=-1)

    def reset(key: jax.Array) -> tuple[StackState, ArrayTree]:
        inner, observation = environment.reset(key)
        frames = jax.tree.map(repeat, observation)
        return StackState(inner, frames), frames

    def step(
        key: jax.Array, state: StackState, action: jax.Array
    ) -> tuple[StackState, Outcome]:
        inner, outcome = environment.step(key, state.inner, action)
        frames = jax.tree.map(push, state.frames, outcome.observation)
        return StackState(inner, frames), outcome._replace(observation=frames)

    observation = jax.tree.map(
        lambda spec: _stacked_spec(spec, num_frames),
        environment.spec.observation,
        is_leaf=lambda spec: isinstance(spec, ArraySpec),
    )
    spec = environment.spec._replace(observation=observation)
    return Environment(spec, reset, step, observe=lambda state: state.frames)


def _stacked_spec(spec: ArraySpec, num_frames: int) -> ArraySpec:
    """The spec of num_frames arrays joined along their last axis."""
    *rest, width = spec.shape or (1,)

    def stack(bound: Any) -> Any:
        if bound is None or np.ndim(bound) == 0:
            return bound
        full = np.broadcast_to(bound, (*rest, width))
        return bound_of(np.concatenate([full] * num_frames, axis=-1))

    shape = (*rest, width * num_frames)
    return spec._replace(shape=shape, low=stack(spec.low), high=stack(spec.high))


def clip_rewards(
    environment: Environment, low: float = -1.0, high: float = 1.0
) -> Environment:
    """Clips every reward.

    Args:
        environment: any.
        low: least reward passed on, environment reward units.
        high: greatest reward passed on, above low.

    Returns:
        The environment with clipped rewards, in evaluation too.

    Raises:
        ValueError: high is not above low.
    """
    check_above(low, high=high)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Outcome]:
        state, outcome = environment.step(key, state, action)
        return state, outcome._replace(reward=jnp.clip(outcome.reward, low, high))

    return environment._replace(step=step)


class LimitState(NamedTuple):
    """Where an environment with a time limit stands."""

    inner: Any
    num_steps: jax.Array  # [] int32, since the episode began


def time_limit(environment: Environment, max_steps: int) -> Environment:
    """Truncates episodes after a number of steps, unless they terminate on the last.

    Args:
        environment: any; its own limit stays, so the nearer of the two counts.
        max_steps: environment steps, from 1.

    Returns:
        The environment with the limit.

    Raises:
        ValueError: max_steps is below 1.
    """
    check_at_least(1, max_steps=max_steps)

    def reset(key: jax.Array) -> tuple[LimitState, ArrayTree]:
        inner, observation = environment.reset(key)
        return LimitState(inner, jnp.zeros((), jnp.int32)), observation

    def step(
        key: jax.Array, state: LimitState, action: jax.Array
    ) -> tuple[LimitState, Outcome]:
        inner, outcome = environment.step(key, state.inner, action)
        num_steps = state.num_steps + 1
        over = jnp.logical_or(outcome.truncated, num_steps >= max_steps)
        truncated = jnp.logical_and(over, jnp.logical_not(outcome.terminated))
        return LimitState(inner, num_steps), outcome._replace(truncated=truncated)

    return Environment(environment.spec, reset, step, _observe_inner(environment))


def _observe_inner(environment: Environment) -> Callable | None:
    """The wrapped environment's `observe`, of a state that has its own as `inner`."""
    observe = environment.observe
    return None if observe is None else lambda state: observe(state.inner)


def innermost_state(state: Any) -> Any:
    """The environment's own state, out of those of the wrappers around it."""
    while isinstance(state, StickyState | StackState | LimitState | PreviousState):
        state = state.inner
    return state
