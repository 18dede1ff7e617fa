"""What the learner computes: updates of an agent from what actors sent."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.distribution import devices
from jaxrl_dist.training import on_device
from jaxrl_dist.training.across_devices import over_seeds
from jaxrl_dist.training.collecting import Acting, rows_like, without_environments
from jaxrl_dist.training.flow import Flow
from jaxrl_dist.training.on_device import Setting, TrainState, all_finite
from jaxrl_dist.types import ArrayTree, Sample, Trajectory


class Batch(NamedTuple):
    """What one update learns from; on devices [D, 1, ...]."""

    trajectory: Trajectory  # [T, B, ...]
    weight: ArrayTree = ()  # [B] importance weights; () without replay
    carried: ArrayTree = ()  # [B] discounted return before the first row; () if unknown


class Totals(NamedTuple):
    """What updates since the last report add up to."""

    metrics: dict[str, Any]  # name to [], sums
    num_updates: jax.Array  # [] int32


class Learning(NamedTuple):
    """The compiled functions of a learner. Arrays are [D, 1, ...], as on the device."""

    init: Callable  # (seed) to TrainState, of agent, replay, normaliser and key
    zeros: Callable  # () to Totals of nothing
    learn: Callable  # (TrainState, Totals, Batch, index [] int32) to (TrainState,
    # Totals, priorities [D, 1, B / D] or ()); state and totals are donated
    acting: Callable  # (TrainState) to Acting
    report: Callable  # (TrainState, Totals) to (means of metrics, updates, finite)


def spread(num_devices: int, axis: int, tree: ArrayTree) -> ArrayTree:
    """Spreads the batch of numpy arrays over devices: [..., B, ...] to [D, 1, ...]."""

    def one(x: np.ndarray) -> np.ndarray:
        if num_devices == 1:
            return x[None, None]
        return np.stack(np.split(x, num_devices, axis=axis))[:, None]

    return jax.tree.map(one, tree)


def state_like(
    setting: Setting, flow: Flow, num_devices: int, seed: int = 0
) -> TrainState:
    """Shapes and types of a learner's state, [D, 1, ...]; nothing is computed."""
    init = make_init(setting, flow, num_devices)
    return jax.eval_shape(lambda: init(seed))


