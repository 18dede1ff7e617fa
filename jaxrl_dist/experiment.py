"""An experiment: what to run, described by data, and built when it runs."""

import dataclasses
import math
import typing
from typing import Any, NamedTuple

from jaxrl_dist import configuration
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.c51 import C51Config
from jaxrl_dist.agents.clipping import learning_from_clipped_rewards
from jaxrl_dist.agents.discrete_sac import DiscreteSACConfig
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.iqn import IQNConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.agents.pqn import PQNConfig
from jaxrl_dist.agents.qr_dqn import QRDQNConfig
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.agents.rainbow import RainbowConfig
from jaxrl_dist.agents.sac import SACConfig
from jaxrl_dist.agents.td3 import TD3Config
from jaxrl_dist.checks import check_at_least, check_in_range, settings_of
from jaxrl_dist.distribution import devices
from jaxrl_dist.environments.base import BatchedEnvironment
from jaxrl_dist.environments.build import EnvironmentConfig, HostConfig, host_stand_in
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.policy_and_critics import PolicyAndCriticsConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.flow import Flow, make_flow
from jaxrl_dist.training.from_replay import (
    ReplaySetting,
    make_replay_setting,
    updates_per_rollout,
)
from jaxrl_dist.training.host_loop import Schedule
from jaxrl_dist.training.normaliser import make_normaliser
from jaxrl_dist.training.on_device import OnDeviceConfig, Setting
from jaxrl_dist.types import Agent

