"""The on-device program spread over devices and seeds, and its evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.distribution import devices
from jaxrl_dist.evaluation import Episodes, evaluate
from jaxrl_dist.training.on_device import (
    Report,
    Setting,
    TrainState,
    init,
    normalised,
    train,
)
from jaxrl_dist.types import ArrayTree

EVALUATION = 0x6576616C  # sets the keys of evaluations apart from those of training


class OnDevice(NamedTuple):
    """The compiled functions of a run. Arrays are [D, S, ...]: devices, then seeds."""

    init: Callable  # (first seed) to TrainState
    train: Any  # (TrainState, rollouts so far [], rollouts to do []) to (TrainState,
    # Report); the state is donated; can be compiled ahead, by `devices.trace`


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
    one_by_one = setting.replay is not None
    start = over_seeds(lambda *x: init(setting, *x), num_seeds, one_by_one)
    start = devices.compile_for(num_devices, start, in_axes=(None, 0))

    def init_all(first_seed: int) -> TrainState:
        return start(*begin(first_seed))

    def train_all(
        state: TrainState, first: jax.Array, num_rollouts: jax.Array
    ) -> tuple[TrainState, Report]:
        def one(state: TrainState) -> tuple[TrainState, Report]:
            return train(setting, state, first, num_rollouts)

        return over_seeds(one, num_seeds, one_by_one)(state)

    return OnDevice(
        init=init_all,
        train=devices.compile_for(
            num_devices, train_all, donate=(0,), in_axes=(0, None, None)
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
                setting.agent.acting_params(state.agent),
                key,
                num_envs=num_envs,
                greedy=greedy,
            )

        return over_seeds(one, num_seeds)(state, first_seed + jnp.arange(num_seeds))

    return devices.compile_for(num_devices, evaluate_all, in_axes=(0, None, None))


def over_seeds(
    function: Callable, num_seeds: int, one_by_one: bool = False
) -> Callable:
    """Runs a function for each seed, with arrays [S, ...] in and out.

    Args:
        function: of one seed.
        num_seeds: S. One is not worth a `vmap`: products with a batch axis of 1 can be
            slower.
        one_by_one: on a CPU, one seed after another. Side by side, rows would be added
            to their stores by scatters, an element at a time.
    """
    if num_seeds > 1:
        if one_by_one and jax.default_backend() == "cpu":
            return lambda *arguments: jax.lax.map(lambda x: function(*x), arguments)
        return jax.vmap(function)

    def single(*arguments: ArrayTree) -> ArrayTree:
        answer = function(*jax.tree.map(lambda x: x[0], arguments))
        return jax.tree.map(lambda x: x[None], answer)

    return single
