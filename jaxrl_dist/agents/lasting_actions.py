"""Random actions that last, so that exploration leads somewhere."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.agents.exploration import (
    Acting,
    Chance,
    ExplorationConfig,
    epsilon_of_each,
)
from jaxrl_dist.types import ArrayTree, TimeStep

NONE = -1  # in place of an action


class Explorer(NamedTuple):
    """The functions of an `Agent` that act."""

    initial_memory: Callable
    draw: Callable
    act: Callable


class LastingChance(NamedTuple):
    """The random numbers of one action of each environment."""

    begin: Chance
    stop: jax.Array  # [B] in [0, 1)


def explorer(
    config: ExplorationConfig, draw: Callable, act: Callable, axis_name: str | None
) -> Explorer:
    """Makes random actions last as `config.random_action_steps` says.

    A random action that has begun goes on with probability 1 - 1 / steps, to the end of
    the episode at most. Otherwise the agent acts as it would without.

    Args:
        config: how often, and for how long.
        draw: of `exploration.make_draw`.
        act: of `exploration.make_act`, for a network without memory.
        axis_name: device axis over which all environments are spread; None for one.

    Returns:
        Functions of an `Agent`. The memory is the random action that is under way, [B]
        int32, or NONE; or () where none lasts.
    """
    if config.random_action_steps == 1:
        return Explorer(lambda batch_size: (), draw, act)

    def initial_memory(batch_size: int) -> jax.Array:
        return jnp.full(batch_size, NONE, jnp.int32)

    def draw_lasting(key: jax.Array, batch_size: int) -> LastingChance:
        key_begin, key_stop = jax.random.split(key)
        stop = jax.random.uniform(key_stop, (batch_size,))
        return LastingChance(draw(key_begin, batch_size), stop)

    def act_lasting(
        acting: Acting,
        under_way: jax.Array,
        time_step: TimeStep,
        noise: LastingChance | None,
    ) -> tuple[jax.Array, jax.Array, ArrayTree]:
        begin = None if noise is None else noise.begin
        _, action, extras = act(acting, (), time_step, begin)
        if noise is None:
            return under_way, action, extras
        explore = noise.begin.explore
        epsilon = epsilon_of_each(acting, len(explore), config.ladder, axis_name)
        begun = jnp.where(explore < epsilon, action, NONE)
        goes_on = (under_way != NONE) & ~time_step.is_first
        goes_on &= noise.stop >= 1.0 / config.random_action_steps
        action = jnp.where(goes_on, under_way, action)
        return jnp.where(goes_on, under_way, begun), action, extras

    return Explorer(initial_memory, draw_lasting, act_lasting)
