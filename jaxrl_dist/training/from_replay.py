"""Learning from replay: what was seen is stored, and updates draw from the store."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.replay.sequences import Replay, ReplayConfig
from jaxrl_dist.training.normaliser import Normaliser
from jaxrl_dist.types import Agent, ArrayTree, Trajectory


class ReplaySetting(NamedTuple):
    """How a run uses its replay, on each device alike."""

    replay: Replay
    updates_per_rollout: int
    warmup_rollouts: int  # after which the first update comes
    beta: tuple[float, float]  # of importance weights, at the run's beginning and end
    total_rollouts: int  # of the run


def make_replay_setting(
    config: ReplayConfig,
    agent: Agent,
    *,
    num_envs: int,
    rollout_steps: int,
    total_rollouts: int,
    num_devices: int = 1,
    axis_name: str | None = None,
) -> ReplaySetting:
    """Builds the replay of a run.

    Args:
        config: of the replay.
        agent: that takes sequences.
        num_envs: over all devices.
        rollout_steps: of each environment.
        total_rollouts: of the run.
        num_devices: over which environments and batches are spread.
        axis_name: device axis over which importance weights are normalised; None for
            one device.

    Raises:
        ValueError: settings that do not fit each other.
    """
    steps = num_envs * rollout_steps
    assert agent.sequence_length is not None
    replay = config.build(
        sequence_length=agent.sequence_length,
        num_envs=num_envs,
        num_devices=num_devices,
        axis_name=axis_name,
        period=agent.sequence_period,
        first_row_only=agent.first_row_only,
    )
    return ReplaySetting(
        replay=replay,
        updates_per_rollout=updates_per_rollout(config, steps),
        # The rollout that fills the store far enough is learned from.
        warmup_rollouts=max(0, -(-config.warmup_steps // steps) - 1),
        beta=(config.beta, 1.0 if config.anneal_beta else config.beta),
        total_rollouts=total_rollouts,
    )


def updates_per_rollout(config: ReplayConfig, steps_per_rollout: int) -> int:
    """How many updates follow each rollout.

    Args:
        config: of the replay.
        steps_per_rollout: of all environments together.

    Raises:
        ValueError: it is no whole number; the message says what would be.
    """
    exact = config.updates_per_step * steps_per_rollout
    number = round(exact)
    if number >= 1 and abs(exact - number) < 1e-6 * number:
        return number
    nearest = max(1, number) / steps_per_rollout
    raise ValueError(
        f"updates_per_step is {config.updates_per_step}, and a rollout takes "
        f"{steps_per_rollout} steps (environment.num_envs times "
        f"runtime.rollout_steps): {exact:g} updates follow it, which must be a whole "
        f"number from 1; {nearest:g} would do, or other rollout_steps"
    )


def learn_from_replay(
    setting: ReplaySetting,
    agent: Agent,
    normaliser: Normaliser,
    statistics: ArrayTree,
    *,
    store: Any,
    agent_state: Any,
    rows: Trajectory,
    rollout_index: jax.Array,
    key: jax.Array,
) -> tuple[Any, Any, dict[str, jax.Array], jax.Array]:
    """Stores a rollout and makes the updates that follow it, on one device.

    Args:
        setting: of the replay.
        agent: whose `update` takes samples.
        normaliser: through which the agent sees what is drawn.
        statistics: of the normaliser, as they are now.
        store: state of the replay.
        agent_state: of the agent.
        rows: [T + 1, B, ...] of the rollout; the last is the next rollout's first.
        rollout_index: [] int32, of the run, from 0. It decides when learning begins,
            and not the store, so that it is one number even where seeds run side by
            side: a loop whose end differs between them would copy the stores.
        key: random key; used up.

    Returns:
        Store, agent, sums of metrics over the updates, and the number of updates.
    """
    store = setting.replay.add(store, jax.tree.map(lambda x: x[:-1], rows))
    # The barrier keeps XLA from adding once more where rows are read, in another shape:
    # with one environment it did, and copied the whole store for it at each step.
    store = jax.lax.optimization_barrier(store)
    ready = rollout_index >= setting.warmup_rollouts
    num_updates = jnp.where(ready, setting.updates_per_rollout, 0)
    first, last = setting.beta
    beta = first + (last - first) * (rollout_index / setting.total_rollouts)
    keys = jax.random.split(key, (setting.updates_per_rollout, 2))

    def one_update(store: Any, agent_state: Any, keys: jax.Array) -> tuple:
        key_draw, key_update = keys
        sample = setting.replay.sample(store, key_draw, beta)
        seen = normaliser.rows(statistics, sample.trajectory)
        sample = sample._replace(trajectory=seen)
        agent_state, info = agent.update(agent_state, sample, key_update)
        store, refused = setting.replay.set_priorities(
            store, sample.slot, info.priority
        )
        refused = {"refused_priorities": refused.astype(jnp.float32)}
        return store, agent_state, info.metrics | refused

    def body(index: jax.Array, carry: tuple) -> tuple:
        store, agent_state, metrics = carry
        store, agent_state, new = one_update(store, agent_state, keys[index])
        return store, agent_state, jax.tree.map(jnp.add, metrics, new)

    metrics = jax.eval_shape(one_update, store, agent_state, keys[0])[2]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
    store, agent_state, metrics = jax.lax.fori_loop(
        0, num_updates, body, (store, agent_state, zeros)
    )
    return store, agent_state, metrics, num_updates
