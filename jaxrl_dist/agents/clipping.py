"""Rewards clipped for learning alone: what an episode is worth is reported as it is."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxrl_dist.types import Agent, Sample, Trajectory

LIMIT = 1.0  # environment reward units


def learning_from_clipped_rewards(agent: Agent) -> Agent:
    """The agent, which takes every reward for the nearest number in [-1, 1].

    Nothing else sees clipped rewards: neither replay, nor episode returns.

    Args:
        agent: any.

    Source:
        Mnih et al. 2015, methods, doi:10.1038/nature14236.
    """
    return agent._replace(
        update=_clipped(agent.update),
        gradients=agent.gradients and _clipped(agent.gradients),
        initial_priorities=(
            agent.initial_priorities and _clipped(agent.initial_priorities)
        ),
    )


def _clipped(function: Callable) -> Callable:
    """A function whose second argument is experience."""

    @functools.wraps(function)
    def wrapped(first: Any, experience: Trajectory | Sample, *others: Any) -> Any:
        if isinstance(experience, Sample):
            rows = _clip(experience.trajectory)
            return function(first, experience._replace(trajectory=rows), *others)
        return function(first, _clip(experience), *others)

    return wrapped


def _clip(rows: Trajectory) -> Trajectory:
    return rows._replace(reward=jnp.clip(rows.reward, -LIMIT, LIMIT))
