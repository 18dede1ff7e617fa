"""Compiling the plan of an experiment that runs on the device."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from jaxrl_dist.distribution import devices
from jaxrl_dist.experiment import Experiment, Plan
from jaxrl_dist.training import learning
from jaxrl_dist.training.across_devices import OnDevice, make_evaluate, make_on_device
from jaxrl_dist.training.host_loop import Functions
from jaxrl_dist.training.on_device import TrainState


class Compiled(NamedTuple):
    """The compiled functions of a run."""

    functions: Functions
    seconds: float  # tracing and compiling, or fetching from the cache
    first_state: TrainState | None  # from which a run starts; None if there is another


def build_run(experiment: Experiment, built: Plan) -> OnDevice:
    """The functions of a plan, not compiled yet."""
    return make_on_device(
        built.setting, num_devices=built.num_devices, num_seeds=experiment.num_seeds
    )


def state_shapes(experiment: Experiment, built: Plan) -> TrainState:
    """Shapes and types of a plan's state, [D, S, ...]; nothing is computed."""
    if built.flow is not None:
        return learning.state_like(
            built.setting, built.flow, built.num_devices, experiment.seed
        )
    run = build_run(experiment, built)
    return jax.eval_shape(lambda: run.init(experiment.seed))


def compile_plan(
    experiment: Experiment,
    built: Plan,
    *,
    first_state: bool = True,
    meanwhile: Callable[[], None] = lambda: None,
) -> Compiled:
    """Compiles a plan: its functions at the same time, in a thread each.

    Args:
        experiment: what is run.
        built: of `plan`.
        first_state: make the state from which a run starts.
        meanwhile: something else to be done while XLA compiles; has been done then.
    """
    started = time.perf_counter()
    run = build_run(experiment, built)
    evaluate = make_evaluate(
        built.setting,
        num_devices=built.num_devices,
        num_seeds=experiment.num_seeds,
        num_episodes=experiment.budget.eval_episodes,
    )
    like = jax.eval_shape(lambda: run.init(experiment.seed))
    number = np.int32(0)
    with ThreadPoolExecutor() as threads:
        # Tracing needs Python, and only one thread at a time has it; XLA does not. What
        # takes XLA longest is traced first.
        train = threads.submit(devices.trace(run.train, like, number, number))
        play = threads.submit(devices.trace(evaluate, like, number, number))
        state: Future[TrainState] | None = None
        if first_state:
            state = threads.submit(run.init, experiment.seed)
        other = threads.submit(meanwhile)
        functions = Functions(train.result(), play.result())
        begin = state.result() if state else None
        seconds = time.perf_counter() - started
        other.result()
    return Compiled(functions, seconds, begin)
