"""The nouns of the project: what flows from environment to learner and back.

Shape letters, used in every docstring: T time, B batch, A actions, N quantiles or
atoms; `...` stands for any axes. Time is always the leading axis.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

ArrayTree = Any  # nested containers of jax.Array
Params = ArrayTree


class TimeStep(NamedTuple):
    """What a batch of environments answers to its actions."""

    observation: ArrayTree  # [B, ...] what is seen now
    reward: jax.Array  # [B] for the action that led here; 0 on a first row
    terminated: jax.Array  # [B] bool; that action ended the episode by itself
    is_first: jax.Array  # [B] bool; this observation begins an episode
    is_last: jax.Array  # [B] bool; it ends one; the next step resets


class Trajectory(NamedTuple):
    """Experience, one row per observation. A last row's action is never executed."""

    observation: ArrayTree  # [T, B, ...]
    is_first: jax.Array  # [T, B] bool
    is_last: jax.Array  # [T, B] bool
    action: jax.Array  # [T, B] int32, or [T, B, ...] float32
    reward: jax.Array  # [T, B] for this row's action, environment reward units
    terminated: jax.Array  # [T, B] bool; this row's action ended the episode by itself
    extras: ArrayTree = ()  # [T, B, ...] what the policy knew: its distribution
    memory: ArrayTree = ()  # [T, B, ...] the policy's memory before the action


class Sample(NamedTuple):
    """A batch drawn from replay, with what is needed to correct and re-rank it."""

    trajectory: Trajectory  # [T, B, ...]
    weight: jax.Array  # [B] importance weight in (0, 1]
    slot: jax.Array  # [B] where each sequence lives in its store


class UpdateInfo(NamedTuple):
    """What one learner update reports."""

    priority: ArrayTree  # [B] new priority of each sequence; () without replay
    metrics: dict[str, jax.Array]  # name to []


class ArraySpec(NamedTuple):
    """Shape and type of one array, without batch axes, and the range of its values."""

    shape: tuple[int, ...]
    dtype: Any
    low: Any = None  # broadcastable to shape, or None where unbounded or unknown
    high: Any = None
    channels_first: bool = False  # of an image: [C, H, W] and not [H, W, C]


class DiscreteSpec(NamedTuple):
    """One choice out of several."""

    num_values: int  # actions are 0 to num_values - 1, int32


class EnvironmentSpec(NamedTuple):
    """What an agent must know of an environment to be built for it."""

    name: str
    observation: ArrayTree  # of ArraySpec
    action: DiscreteSpec | ArraySpec  # ArraySpec: continuous, low and high are finite


class Agent(NamedTuple):
    """An agent as pure functions, not yet compiled.

    `act` takes random numbers rather than a key, so that a rollout draws those of all
    its steps at once, outside the loop. Of the TimeStep it may look at the observation,
    `is_first` and `is_last`; within a rollout, reward and `terminated` are zeros.
    """

    init: Callable  # (key) to state, a NamedTuple of arrays with a field `params`
    acting_params: Callable  # (state) to what `act` takes as params
    initial_memory: Callable  # (batch_size) to memory [B, ...]; () if it has none
    draw: Callable  # (key, batch_size) to noise [B, ...], the random numbers of one act
    act: Callable  # (params, memory, TimeStep, noise) to (memory, action, extras);
    # with noise None, the action is the policy's most likely one
    update: Callable  # (state, Trajectory or Sample, key) to (state, UpdateInfo)
    sequence_length: int | None = None  # rows of each sequence of the Sample that
    # `update` takes; None if it takes the Trajectory of a whole rollout
    sequence_period: int = 1  # rows from the beginning of a sequence to the next one's;
    # of sequences that begin every few rows, the memory of the first row is read alone
    first_row_only: bool = True  # of a sequence, `update` learns the first row's value
    gradients: Callable | None = None  # (state, experience, key) to (grads, UpdateInfo)
    apply_gradients: Callable | None = None  # (state, grads) to state
    distribution: Callable | None = None  # (params as `act` takes them, observation
    # [B, ...]) to returns of each action and their probabilities, [B, A, N] each; None
    # of an agent that learns no distribution
    initial_priorities: Callable | None = None  # (params as `act` takes them,
    # Trajectory [sequence_length, B, ...], key) to [B], the priorities that `update`
    # would give with these parameters as its target; None where the actor cannot tell
    placed: Callable | None = None  # (params as `act` takes them, number of an actor's
    # first environment, number of all actors' environments) to params with which the
    # actor explores in its own way; None if all explore alike
