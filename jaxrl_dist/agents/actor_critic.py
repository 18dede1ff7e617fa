"""What the on-policy agents share: a network that acts and values, and its state.

A2C, PPO and IMPALA differ in their loss and in how often they use a batch, not here.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxrl_dist.agents.base import average_over
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.types import (
    Agent,
    ArrayTree,
    Params,
    TimeStep,
    Trajectory,
    UpdateInfo,
)


class ActorCriticState(NamedTuple):
    """All that changes while the agent learns; a checkpoint holds exactly this."""

    params: Params
    opt_state: optax.OptState
    num_updates: jax.Array  # [] int32, batches of experience used


def make_init(
    network: ActorCritic, optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], ActorCriticState]:
    """Builds the function that makes a fresh state from a key."""

    def init(key: jax.Array) -> ActorCriticState:
        params = network.init(key)
        return ActorCriticState(
            params, optimizer.init(params), jnp.zeros((), jnp.int32)
        )

    return init


def make_act(network: ActorCritic) -> Callable:
    """Builds the function that acts; its extras are the distribution acted from."""

    def act(
        params: Params,
        memory: ArrayTree,
        time_step: TimeStep,
        noise: ArrayTree | None,
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        memory, distribution = network.act(
            params, memory, time_step.observation, time_step.is_first
        )
        greedy = noise is None
        action = distribution.mode() if greedy else distribution.sample(noise)
        return memory, action, distribution

    return act


def make_one_step_agent(
    network: ActorCritic,
    optimizer: optax.GradientTransformation,
    loss: Callable[..., tuple[jax.Array, dict[str, jax.Array]]],
    axis_name: str | None,
) -> Agent:
    """Builds an agent that takes one gradient step per batch of experience.

    Args:
        network: the policy and its values.
        optimizer: what turns gradients into a step.
        loss: (params, rows [T + 1, B]) to (loss [], metrics); a mean over the steps.
        axis_name: device axis over which gradients are averaged; None for one device.

    Returns:
        The agent's pure functions, with `gradients` and `apply_gradients` apart, as
        asynchronous and compressed aggregation need them.
    """

    def gradients(
        state: ActorCriticState, rows: Trajectory, key: jax.Array
    ) -> tuple[Params, UpdateInfo]:
        del key  # these losses draw nothing
        grads, metrics = jax.grad(loss, has_aux=True)(state.params, rows)
        grads = average_over(grads, axis_name)
        metrics["gradient_norm"] = optax.tree.norm(grads)
        return grads, UpdateInfo((), metrics)

    def apply_gradients(state: ActorCriticState, grads: Params) -> ActorCriticState:
        deltas, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, deltas)
        return ActorCriticState(params, opt_state, state.num_updates + 1)

    def update(
        state: ActorCriticState, rows: Trajectory, key: jax.Array
    ) -> tuple[ActorCriticState, UpdateInfo]:
        grads, info = gradients(state, rows, key)
        return apply_gradients(state, grads), info

    return Agent(
        init=make_init(network, optimizer),
        acting_params=lambda state: state.params,
        initial_memory=network.initial_memory,
        draw=network.noise,
        act=make_act(network),
        update=update,
        gradients=gradients,
        apply_gradients=apply_gradients,
    )


def weighted_means(
    terms: dict[str, jax.Array], weights: jax.Array
) -> dict[str, jax.Array]:
    """Averages several quantities with the same weights, in one reduction.

    Args:
        terms: [...] each, by name.
        weights: [...] of mean 1, from `mask_weights`.

    Returns:
        [] each, by the same names.
    """
    means = jnp.stack(list(terms.values())) * weights[None]
    means = means.mean(axis=tuple(range(1, means.ndim)))
    return {name: means[index] for index, name in enumerate(terms)}


class LossWeights(Protocol):
    """The settings that `total_loss` reads."""

    @property
    def value_weight(self) -> float:
        """Weight of the value loss."""
        ...

    @property
    def entropy_weight(self) -> float:
        """Weight of the entropy bonus."""
        ...


def total_loss(metrics: dict[str, jax.Array], config: LossWeights) -> jax.Array:
    """Adds policy loss, value loss and entropy bonus up, [] each."""
    return (
        metrics["policy_loss"]
        + config.value_weight * metrics["value_loss"]
        - config.entropy_weight * metrics["entropy"]
    )


def first_memory(rows: Trajectory) -> ArrayTree:
    """The policy's memory before the first row, [B, ...]."""
    return jax.tree.map(lambda x: x[0], rows.memory)


def values_of_rows(network: ActorCritic, params: Params, rows: Trajectory) -> jax.Array:
    """Values of rows [T, B], each from the memory that is stored with it.

    With the parameters that acted, these are the values of unrolling the rows. Nothing
    runs through time, so that all rows are one batch.

    Args:
        network: the policy and its values.
        params: of the network.
        rows: [T, B, ...], with their memory.
    """
    if not network.is_recurrent:
        return network.unroll(params, (), rows.observation, rows.is_first)[2]
    memory = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows.memory)
    observation, is_first = jax.tree.map(
        lambda x: x.reshape(1, -1, *x.shape[2:]), (rows.observation, rows.is_first)
    )
    _, _, values = network.unroll(params, memory, observation, is_first)
    return values.reshape(rows.is_first.shape)
