"""Environments, rollouts and updates as one program, as each device runs it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist import rollout
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.environments import statistics
from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.training.from_replay import ReplaySetting, learn_from_replay
from jaxrl_dist.training.normaliser import Normaliser
from jaxrl_dist.types import Agent, ArrayTree, Params, TimeStep, Trajectory


@dataclasses.dataclass(frozen=True)
class OnDeviceConfig:
    """Settings of the on-device runtime.

    Attributes:
        rollout_steps: steps of each environment per update, from 1.
        num_devices: over which the environments are spread; None takes as many as there
            are and the batch divides over, on a CPU fewer for small minibatches.
        policy_lag_updates: how many updates old the parameters are that act, from 0;
            more than 0 imitates actors that run behind the learner.

    Raises:
        ValueError: a setting is out of its range.
    """

    rollout_steps: int = 128
    num_devices: int | None = None
    policy_lag_updates: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, rollout_steps=self.rollout_steps)
        check_at_least(0, policy_lag_updates=self.policy_lag_updates)
        if self.num_devices is not None:
            check_at_least(1, num_devices=self.num_devices)


class Setting(NamedTuple):
    """What a run consists of, on each device alike."""

    agent: Agent
    environment: BatchedEnvironment
    normaliser: Normaliser
    num_envs: int  # on each device
    rollout_steps: int
    policy_lag_updates: int
    replay: ReplaySetting | None = None  # for agents that learn from one


class TrainState(NamedTuple):
    """All that changes during a run; a checkpoint holds exactly this."""

    agent: Any
    past_params: ArrayTree  # [lag, ...] that act, oldest first; () without lag
    replay: ArrayTree  # the stored rows; () without replay
    rollout: rollout.RolloutState
    normaliser: ArrayTree
    episodes: ArrayTree  # of the episodes under way
    key: jax.Array


class Report(NamedTuple):
    """What a number of updates did."""

    metrics: dict[str, Any]  # name to [], means over the agent's updates
    num_updates: jax.Array  # [] int32, of the agent; if 0, metrics say nothing
    episodes: statistics.EpisodeSums
    finite: jax.Array  # [] bool; nothing of the agent is NaN or infinite


def init(setting: Setting, agent_state: Any, key: jax.Array) -> TrainState:
    """Makes the state from which a run starts, on one device.

    Args:
        setting: the run.
        agent_state: fresh, and equal on all devices.
        key: this device's own.
    """
    key_reset, key_updates = jax.random.split(key)
    agent, lag = setting.agent, setting.policy_lag_updates
    start = rollout.start(agent, setting.environment, key_reset, setting.num_envs)
    acting = agent.acting_params(agent_state)
    statistics_now = setting.normaliser.init(setting.num_envs)
    past = ()
    if lag:
        past = jax.tree.map(lambda x: jnp.stack([x] * lag), acting)
    store = ()
    if setting.replay is not None:
        _, rows = jax.eval_shape(
            lambda: one_rollout(setting, acting, statistics_now, start)
        )
        store = setting.replay.replay.init(jax.tree.map(_without_time, rows))
    return TrainState(
        agent=agent_state,
        past_params=past,
        replay=store,
        rollout=start,
        normaliser=statistics_now,
        episodes=statistics.init(setting.num_envs),
        key=key_updates,
    )


def _without_time(rows: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The shape of one row [B, ...] of several [T, B, ...]."""
    return jax.ShapeDtypeStruct(rows.shape[1:], rows.dtype)


def one_rollout(
    setting: Setting,
    acting_params: Params,
    statistics_now: ArrayTree,
    state: rollout.RolloutState,
) -> tuple[rollout.RolloutState, Trajectory]:
    """Acts for `rollout_steps`, seeing what the normaliser makes of observations."""
    return rollout.rollout(
        normalised(setting.agent, setting.normaliser, statistics_now),
        setting.environment,
        acting_params,
        state,
        num_steps=setting.rollout_steps,
    )


