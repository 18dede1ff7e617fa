"""A wrapper that shows, beside an observation, the step that led to it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.environments.base import Environment, Outcome
from jaxrl_dist.types import ArraySpec, ArrayTree, DiscreteSpec


class Seen(NamedTuple):
    """What an agent sees, or the specs of it.

    On an episode's first row, action and reward are zeros.
    """

    observation: ArrayTree  # as the environment shows it
    previous_action: ArrayTree  # [A] one-hot, or [...] the array that was given
    previous_reward: ArrayTree  # [] for it, environment reward units


class PreviousState(NamedTuple):
    """Where an environment that shows the step before stands."""

    inner: Any
    action: jax.Array  # as `Seen` shows it
    reward: jax.Array


def show_previous_step(environment: Environment) -> Environment:
    """Shows the action before and its reward with each observation.

    A policy that remembers can then tell what an action does from what it meant to do.
    An action is shown as it was given, whatever the environment makes of it.

    Args:
        environment: any.

    Returns:
        The environment whose observations are `Seen`.

    Source:
        Kapturowski et al. 2019, Recurrent Experience Replay in Distributed
        Reinforcement Learning, section 2.3, ICLR.
    """
    spec = environment.spec
    action_spec = spec.action
    if isinstance(action_spec, DiscreteSpec):
        size = action_spec.num_values
        shown_spec = ArraySpec((size,), jnp.float32, 0.0, 1.0)
    else:
        size = None
        shown_spec = action_spec._replace(dtype=jnp.float32)

    def shown(action: jax.Array) -> jax.Array:
        if size is None:
            return action.astype(jnp.float32)
        return jax.nn.one_hot(action, size, dtype=jnp.float32)

    def reset(key: jax.Array) -> tuple[PreviousState, Seen]:
        inner, observation = environment.reset(key)
        nothing = jnp.zeros(shown_spec.shape, jnp.float32), jnp.zeros((), jnp.float32)
        return PreviousState(inner, *nothing), Seen(observation, *nothing)

    def step(
        key: jax.Array, state: PreviousState, action: jax.Array
    ) -> tuple[PreviousState, Outcome]:
        inner, outcome = environment.step(key, state.inner, action)
        before = shown(action), outcome.reward.astype(jnp.float32)
        seen = Seen(outcome.observation, *before)
        return PreviousState(inner, *before), outcome._replace(observation=seen)

    seen_spec = Seen(spec.observation, shown_spec, ArraySpec((), jnp.float32))
    return Environment(
        spec._replace(observation=seen_spec), reset, step, _observe(environment)
    )


def _observe(environment: Environment) -> Callable[[PreviousState], Seen] | None:
    """What is seen in a state, where the state alone decides it."""
    observe = environment.observe
    if observe is None:
        return None
    return lambda state: Seen(observe(state.inner), state.action, state.reward)
