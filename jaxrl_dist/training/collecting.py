"""What an actor computes: rollouts of its environments, and ranks of sequences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist import rollout
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments import statistics
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.on_device import Setting, normalised
from jaxrl_dist.types import Agent, ArrayTree, Params, Trajectory


class Acting(NamedTuple):
    """What acting takes, as it travels."""

    params: Params
    normaliser: ArrayTree  # statistics without what belongs to single environments


class Share(NamedTuple):
    """Which of all environments are an actor's."""

    first: int  # number of the first
    size: int  # how many
    total: int  # of all actors


class CollectorState(NamedTuple):
    """Where an actor's environments stand."""

    rollout: Any  # RolloutState, or HostState of environments on the host
    episodes: statistics.RunningEpisodes
    return_so_far: ArrayTree  # [B] discounted; () if nobody asks
    recent: Trajectory  # [sequence_length - 1, B, ...] rows before; only for ranks


class Collected(NamedTuple):
    """A rollout."""

    rows: Trajectory  # [T + 1, B, ...] as the environments answered
    carried: ArrayTree  # [T + 1, B] discounted return before each; () if nobody asks
    priorities: ArrayTree  # [W, B] of the sequences that end in it; () if nobody asks
    episodes: statistics.EpisodeSums


class Collect(NamedTuple):
    """How an actor gets its experience."""

    begin: Callable  # () to the state from which it starts
    run: Callable  # (Acting, state) to (state, Collected)


def without_environments(statistics_now: ArrayTree) -> ArrayTree:
    """Statistics of a normaliser, without what belongs to single environments."""
    if statistics_now == ():
        return ()
    return statistics_now._replace(return_so_far=())


def ends_of_sequences(flow: Flow, rollout_steps: int) -> tuple[int, ...]:
    """In which rows of a rollout, from 0, a replay's sequences end."""
    first = (flow.item_rows - 1) % flow.period
    return tuple(range(first, rollout_steps, flow.period))


def start_key(seed: int, num_actors: int, actor: int) -> jax.Array:
    """The key of an actor's environments.

    It is that of the device of this number in a run on so many devices.
    """
    _, key_envs = jax.random.split(jax.random.key(seed))
    key_reset, _ = jax.random.split(jax.random.split(key_envs, num_actors)[actor])
    return key_reset


def make_collect(
    setting: Setting, flow: Flow, share: Share, key: jax.Array, acting_like: Acting
) -> Collect:
    """Compiles the rollouts of environments that live on this process's device.

    Args:
        setting: the run; `num_envs` is not looked at.
        flow: how experience gets to the learner.
        share: which environments are this actor's.
        key: random key of the environments; used up.
        acting_like: shapes of what acting takes.
    """
    begin = jax.jit(lambda key: first_state(setting, flow, share, key))

    def run(acting: Acting, state: CollectorState) -> tuple[CollectorState, Collected]:
        return one_rollout(setting, flow, share, acting, state)

    like = jax.eval_shape(begin, key)
    compiled = devices.trace(jax.jit(run, donate_argnums=1), acting_like, like)()
    return Collect(lambda: begin(key), compiled)


def first_state(
    setting: Setting, flow: Flow, share: Share, key: jax.Array
) -> CollectorState:
    """The state from which an actor starts."""
    start = rollout.start(setting.agent, setting.environment, key, share.size)
    return_so_far = jnp.zeros(share.size)
    none = ()
    if setting.normaliser.init(share.size) == ():
        return_so_far = none
    recent: Any = none
    if flow.ranked:
        like = rows_like(setting, share.size)
        recent = jax.tree.map(
            lambda x: jnp.zeros((flow.item_rows - 1, *x.shape[1:]), x.dtype), like
        )
    return CollectorState(start, statistics.init(share.size), return_so_far, recent)


def actor_params(agent: Agent, params: Params, share: Share) -> Params:
    """The parameters by which an actor acts, as its share has it explore."""
    if agent.placed is None:
        return params
    return agent.placed(params, share.first, share.total)


def rows_like(setting: Setting, num_envs: int) -> Trajectory:
    """The shapes of an actor's rollout, [T + 1, B, ...]; nothing is computed."""

    def make() -> Trajectory:
        key = jax.random.key(0)
        params = setting.agent.acting_params(setting.agent.init(key))
        params = actor_params(setting.agent, params, Share(0, num_envs, num_envs))
        start = rollout.start(setting.agent, setting.environment, key, num_envs)
        agent = normalised(
            setting.agent, setting.normaliser, setting.normaliser.init(num_envs)
        )
        return rollout.rollout(
            agent,
            setting.environment,
            params,
            start,
            num_steps=setting.rollout_steps,
        )[1]

    return jax.eval_shape(make)


def one_rollout(
    setting: Setting, flow: Flow, share: Share, acting: Acting, state: CollectorState
) -> tuple[CollectorState, Collected]:
    """One rollout of an actor's environments; see `CollectorState` and `Collected`."""
    params = actor_params(setting.agent, acting.params, share)
    now, rows = rollout.rollout(
        normalised(setting.agent, setting.normaliser, acting.normaliser),
        setting.environment,
        params,
        state.rollout,
        num_steps=setting.rollout_steps,
    )
    return after_rollout(setting, flow, acting, state._replace(rollout=now), rows)


def after_rollout(
    setting: Setting,
    flow: Flow,
    acting: Acting,
    state: CollectorState,
    rows: Trajectory,
) -> tuple[CollectorState, Collected]:
    """What is found out about the rows of a rollout, [T + 1, B, ...]."""
    episodes, sums = statistics.update(state.episodes, rows)
    return_so_far, carried = setting.normaliser.follow(state.return_so_far, rows)
    recent, priorities = state.recent, ()
    if recent != ():
        recent, priorities = ranks(setting, flow, acting, recent, rows)
    state = CollectorState(state.rollout, episodes, return_so_far, recent)
    return state, Collected(rows, carried, priorities, sums)


def ranks(
    setting: Setting, flow: Flow, acting: Acting, recent: Trajectory, rows: Trajectory
) -> tuple[Trajectory, jax.Array]:
    """Ranks the sequences that end in a rollout, as the learner would.

    Args:
        setting: the run.
        flow: how long sequences are.
        acting: the parameters, which are taken as the target as well.
        recent: [L - 1, B, ...] the rows before.
        rows: [T + 1, B, ...] of the rollout; the last one is not complete.

    Returns:
        The rows before the next rollout, and priorities [W, B]; they mean nothing for
        sequences that begin before the first row of all.
    """
    length = flow.item_rows
    every = jax.tree.map(lambda x, y: jnp.concatenate([x, y[:-1]]), recent, rows)
    ends = ends_of_sequences(flow, setting.rollout_steps)

    def sequences(x: jax.Array) -> jax.Array:
        """[L, W B, ...] out of [L - 1 + T, B, ...]."""
        parts = jnp.stack([x[end : end + length] for end in ends], axis=1)
        return parts.reshape(length, -1, *x.shape[2:])

    seen = setting.normaliser.rows(acting.normaliser, jax.tree.map(sequences, every))
    rank = setting.agent.initial_priorities
    assert rank is not None
    found = rank(acting.params, seen, jax.random.key(0))
    recent = jax.tree.map(lambda x: x[len(x) - (length - 1) :], every)
    return recent, found.reshape(len(ends), -1)
