"""An experiment: what to run, described by data, and built when it runs."""

import dataclasses
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from jaxrl_dist import configuration
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.checks import check_at_least, check_in_range, settings_of
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training.host_loop import Functions, Schedule
from jaxrl_dist.training.normaliser import make_normaliser
from jaxrl_dist.training.on_device import (
    OnDevice,
    OnDeviceConfig,
    Setting,
    TrainState,
    make_evaluate,
    make_on_device,
)

MAX_SEED = 2**31 - 1
AgentConfig = PPOConfig | A2CConfig | IMPALAConfig


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a run takes, and what happens on the way.

    Attributes:
        total_steps: environment steps of each seed, at most; the run ends with the last
            whole update that fits in.
        evaluations: at most, evenly spread, the last one at the run's end, from 1; a
            checkpoint follows each.
        reports: of training metrics, at most, evenly spread, from 1; an evaluation
            brings one of its own.
        eval_episodes: of each evaluation and seed, from 1.
        keep_checkpoints: the newest ones that are kept, beside the best, from 1.

    Raises:
        ValueError: a setting is out of its range.
    """

    total_steps: int = 500_000
    evaluations: int = 10
    reports: int = 50
    eval_episodes: int = 100
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        for name, setting in dataclasses.asdict(self).items():
            check_at_least(1, **{name: setting})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a module in `experiments/` returns; nothing is built until it runs.

    Attributes:
        environment: what is acted in.
        network: the policy and its values.
        agent: how it learns.
        runtime: where it runs.
        budget: how long, and when it is evaluated.
        seed: of the first run, from 0; that of the last is at most 2^31 - 1.
        num_seeds: independent runs at once, with seeds that follow one another, from 1.
        threshold: return at which the task counts as solved, drawn in the plot.

    Raises:
        ValueError: a setting is out of its range.
    """

    environment: EnvironmentConfig
    agent: AgentConfig
    network: ActorCriticConfig = ActorCriticConfig()
    runtime: OnDeviceConfig = OnDeviceConfig()
    budget: Budget = Budget()
    seed: int = 0
    num_seeds: int = 1
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_at_least(1, num_seeds=self.num_seeds)
        check_in_range(0, MAX_SEED + 1 - self.num_seeds, seed=self.seed)
        for name, setting in configuration.leaves(self):
            if isinstance(setting, float) and math.isnan(setting):
                raise ValueError(f"{name} must be a number, got nan")


class Plan(NamedTuple):
    """An experiment, built but not compiled."""

    setting: Setting
    schedule: Schedule
    num_devices: int


def plan(experiment: Experiment) -> Plan:
    """Builds an experiment and finds what does not fit together.

    Raises:
        ValueError: settings that do not fit each other or the machine.
    """
    config = experiment
    rows = config.environment.num_envs * config.runtime.rollout_steps
    if isinstance(config.agent, PPOConfig):
        rows //= config.agent.num_minibatches
    with settings_of("runtime", config.runtime):
        num_devices = devices.choose_number(
            config.environment.num_envs,
            config.runtime.num_devices,
            gradient_rows=rows,
        )
    axis_name = devices.AXIS_NAME if num_devices > 1 else None
    schedule = make_schedule(config)
    with settings_of("environment", config.environment):
        environment = config.environment.build()
        normaliser = make_normaliser(
            environment.spec,
            observations=config.environment.normalise_observations,
            rewards=config.environment.scale_rewards,
            gamma=config.agent.gamma,
            axis_name=axis_name,
        )
    with settings_of("network", config.network):
        network = config.network.build(normaliser.spec)
    with settings_of("agent", config.agent):
        agent = config.agent.build(network, schedule.total, axis_name)
    setting = Setting(
        agent=agent,
        environment=environment,
        normaliser=normaliser,
        num_envs=config.environment.num_envs // num_devices,
        rollout_steps=config.runtime.rollout_steps,
        policy_lag_updates=config.runtime.policy_lag_updates,
    )
    return Plan(setting, schedule, num_devices)


def make_schedule(config: Experiment) -> Schedule:
    """Says a budget in updates.

    Raises:
        ValueError: it is less than one update.
    """
    steps_per_update = config.environment.num_envs * config.runtime.rollout_steps
    total = config.budget.total_steps // steps_per_update
    if total < 1:
        raise ValueError(
            f"budget.total_steps is {config.budget.total_steps}, and one update takes "
            f"{steps_per_update}: environment.num_envs {config.environment.num_envs} "
            f"times runtime.rollout_steps {config.runtime.rollout_steps}"
        )
    return Schedule(
        total=total,
        report_every=-(-total // config.budget.reports),
        evaluate_every=-(-total // config.budget.evaluations),
    )


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
        train = threads.submit(devices.trace(run.train, like, number))
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
