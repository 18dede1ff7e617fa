"""An experiment: what to run, described by data, and built when it runs."""

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training.host_loop import Functions, Schedule
from jaxrl_dist.training.normaliser import make_normaliser
from jaxrl_dist.training.on_device import (
    OnDeviceConfig,
    Setting,
    make_evaluate,
    make_on_device,
)

AgentConfig = PPOConfig | A2CConfig | IMPALAConfig


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a run takes, and what happens on the way.

    Attributes:
        total_steps: environment steps of each seed, at most; the run ends with the last
            whole update that fits in.
        evaluations: evenly spread over the run, the last one at its end, from 1; a
            checkpoint follows each.
        reports: of training metrics, evenly spread over the run, from 1.
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
            check_at_least(1, **{f"budget.{name}": setting})


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a module in `experiments/` returns; nothing is built until it runs.

    Attributes:
        environment: what is acted in.
        network: the policy and its values.
        agent: how it learns.
        runtime: where it runs.
        budget: how long, and when it is evaluated.
        seed: of the first run, at least 0.
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
        check_at_least(0, seed=self.seed)
        check_at_least(1, num_seeds=self.num_seeds)


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
    num_devices = devices.choose_number(
        config.environment.num_envs, config.runtime.num_devices
    )
    axis_name = devices.AXIS_NAME if num_devices > 1 else None
    environment = config.environment.build()
    steps_per_update = config.environment.num_envs * config.runtime.rollout_steps
    total = config.budget.total_steps // steps_per_update
    if total < 1:
        raise ValueError(
            f"budget.total_steps is {config.budget.total_steps}, less than one update: "
            f"environment.num_envs {config.environment.num_envs} times "
            f"runtime.rollout_steps {config.runtime.rollout_steps}"
        )
    normaliser = make_normaliser(
        environment.spec,
        observations=config.environment.normalise_observations,
        rewards=config.environment.scale_rewards,
        gamma=config.agent.gamma,
        axis_name=axis_name,
    )
    network = config.network.build(normaliser.spec)
    setting = Setting(
        agent=config.agent.build(network, total, axis_name),
        environment=environment,
        normaliser=normaliser,
        num_envs=config.environment.num_envs // num_devices,
        rollout_steps=config.runtime.rollout_steps,
        policy_lag_updates=config.runtime.policy_lag_updates,
    )
    schedule = Schedule(
        total=total,
        report_every=max(1, total // config.budget.reports),
        evaluate_every=-(-total // config.budget.evaluations),
    )
    return Plan(setting, schedule, num_devices)


class Compiled(NamedTuple):
    """An experiment ready to start."""

    state: Any
    functions: Functions
    compile_seconds: float


def compile_plan(experiment: Experiment, built: Plan) -> Compiled:
    """Compiles a plan and makes the state from which it starts."""
    started = time.perf_counter()
    run = make_on_device(
        built.setting, num_devices=built.num_devices, num_seeds=experiment.num_seeds
    )
    evaluate = make_evaluate(
        built.setting,
        num_devices=built.num_devices,
        num_seeds=experiment.num_seeds,
        num_episodes=experiment.budget.eval_episodes,
    )
    eval_key = jax.random.key(experiment.seed + 2**20)
    state = run.init(experiment.seed)
    train = run.train.lower(state, jnp.int32(1)).compile()
    evaluate = evaluate.lower(state, eval_key).compile()
    seconds = time.perf_counter() - started
    return Compiled(state, Functions(train, evaluate, eval_key), seconds)
