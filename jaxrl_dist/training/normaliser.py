"""What stands between environments and agent: observation and reward statistics."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.environments import normalisation
from jaxrl_dist.types import ArraySpec, EnvironmentSpec


class Normaliser(NamedTuple):
    """How an agent sees observations and rewards, as pure functions.

    The statistics stand still during a rollout and the update from it, so that an agent
    learns from just what it saw.
    """

    spec: EnvironmentSpec  # as the agent sees the environment
    init: Callable  # (batch_size) to statistics
    observations: Callable  # (statistics, observation [..., *shape]) to the same shape
    rows: Callable  # (statistics, Trajectory) to Trajectory, as a learner sees it
    update: Callable  # (statistics, Trajectory) to statistics
    follow: Callable  # (returns so far [B], Trajectory [T + 1, B, ...]) to the returns
    # so far before its last row, [B], and before each row, [T + 1, B]: what `update`
    # must know of rows that others have seen the beginning of; () if nothing


def make_normaliser(
    spec: EnvironmentSpec,
    *,
    observations: bool,
    rewards: bool,
    gamma: float,
    axis_name: str | None,
) -> Normaliser:
    """Builds what was asked for; without either, nothing is changed or remembered.

    Args:
        spec: of the environment.
        observations: bring them to mean 0 and variance 1.
        rewards: divide them by the deviation of discounted returns.
        gamma: discount per environment step of those returns, in [0, 1].
        axis_name: device axis over which statistics are joined; None for one device.
    """

    def see(state: normalisation.NormaliserState, observation: jax.Array) -> jax.Array:
        if not observations:
            return observation
        return normalisation.normalise_observations(state, observation)

    def rows(state, trajectory):
        reward = trajectory.reward
        if rewards:
            reward = normalisation.scale_rewards(state, reward)
        observation = see(state, trajectory.observation)
        return trajectory._replace(observation=observation, reward=reward)

    def update(state, trajectory):
        return normalisation.update(state, trajectory, gamma=gamma, axis_name=axis_name)

    def follow(return_so_far, trajectory):
        done = jax.tree.map(lambda x: x[:-1], trajectory._replace(observation=()))
        last, returns = normalisation.discounted_returns(return_so_far, done, gamma)
        return last, jnp.concatenate([return_so_far[None], returns])

    if not observations and not rewards:
        return Normaliser(
            spec,
            init=lambda batch_size: (),
            observations=see,
            rows=rows,
            update=lambda state, rows: state,
            follow=lambda return_so_far, rows: ((), ()),
        )
    return Normaliser(
        spec=_without_units(spec) if observations else spec,
        init=lambda batch_size: normalisation.init(spec, batch_size),
        observations=see,
        rows=rows,
        update=update,
        follow=follow,
    )


def _without_units(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The spec of an environment whose observations are normalised."""
    limit = normalisation.CLIP
    observation = jax.tree.map(
        lambda array: array._replace(dtype=jnp.float32, low=-limit, high=limit),
        spec.observation,
        is_leaf=lambda array: isinstance(array, ArraySpec),
    )
    return spec._replace(observation=observation)