def one_update(
    setting: Setting, state: TrainState, rollout_index: jax.Array
) -> tuple[TrainState, tuple[dict[str, jax.Array], jax.Array, statistics.EpisodeSums]]:
    """One rollout and what the agent learns after it, on one device.

    Args:
        setting: the run.
        state: where it stands.
        rollout_index: [] int32, of the run, from 0.

    Returns:
        Where it then stands; sums of metrics over the agent's updates, the number of
        these, and the episodes.
    """
    agent = setting.agent
    newest = agent.acting_params(state.agent)
    past, acting = state.past_params, newest
    if past != ():
        acting = jax.tree.map(lambda x: x[0], past)
        past = jax.tree.map(
            lambda x, new: jnp.concatenate([x[1:], new[None]]), past, newest
        )
    now, rows = one_rollout(setting, acting, state.normaliser, state.rollout)
    episodes, sums = statistics.update(state.episodes, rows)
    state, (metrics, num_updates) = learn(setting, state, rows, rollout_index)
    state = state._replace(past_params=past, rollout=now, episodes=episodes)
    return state, (metrics, num_updates, sums)


def learn(
    setting: Setting, state: TrainState, rows: Trajectory, rollout_index: jax.Array
) -> tuple[TrainState, tuple[dict[str, jax.Array], jax.Array]]:
    """What the agent learns after a rollout, on one device.

    Args:
        setting: the run.
        state: where it stands; of agent, replay, normaliser and key alone.
        rows: [T + 1, B, ...] of the rollout, as the environments answered.
        rollout_index: [] int32, of the run, from 0.

    Returns:
        Where it then stands; sums of metrics over the agent's updates, and the number
        of these.
    """
    agent, normaliser = setting.agent, setting.normaliser
    key, key_update = jax.random.split(state.key)
    store = state.replay
    if setting.replay is None:
        seen = normaliser.rows(state.normaliser, rows)
        learnt, info = agent.update(state.agent, seen, key_update)
        metrics, num_updates = info.metrics, jnp.ones((), jnp.int32)
    else:
        store, learnt, metrics, num_updates = learn_from_replay(
            setting.replay,
            agent,
            normaliser,
            state.normaliser,
            store=store,
            agent_state=state.agent,
            rows=rows,
            rollout_index=rollout_index,
            key=key_update,
        )
    statistics_after = normaliser.update(state.normaliser, rows)
    state = state._replace(
        agent=learnt, replay=store, normaliser=statistics_after, key=key
    )
    return state, (metrics, num_updates)


def normalised(agent: Agent, normaliser: Normaliser, state: ArrayTree) -> Agent:
    """The agent behind the observation statistics of a moment."""

    def act(
        params: Params, memory: ArrayTree, time_step: TimeStep, noise: ArrayTree
    ) -> tuple[ArrayTree, jax.Array, ArrayTree]:
        observation = normaliser.observations(state, time_step.observation)
        return agent.act(
            params, memory, time_step._replace(observation=observation), noise
        )

    return agent._replace(act=act)


def train(
    setting: Setting, state: TrainState, first: jax.Array, num_rollouts: jax.Array
) -> tuple[TrainState, Report]:
    """Runs a number of rollouts and what is learned after each, on one device.

    Args:
        setting: the run.
        state: where it stands.
        first: [] int32, rollouts of the run so far.
        num_rollouts: [] int32, from 1; not static, so every number shares one program.

    Returns:
        Where the run then stands, and what happened.
    """

    def body(index: jax.Array, carry: tuple) -> tuple:
        state, (metrics, num_updates, sums) = carry
        state, (metrics_here, updates_here, sums_here) = one_update(
            setting, state, first + index
        )
        metrics = jax.tree.map(jnp.add, metrics, metrics_here)
        both = jax.tree.map(lambda *x: jnp.stack(x), sums, sums_here)
        sums = statistics.join(both, axis=0)
        return state, (metrics, num_updates + updates_here, sums)

    _, (metrics, _, _) = jax.eval_shape(lambda s: one_update(setting, s, first), state)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
    nothing = (zeros, jnp.zeros((), jnp.int32), statistics.no_episodes())
    state, (metrics, num_updates, sums) = jax.lax.fori_loop(
        0, num_rollouts, body, (state, nothing)
    )
    metrics = jax.tree.map(lambda x: x / jnp.maximum(num_updates, 1), metrics)
    return state, Report(metrics, num_updates, sums, all_finite(state.agent))


def all_finite(tree: ArrayTree) -> jax.Array:
    """Whether no number of a tree is NaN or infinite, [] bool."""
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in numbers]))
