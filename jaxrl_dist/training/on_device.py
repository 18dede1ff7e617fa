"""Environments, rollouts and updates in one compiled program per device."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist import rollout
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments import statistics
from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.evaluation import Episodes, evaluate
from jaxrl_dist.training.normaliser import Normaliser
from jaxrl_dist.types import Agent, ArrayTree, Params, TimeStep

EVALUATION = 0x6576616C  # sets the keys of evaluations apart from those of training


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


class TrainState(NamedTuple):
    """All that changes during a run; a checkpoint holds exactly this."""

    agent: Any
    past_params: ArrayTree  # [lag, ...] oldest first; () without lag
    rollout: rollout.RolloutState
    normaliser: ArrayTree
    episodes: ArrayTree  # of the episodes under way
    key: jax.Array


class Report(NamedTuple):
    """What a number of updates did."""

    metrics: dict[str, Any]  # name to [], means over the updates
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
    lag = setting.policy_lag_updates
    past = ()
    if lag:
        past = jax.tree.map(lambda x: jnp.stack([x] * lag), agent_state.params)
    return TrainState(
        agent=agent_state,
        past_params=past,
        rollout=rollout.start(
            setting.agent, setting.environment, key_reset, setting.num_envs
        ),
        normaliser=setting.normaliser.init(setting.num_envs),
        episodes=statistics.init(setting.num_envs),
        key=key_updates,
    )


def acting_params(state: TrainState) -> Params:
    """The parameters that act: the newest, or those of some updates ago."""
    if state.past_params == ():
        return state.agent.params
    return jax.tree.map(lambda x: x[0], state.past_params)


def one_update(
    setting: Setting, state: TrainState
) -> tuple[TrainState, dict[str, jax.Array], statistics.EpisodeSums]:
    """One rollout and one update of the agent from it, on one device."""
    agent, normaliser = setting.agent, setting.normaliser
    key, key_update = jax.random.split(state.key)
    acting = normalised(agent, normaliser, state.normaliser)
    now, rows = rollout.rollout(
        acting,
        setting.environment,
        acting_params(state),
        state.rollout,
        num_steps=setting.rollout_steps,
    )
    episodes, sums = statistics.update(state.episodes, rows)
    learnt, info = agent.update(
        state.agent, normaliser.rows(state.normaliser, rows), key_update
    )
    past = state.past_params
    if past != ():
        past = jax.tree.map(
            lambda x, new: jnp.concatenate([x[1:], new[None]]),
            past,
            state.agent.params,
        )
    statistics_after = normaliser.update(state.normaliser, rows)
    state = TrainState(learnt, past, now, statistics_after, episodes, key)
    return state, info.metrics, sums


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
    setting: Setting, state: TrainState, num_updates: jax.Array
) -> tuple[TrainState, Report]:
    """Runs a number of updates, on one device.

    Args:
        setting: the run.
        state: where it stands.
        num_updates: [] int32, from 1; not static, so every number shares one program.

    Returns:
        Where the run then stands, and what happened.
    """

    def body(_: jax.Array, carry: tuple) -> tuple:
        state, metrics, sums = carry
        state, new_metrics, new_sums = one_update(setting, state)
        metrics = jax.tree.map(jnp.add, metrics, new_metrics)
        both = jax.tree.map(lambda *x: jnp.stack(x), sums, new_sums)
        return state, metrics, statistics.join(both, axis=0)

    _, metrics, _ = jax.eval_shape(lambda s: one_update(setting, s), state)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
    carry = (state, zeros, statistics.no_episodes())
    state, metrics, sums = jax.lax.fori_loop(0, num_updates, body, carry)
    metrics = jax.tree.map(lambda x: x / num_updates, metrics)
    return state, Report(metrics, sums, all_finite(state.agent))


def all_finite(tree: ArrayTree) -> jax.Array:
    """Whether no number of a tree is NaN or infinite, [] bool."""
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in numbers]))


class OnDevice(NamedTuple):
    """The compiled functions of a run. Arrays are [D, S, ...]: devices, then seeds."""

    init: Callable  # (first seed) to TrainState
    train: Any  # (TrainState, num_updates []) to (TrainState, Report); the state is
    # donated; can be compiled ahead, by `devices.trace`


def make_on_device(setting: Setting, *, num_devices: int, num_seeds: int) -> OnDevice:
    """Compiles a run for several devices and seeds.

    Args:
        setting: the run, as each device sees it.
        num_devices: D.
        num_seeds: S, independent runs side by side.

    Returns:
        The functions, compiled when first called.
    """

    def agents_and_keys(first_seed: jax.Array) -> tuple[Any, jax.Array]:
        def one_seed(seed: jax.Array) -> tuple[Any, jax.Array]:
            key_agent, key_envs = jax.random.split(jax.random.key(seed))
            agent_state = setting.agent.init(key_agent)
            return agent_state, jax.random.split(key_envs, num_devices)

        # One seed after another: on a CPU, the batched QR decompositions of orthogonal
        # initializers wait for the thread pool from inside it, and hang for ever.
        states, keys = jax.lax.map(one_seed, first_seed + jnp.arange(num_seeds))
        return states, keys.swapaxes(0, 1)

    begin = jax.jit(agents_and_keys)
    start = over_seeds(lambda *x: init(setting, *x), num_seeds)
    start = devices.compile_for(num_devices, start, in_axes=(None, 0))

    def init_all(first_seed: int) -> TrainState:
        return start(*begin(first_seed))

    def train_all(state: TrainState, num_updates: jax.Array) -> tuple:
        one = over_seeds(lambda state: train(setting, state, num_updates), num_seeds)
        return one(state)

    return OnDevice(
        init=init_all,
        train=devices.compile_for(
            num_devices, train_all, donate=(0,), in_axes=(0, None)
        ),
    )


def make_evaluate(
    setting: Setting,
    *,
    num_devices: int,
    num_seeds: int,
    num_episodes: int,
    greedy: bool = True,
) -> Any:
    """Compiles the evaluation of a run's newest parameters.

    Args:
        setting: the run, as each device sees it.
        num_devices: D.
        num_seeds: S.
        num_episodes: of each seed, at least: as many environments play one each,
            rounded up to what divides over the devices.
        greedy: take the most likely action instead of a sample.

    Returns:
        (TrainState [D, S, ...], first seed [], number []) to Episodes [D, S, 1, B].
        Both are int32. Each seed plays episodes of its own, the same ones as in a run
        of that seed alone; its evaluations differ by their number, at least 0.
    """
    num_envs = -(-num_episodes // num_devices)

    def evaluate_all(
        state: TrainState, first_seed: jax.Array, number: jax.Array
    ) -> Episodes:
        def one(state: TrainState, seed: jax.Array) -> Episodes:
            key = jax.random.fold_in(jax.random.key(seed), EVALUATION)
            key = jax.random.fold_in(key, number)
            key = jax.random.fold_in(key, jax.lax.axis_index(devices.AXIS_NAME))
            return evaluate(
                normalised(setting.agent, setting.normaliser, state.normaliser),
                setting.environment,
                state.agent.params,
                key,
                num_envs=num_envs,
                greedy=greedy,
            )

        return over_seeds(one, num_seeds)(state, first_seed + jnp.arange(num_seeds))

    return devices.compile_for(num_devices, evaluate_all, in_axes=(0, None, None))


def over_seeds(function: Callable, num_seeds: int) -> Callable:
    """Runs a function for each seed, with arrays [S, ...] in and out.

    One seed is not worth a `vmap`: products with a batch axis of 1 can be slower.
    """
    if num_seeds > 1:
        return jax.vmap(function)

    def single(*arguments: ArrayTree) -> ArrayTree:
        answer = function(*jax.tree.map(lambda x: x[0], arguments))
        return jax.tree.map(lambda x: x[None], answer)

    return single