def make_init(setting: Setting, flow: Flow, num_devices: int) -> Callable:
    """Builds (seed) to the state from which a learner starts.

    Agent and keys are those of an on-device run of that seed on so many devices.
    """

    def one(agent_state: Any, key: jax.Array) -> TrainState:
        _, key_updates = jax.random.split(key)
        store = ()
        if flow.kind == "rounds" and setting.replay is not None:
            like = rows_like(setting, setting.num_envs)
            store = setting.replay.replay.init(
                jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), like)
            )
        return TrainState(
            agent=agent_state,
            past_params=(),
            replay=store,
            rollout=(),  # pyright: ignore[reportArgumentType] - the actors' own
            normaliser=setting.normaliser.init(flow.batch_size // num_devices),
            episodes=(),
            key=key_updates,
        )

    def agent_and_keys(seed: jax.Array) -> tuple[Any, jax.Array]:
        key_agent, key_envs = jax.random.split(jax.random.key(seed))
        keys = jax.random.split(key_envs, num_devices)
        agent_state = setting.agent.init(key_agent)
        return jax.tree.map(lambda x: x[None], agent_state), keys[:, None]

    start = devices.compile_for(num_devices, over_seeds(one, 1), in_axes=(None, 0))
    begin = jax.jit(agent_and_keys)
    return lambda seed: start(*begin(np.int32(seed)))


def make_learning(
    setting: Setting, flow: Flow, num_devices: int, batch_like: Batch
) -> Learning:
    """Compiles a learner.

    Args:
        setting: the run, as each device sees it.
        flow: how experience gets here.
        num_devices: D.
        batch_like: shapes [D, 1, ...].
    """

    def learn(
        state: TrainState, totals: Totals, batch: Batch, index: jax.Array
    ) -> tuple[TrainState, Totals, ArrayTree]:
        def one(state: TrainState, totals: Totals, batch: Batch) -> tuple:
            return one_update(
                setting, flow, state, totals=totals, batch=batch, index=index
            )

        return over_seeds(one, 1)(state, totals, batch)

    def acting(state: TrainState) -> Acting:
        return over_seeds(lambda state: acting_of(setting, state), 1)(state)

    def report(state: TrainState, totals: Totals) -> tuple:
        def one(state: TrainState, totals: Totals) -> tuple:
            count = jnp.maximum(totals.num_updates, 1)
            means = jax.tree.map(lambda x: x / count, totals.metrics)
            return means, totals.num_updates, all_finite(state.agent)

        return over_seeds(one, 1)(state, totals)

    like = state_like(setting, flow, num_devices)
    metrics = metrics_like(setting, flow, like, batch_like)

    def zeros() -> Totals:
        none = np.zeros((num_devices, 1), np.float32)
        sums = {name: none.copy() for name in metrics}
        return Totals(sums, np.zeros((num_devices, 1), np.int32))  # pyright: ignore[reportArgumentType] - numpy until it is donated

    compiled = devices.compile_for(
        num_devices, learn, donate=(0, 1), in_axes=(0, 0, 0, None)
    )
    return Learning(
        init=make_init(setting, flow, num_devices),
        zeros=zeros,
        learn=devices.trace(compiled, like, zeros(), batch_like, np.int32(0))(),
        acting=devices.trace(devices.compile_for(num_devices, acting), like)(),
        report=devices.trace(devices.compile_for(num_devices, report), like, zeros())(),
    )


def metrics_like(
    setting: Setting, flow: Flow, state: TrainState, batch: Batch
) -> list[str]:
    """The names of the metrics of an update; nothing is computed."""

    def one(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        with_axis = jax.vmap(
            lambda s, b: _update(setting, flow, s, b, jnp.int32(0))[1],
            axis_name=devices.AXIS_NAME,
        )
        state, batch = jax.tree.map(lambda x: x[:, 0], (state, batch))
        return with_axis(state, batch)

    return list(jax.eval_shape(one, state, batch))


def one_update(
    setting: Setting,
    flow: Flow,
    state: TrainState,
    *,
    totals: Totals,
    batch: Batch,
    index: jax.Array,
) -> tuple[TrainState, Totals, ArrayTree]:
    """What one device learns from its share of a batch.

    Args:
        setting: the run.
        flow: how experience gets here.
        state: where the learner stands.
        totals: so far.
        batch: without axes of devices and seeds.
        index: [] int32, batches of the run so far.

    Returns:
        State, totals, and the priorities [B] of what was drawn, or ().
    """
    state, metrics, num_updates, priority = _update(setting, flow, state, batch, index)
    sums = jax.tree.map(jnp.add, totals.metrics, metrics)
    return state, Totals(sums, totals.num_updates + num_updates), priority


def _update(
    setting: Setting, flow: Flow, state: TrainState, batch: Batch, index: jax.Array
) -> tuple[TrainState, dict[str, jax.Array], jax.Array, ArrayTree]:
    """State, sums of metrics, the number of updates, and priorities."""
    if flow.kind != "replay":
        if not isinstance(batch.carried, tuple):  # an array
            statistics = state.normaliser._replace(return_so_far=batch.carried)
            state = state._replace(normaliser=statistics)
        state, (metrics, num_updates) = on_device.learn(
            setting, state, batch.trajectory, index
        )
        return state, metrics, num_updates, ()
    key, key_update = jax.random.split(state.key)
    seen = setting.normaliser.rows(state.normaliser, batch.trajectory)
    nowhere = jnp.zeros(len(batch.weight), jnp.int32)  # the host knows the items' keys
    sample = Sample(seen, batch.weight, nowhere)
    learnt, info = setting.agent.update(state.agent, sample, key_update)
    state = state._replace(agent=learnt, key=key)
    return state, info.metrics, jnp.ones((), jnp.int32), info.priority


def acting_of(setting: Setting, state: TrainState) -> Acting:
    """What acting takes, as one device has it."""
    return Acting(
        setting.agent.acting_params(state.agent),
        without_environments(state.normaliser),
    )


def of_first(tree: ArrayTree) -> ArrayTree:
    """The first device's share of arrays [D, 1, ...], without these axes, in numpy."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0, 0], tree)
