"""Exploration by chance: epsilon-greedy, annealed, with one epsilon per environment."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.checks import check_at_least, check_in_range
from jaxrl_dist.types import ArrayTree, Params, TimeStep


@dataclasses.dataclass(frozen=True)
class ExplorationConfig:
    """How often an action is left to chance.

    Attributes:
        epsilon_initial: share of random actions until the first update, in [0, 1].
        epsilon_final: share that is reached at the end of the decay, in [0, 1].
        decay_fraction: of the run's updates, over which the share falls linearly, in
            [0, 1].
        ladder: of N environments, number i takes epsilon^(1 + ladder i / (N - 1)), so
            that some explore and others show what the policy can do; at least 0, where
            0 gives all the same. Ape-X has a ladder of 7 below a constant 0.4.

        random_action_steps: environment steps, on average, for which a random action is
            kept once it has begun, from 1; the share above is then of the moments at
            which one may begin. Where single actions cancel each other out, as on
            MountainCar, only lasting ones lead anywhere.

    Raises:
        ValueError: a setting is out of its range.

    Source:
        Horgan et al. 2018, Distributed prioritized experience replay, section 4.1,
        arXiv:1803.00933; lasting actions: Dabney et al. 2020, Temporally-extended
        epsilon-greedy exploration, arXiv:2006.01782, here of geometric length.
    """

    epsilon_initial: float = 1.0
    epsilon_final: float = 0.05
    decay_fraction: float = 0.5
    ladder: float = 0.0
    random_action_steps: float = 1.0

    def __post_init__(self) -> None:
        check_in_range(
            0,
            1,
            epsilon_initial=self.epsilon_initial,
            epsilon_final=self.epsilon_final,
            decay_fraction=self.decay_fraction,
        )
        check_at_least(0, ladder=self.ladder)
        check_at_least(1, random_action_steps=self.random_action_steps)


def epsilon_at(config: ExplorationConfig, progress: jax.Array) -> jax.Array:
    """Computes the share of random actions before the ladder.

    Args:
        config: the schedule.
        progress: [] share of the run's updates that are done, in [0, 1].

    Returns:
        [] in [0, 1].
    """
    if config.decay_fraction == 0.0:
        begun = progress > 0.0
        return jnp.where(begun, config.epsilon_final, config.epsilon_initial)
    decayed = jnp.minimum(1.0, progress / config.decay_fraction)
    fall = config.epsilon_initial - config.epsilon_final
    return config.epsilon_initial - fall * decayed


def ladder_exponents(
    ladder: float, batch_size: int, axis_name: str | None, place: ArrayTree = ()
) -> jax.Array:
    """What each environment raises epsilon to, [B], from 1 to 1 + ladder.

    Args:
        ladder: of `ExplorationConfig`.
        batch_size: B, environments of this device.
        axis_name: device axis over which all environments are spread; None for one.
        place: of `Acting`.
    """
    number, first = batch_size, 0
    if place != ():
        first, number = place
    elif axis_name is not None:
        number = batch_size * jax.lax.axis_size(axis_name)
        first = batch_size * jax.lax.axis_index(axis_name)
    rungs = jnp.arange(batch_size) + first
    return 1.0 + ladder * rungs / jnp.maximum(1, number - 1)


def epsilon_greedy(
    q_values: jax.Array, epsilon: jax.Array, uniform: jax.Array
) -> jax.Array:
    """Takes the best action, or now and then a random one.

    Args:
        q_values: [B, A] reward units.
        epsilon: [B] share of random actions, in [0, 1].
        uniform: [B] random numbers in [0, 1), one for each choice.

    Returns:
        [B] int32.
    """
    num_actions = q_values.shape[-1]
    best = jnp.argmax(q_values, axis=-1)
    # Below epsilon, a uniform number is uniform up to epsilon, and says which action.
    share = uniform / jnp.maximum(epsilon, jnp.finfo(epsilon.dtype).tiny)
    other = jnp.minimum((share * num_actions).astype(jnp.int32), num_actions - 1)
    return jnp.where(uniform < epsilon, other, best).astype(jnp.int32)


class Acting(NamedTuple):
    """What acting depends on."""

    params: Params
    epsilon: jax.Array  # [] share of random actions, before the ladder
    place: ArrayTree = ()  # number of the first of these environments, and of them all,
    # [] int32 each, where they are one actor's; () where there are no others


def placed(acting: Acting, first: int, number: int) -> Acting:
    """Tells one actor where its environments stand on the ladder; see `Agent`."""
    return acting._replace(place=(jnp.int32(first), jnp.int32(number)))


class Chance(NamedTuple):
    """The random numbers of one action of each environment."""

    explore: jax.Array  # [B] in [0, 1)
    network: ArrayTree  # of the network's own noise; () without


def make_draw(draw_network: Callable) -> Callable:
    """Builds the function that draws what `make_act` leaves to chance.

    Args:
        draw_network: (key) to the random numbers of one pass, shared by its batch.
    """

    def draw(key: jax.Array, batch_size: int) -> Chance:
        key_explore, key_network = jax.random.split(key)
        uniform = jax.random.uniform(key_explore, (batch_size,))
        return Chance(uniform, draw_network(key_network))

    return draw


def make_act(ladder: float, q_values: Callable, axis_name: str | None) -> Callable:
    """Builds the function that acts, epsilon-greedily; its extras are ().

    Args:
        ladder: of `ExplorationConfig`.
        q_values: (params, observation [B, ...], drawn) to [B, A] in reward units; with
            None drawn, nothing is left to chance.
        axis_name: device axis over which all environments are spread; None for one.
    """

    def act(
        acting: Acting, memory: ArrayTree, time_step: TimeStep, noise: Chance | None
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        drawn = None if noise is None else noise.network
        values = q_values(acting.params, time_step.observation, drawn)
        action = choose(acting, values, noise, ladder=ladder, axis_name=axis_name)
        return memory, action, ()

    return act


def choose(
    acting: Acting,
    q_values: jax.Array,
    noise: Chance | None,
    *,
    ladder: float,
    axis_name: str | None,
) -> jax.Array:
    """Chooses actions, epsilon-greedily.

    Args:
        acting: what the share of random actions is.
        q_values: [B, A] reward units.
        noise: of `make_draw`; None for the best actions.
        ladder: of `ExplorationConfig`.
        axis_name: device axis over which all environments are spread; None for one.

    Returns:
        [B] int32.
    """
    if noise is None:
        return jnp.argmax(q_values, axis=-1).astype(jnp.int32)
    epsilon = epsilon_of_each(acting, len(noise.explore), ladder, axis_name)
    return epsilon_greedy(q_values, epsilon, noise.explore)


def epsilon_of_each(
    acting: Acting, batch_size: int, ladder: float, axis_name: str | None
) -> jax.Array:
    """The share of random actions of each environment, [B]; see `choose`."""
    epsilon = jnp.full(batch_size, acting.epsilon)
    if not ladder:
        return epsilon
    return epsilon ** ladder_exponents(ladder, batch_size, axis_name, acting.place)
