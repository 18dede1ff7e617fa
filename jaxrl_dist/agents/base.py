"""What all agents share: reading steps out of rows, averaging over devices."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrl_dist.types import ArrayTree, Trajectory


class Transitions(NamedTuple):
    """What T + 1 rows say about the T steps between them."""

    actions: ArrayTree  # [T, B, ...]
    rewards: jax.Array  # [T, B] environment reward units
    discounts: jax.Array  # [T, B] gamma, or 0 where the step terminated the episode
    ends: jax.Array  # [T, B] bool; the episode ended with this step
    mask: jax.Array  # [T, B] 1, or 0 where the row was an episode's last: no step


def transitions(rows: Trajectory, gamma: float) -> Transitions:
    """Reads steps out of rows. The one place gamma and masks come from.

    Args:
        rows: [T + 1, B, ...].
        gamma: discount per step, in [0, 1].

    Returns:
        [T, B, ...] steps, to be used with values[:-1] and values[1:] of the rows.
    """
    return Transitions(
        actions=jax.tree.map(lambda x: x[:-1], rows.action),
        rewards=rows.reward[:-1],
        discounts=gamma * (1.0 - rows.terminated[:-1]),
        ends=rows.is_last[1:],
        mask=1.0 - rows.is_last[:-1],
    )


class NStep(NamedTuple):
    """One transition over up to n steps for each sequence, as if it were one step."""

    observation: ArrayTree  # [B, ...] of the first row
    action: ArrayTree  # [B, ...] of the first row
    reward: jax.Array  # [B] discounted sum of what the steps earned, reward units
    discount: jax.Array  # [B] on the value reached: gamma^steps, or 0 if terminated
    next_observation: ArrayTree  # [B, ...] that was reached
    mask: jax.Array  # [B] 1, or 0 where the first row was an episode's last: no step


def n_step_transitions(rows: Trajectory, gamma: float) -> NStep:
    """Reads one transition of n steps out of n + 1 rows, or of fewer up to an end.

    Args:
        rows: [n + 1, B, ...], n from 1.
        gamma: discount per step, in [0, 1].

    Returns:
        [B, ...] transitions. Where an episode ended on the way, terminated or
        truncated, they reach its last observation and nothing beyond it.
    """
    steps = transitions(rows, gamma)
    n = len(steps.rewards)
    reward, discount = steps.rewards[0], steps.discounts[0]
    next_observation = jax.tree.map(lambda x: x[1], rows.observation)
    going = ~steps.ends[0]
    for t in range(1, n):
        reward = reward + jnp.where(going, discount * steps.rewards[t], 0.0)
        discount = jnp.where(going, discount * steps.discounts[t], discount)
        next_observation = jax.tree.map(
            functools.partial(_where, going),
            jax.tree.map(lambda x, t=t: x[t + 1], rows.observation),
            next_observation,
        )
        going = going & ~steps.ends[t]
    return NStep(
        observation=jax.tree.map(lambda x: x[0], rows.observation),
        action=jax.tree.map(lambda x: x[0], steps.actions),
        reward=reward,
        discount=discount,
        next_observation=next_observation,
        mask=steps.mask[0],
    )


def _where(condition: jax.Array, chosen: jax.Array, other: jax.Array) -> jax.Array:
    """Picks elements [B, ...] of two arrays by a condition [B]."""
    return jnp.where(jnp.expand_dims(condition, range(1, chosen.ndim)), chosen, other)


def average_over(tree: ArrayTree, axis_name: str | None) -> ArrayTree:
    """Averages a tree of arrays over devices, in one collective of one flat array.

    Args:
        tree: arrays of one float dtype.
        axis_name: device axis; None leaves the tree as it is.

    Returns:
        The tree of means, equal on all devices.
    """
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, axis_name))


def mask_weights(mask: jax.Array, axis_name: str | None) -> jax.Array:
    """Turns a mask into weights of mean 1 over the whole batch, on all devices.

    The plain mean of `weights * loss`, averaged over devices, is then the mean over the
    steps that count, however they are spread over devices and minibatches.

    Args:
        mask: [T, B] 1 where the step counts, 0 where it does not.
        axis_name: device axis that shares the batch; None for one device.

    Returns:
        [T, B] weights.
    """
    share = average_over(mask.mean(), axis_name)
    return mask / jnp.maximum(share, jnp.finfo(mask.dtype).tiny)


def masked_means(terms: dict[str, jax.Array], mask: jax.Array) -> dict[str, jax.Array]:
    """Averages terms [B] over the whole batch, [] each; what is no step counts as 0."""
    return {name: jnp.mean(mask * term) for name, term in terms.items()}


def over_steps(means: ArrayTree, mask: jax.Array, axis_name: str | None) -> ArrayTree:
    """Turns means over the batch into means over those of its rows that are steps.

    Averages over devices too: one collective serves means, gradients and the mask.

    Args:
        means: of `masked_means`, and gradients of such means.
        mask: [B] 0 where a sequence begins with no step.
        axis_name: device axis that shares the batch; None for one device.

    Returns:
        The same tree, equal on all devices.
    """
    means, share = average_over((means, mask.mean()), axis_name)
    share = jnp.maximum(share, jnp.finfo(share.dtype).tiny)
    return jax.tree.map(lambda x: x / share, means)


def normalise(
    values: jax.Array, weights: jax.Array, axis_name: str | None
) -> jax.Array:
    """Shifts and scales to mean 0 and variance 1 over the whole batch, on all devices.

    Args:
        values: [T, B].
        weights: [T, B] of mean 1, from `mask_weights`.
        axis_name: device axis that shares the batch; None for one device.

    Returns:
        [T, B].
    """
    mean = average_over((weights * values).mean(), axis_name)
    centred = values - mean
    variance = average_over((weights * centred**2).mean(), axis_name)
    return centred / (jnp.sqrt(variance) + 1e-8)