MAX_SEED = 2**31 - 1
RuntimeConfig = OnDeviceConfig | ActorsConfig
ActorCriticAgent = PPOConfig | A2CConfig | IMPALAConfig
ReplayedValueAgent = (
    DQNConfig | C51Config | QRDQNConfig | IQNConfig | RainbowConfig | R2D2Config
)
ValueAgent = ReplayedValueAgent | PQNConfig
PolicyAndCriticsAgent = SACConfig | TD3Config | DiscreteSACConfig
AgentConfig = ActorCriticAgent | ValueAgent | PolicyAndCriticsAgent
NetworkConfig = ActorCriticConfig | QNetworkConfig | PolicyAndCriticsConfig
NEWEST_POLICY_ONLY = (PPOConfig, A2CConfig, PQNConfig)  # nothing corrects for age
NETWORKS: dict[type, type] = {  # that go with the agents
    **dict.fromkeys(typing.get_args(ActorCriticAgent), ActorCriticConfig),
    **dict.fromkeys(typing.get_args(ValueAgent), QNetworkConfig),
    **dict.fromkeys(typing.get_args(PolicyAndCriticsAgent), PolicyAndCriticsConfig),
}


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a run takes, and what happens on the way.

    Attributes:
        total_steps: environment steps of each seed, at most; the run ends with the last
            whole update that fits in. The last observation of an episode takes one as
            well, and is no step: short episodes end a run visibly below.
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
        environment: what is acted in: on the device, or on the host.
        agent: how it learns.
        network: what it learns: policy and values, or values alone.
        replay: what it learns from, for an agent that keeps experience; else None.
        runtime: where it runs: all on the device, or in actor processes and a learner.
        budget: how long, and when it is evaluated.
        seed: of the first run, from 0; that of the last is at most 2^31 - 1.
        num_seeds: independent runs at once, with seeds that follow one another, from 1.
        threshold: return at which the task counts as solved, drawn in the plot.

    Raises:
        ValueError: a setting is out of its range, or the network is not of the kind
            that the agent needs.
    """

    environment: EnvironmentConfig | HostConfig
    agent: AgentConfig
    network: NetworkConfig = ActorCriticConfig()
    replay: ReplayConfig | None = None
    runtime: RuntimeConfig = OnDeviceConfig()
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
        needed = NETWORKS.get(type(self.agent))
        if needed is not None and not isinstance(self.network, needed):
            raise ValueError(
                f"network is a {type(self.network).__name__}, and a "
                f"{type(self.agent).__name__} needs a {needed.__name__}"
            )
        if isinstance(self.runtime, ActorsConfig) and self.num_seeds > 1:
            raise ValueError(
                f"num_seeds is {self.num_seeds}, and a run with actors has one: start "
                "a run for each, or --runtime device"
            )


class Plan(NamedTuple):
    """An experiment, built but not compiled."""

    setting: Setting
    schedule: Schedule  # in rollouts, or in updates of a learner that draws
    num_devices: int
    flow: Flow | None = None  # of experience, where there are actors


def plan(experiment: Experiment) -> Plan:
    """Builds an experiment and finds what does not fit together.

    Raises:
        ValueError: settings that do not fit each other or the machine.
    """
    config = experiment
    with settings_of("runtime", config.runtime):
        num_devices = devices.choose_number(
            _environments_to_divide(config),
            config.runtime.num_devices,
            gradient_rows=_gradient_rows(config),
        )
    axis_name = devices.AXIS_NAME if num_devices > 1 else None
    rollouts = make_schedule(config)
    with settings_of("environment", config.environment):
        environment = _environment(config)
        normaliser = make_normaliser(
            environment.spec,
            observations=config.environment.normalise_observations,
            rewards=config.environment.scale_rewards,
            gamma=config.agent.gamma,
            axis_name=axis_name,
        )
    with settings_of("network", config.network):
        # Of the kind that the agent needs, as `Experiment` has checked.
        network: Any = config.network.build(normaliser.spec)
    schedule, total_updates = rollouts, rollouts.total
    if config.replay is not None:
        with settings_of("replay", config.replay):
            total_updates *= updates_per_rollout(config.replay, _rollout_steps(config))
        if isinstance(config.runtime, ActorsConfig) and not config.runtime.lock_step:
            schedule = _in_updates(config.replay, config.budget)
            total_updates = schedule.total
    with settings_of("agent", config.agent):
        agent = config.agent.build(network, total_updates, axis_name)
    if isinstance(config.environment, HostConfig) and config.environment.clip_rewards:
        agent = learning_from_clipped_rewards(agent)
    replay = _replay_setting(config, agent, rollouts, num_devices, axis_name)
    setting = Setting(
        agent=agent,
        environment=environment,
        normaliser=normaliser,
        num_envs=config.environment.num_envs // num_devices,
        rollout_steps=config.runtime.rollout_steps,
        policy_lag_updates=config.runtime.policy_lag_updates,
        replay=replay,
    )
    return Plan(setting, schedule, num_devices, _flow(config, agent))


def _in_updates(replay: ReplayConfig, budget: Budget) -> Schedule:
    """The schedule of a learner that draws what actors insert, in its own updates.

    None is made before the replay is warm. So many are due when the budget's steps have
    been taken.
    """
    learnt_from = budget.total_steps - replay.warmup_steps
    due = int(replay.updates_per_step * learnt_from + 1e-6)  # 0.29 * 100 is below 29
    return _spread(max(1, due), budget)


def _flow(config: Experiment, agent: Agent) -> Flow | None:
    """How experience gets from actors to the learner; None where all is on the device.

    Raises:
        ValueError: settings that do not fit each other.
    """
    if not isinstance(config.runtime, ActorsConfig):
        return None
    with settings_of("runtime", config.runtime):
        flow = make_flow(
            config.runtime,
            agent,
            config.replay,
            num_envs=config.environment.num_envs,
            newest_only=isinstance(config.agent, NEWEST_POLICY_ONLY),
        )
    environment = config.environment
    if flow.kind == "replay" and (
        environment.normalise_observations or environment.scale_rewards
    ):
        raise ValueError(
            "environment.normalise_observations and scale_rewards do not go with "
            "actors and a replay: the statistics would be those of what is drawn"
        )
    return flow


def _environment(config: Experiment) -> BatchedEnvironment:
    """The environment, or what stands in for one on the host.

    Raises:
        ValueError: it cannot be built, or not where the experiment runs.
    """
    chosen = config.environment
    if not isinstance(chosen, HostConfig):
        return chosen.build()
    if isinstance(config.runtime, OnDeviceConfig):
        raise ValueError(
            f"{chosen.name} is stepped on the host; needs --runtime actors"
        )
    return host_stand_in(chosen)


def _rollout_steps(config: Experiment) -> int:
    """Environment steps of one rollout of all environments."""
    number = config.environment.num_envs
    if isinstance(config.runtime, ActorsConfig) and config.replay is None:
        number = config.runtime.batch_trajectories or number
    return number * config.runtime.rollout_steps


def _environments_to_divide(config: Experiment) -> int:
    """Environments that are spread over devices.

    With memory, PPO's minibatches are whole environments: where the number of devices
    is left open, it divides those of a minibatch. What does not fit, the agent refuses.
    """
    number, agent, network = config.environment.num_envs, config.agent, config.network
    if config.runtime.num_devices is not None or not isinstance(agent, PPOConfig):
        return number
    recurrent = isinstance(network, ActorCriticConfig) and network.core.kind != "none"
    if not recurrent or number % agent.num_minibatches:
        return number
    return number // agent.num_minibatches


def _gradient_rows(config: Experiment) -> int:
    """Rows behind each gradient step."""
    if config.replay is not None:
        learned = config.agent.trace if isinstance(config.agent, R2D2Config) else 1
        return config.replay.batch_size * learned
    if isinstance(config.agent, PPOConfig | PQNConfig):
        return _rollout_steps(config) // config.agent.num_minibatches
    return _rollout_steps(config)


def _replay_setting(
    config: Experiment,
    agent: Agent,
    schedule: Schedule,
    num_devices: int,
    axis_name: str | None,
) -> ReplaySetting | None:
    """Builds the replay of an agent that learns from one.

    Raises:
        ValueError: it is missing, is there for an agent that has no use for it, or does
            not fit the rest.
    """
    name = type(config.agent).__name__.removesuffix("Config")
    if agent.sequence_length is None:
        if config.replay is None:
            return None
        raise ValueError(f"replay must be None: {name} learns from its own rollouts")
    if config.replay is None:
        raise ValueError(f"replay must be set: {name} learns from one")
    with settings_of("replay", config.replay):
        setting = make_replay_setting(
            config.replay,
            agent,
            num_envs=config.environment.num_envs,
            rollout_steps=config.runtime.rollout_steps,
            total_rollouts=schedule.total,
            num_devices=num_devices,
            axis_name=axis_name,
        )
    if setting.warmup_rollouts >= schedule.total:
        least = (setting.warmup_rollouts + 1) * _rollout_steps(config)
        raise ValueError(
            f"budget.total_steps is {config.budget.total_steps}, and learning begins "
            f"after replay.warmup_steps, {config.replay.warmup_steps}: nothing would "
            f"be learnt in less than {least} steps, in whole rollouts"
        )
    return setting


def make_schedule(config: Experiment) -> Schedule:
    """Says a budget in updates.

    Raises:
        ValueError: it is less than one update.
    """
    steps_per_update = _rollout_steps(config)
    total = config.budget.total_steps // steps_per_update
    if total < 1:
        raise ValueError(
            f"budget.total_steps is {config.budget.total_steps}, and one update takes "
            f"{steps_per_update}: environment.num_envs {config.environment.num_envs} "
            f"times runtime.rollout_steps {config.runtime.rollout_steps}"
        )
    return _spread(total, config.budget)


def _spread(total: int, budget: Budget) -> Schedule:
    """Reports and evaluations, evenly spread over a number of updates."""
    return Schedule(
        total=total,
        report_every=-(-total // budget.reports),
        evaluate_every=-(-total // budget.evaluations),
    )
