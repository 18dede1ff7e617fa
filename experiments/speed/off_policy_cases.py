"""What `off_policy` compares: the peers' own settings, and ours that do the same work.

Equal are environments, updates for each environment step, rows of each update, layers,
replay capacity, how many rows come before the first update, and how target networks
move. rejax clips each number of a gradient alone, where we clip the norm of them all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.iqn import IQNConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.policy_and_critics import PolicyAndCriticsAgentConfig
from jaxrl_dist.agents.pqn import PQNConfig
from jaxrl_dist.agents.sac import SACConfig
from jaxrl_dist.agents.td3 import TD3Config
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.policy_and_critics import PolicyAndCriticsConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


class Case(NamedTuple):
    """One row of the table."""

    ours: Callable[[], Experiment]
    peer: str  # purejaxrl, or the name of an algorithm of rejax
    settings: dict[str, Any]  # of the peer, under its names
    warmup_steps: int  # environment steps before the clock starts
    steps: int  # environment steps of a timed run


def adam(
    learning_rate: float, max_gradient_norm: float | None = None
) -> OptimizerConfig:
    """Adam with a constant step size."""
    return OptimizerConfig(
        learning_rate=learning_rate, anneal=False, max_gradient_norm=max_gradient_norm
    )


def dqn_of_purejaxrl() -> Experiment:
    """CartPole by DQN: one update for 10 environment steps."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=10),
        agent=DQNConfig(
            ValueConfig(optimizer=adam(2.5e-4), target_period_updates=50),
            huber_delta=None,
        ),
        network=QNetworkConfig(hidden=(120, 84)),
        replay=ReplayConfig(
            capacity=10_000, batch_size=128, warmup_steps=10_000, updates_per_step=0.1
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
    )


def dqn_of_rejax() -> Experiment:
    """CartPole by a dueling double DQN: five updates for 10 environment steps."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=10),
        agent=DQNConfig(
            ValueConfig(
                optimizer=adam(1e-3, 10.0),
                double=True,
                target_period_updates=5,
                target_step_size=0.02,
            ),
            huber_delta=None,
        ),
        network=QNetworkConfig(hidden=(64, 64), activation="silu", dueling=True),
        replay=ReplayConfig(
            capacity=50_000, batch_size=100, warmup_steps=5_000, updates_per_step=0.5
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
    )


def iqn_of_rejax() -> Experiment:
    """CartPole by IQN: an update of one row after each environment step."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=1),
        agent=IQNConfig(
            ValueConfig(
                optimizer=adam(3e-4),
                double=True,
                target_period_updates=1,
                target_step_size=0.01,
            )
        ),
        network=QNetworkConfig(hidden=(64, 64), head_hidden=(64,), activation="silu"),
        replay=ReplayConfig(
            capacity=100_000, batch_size=1, warmup_steps=1_000, updates_per_step=1.0
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
    )


def pqn_of_rejax() -> Experiment:
    """CartPole by PQN: 80 updates of 128 rows for 2,048 environment steps."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=16),
        agent=PQNConfig(
            adam(3e-4, 10.0), lambda_=0.9, num_epochs=5, num_minibatches=16
        ),
        network=QNetworkConfig(hidden=(64, 64), layer_norm=True),
        runtime=OnDeviceConfig(rollout_steps=128),
    )


def on_pendulum(
    agent: PolicyAndCriticsAgentConfig, batch_size: int, warmup_steps: int
) -> Experiment:
    """Pendulum, normalised: an update after each environment step."""
    return Experiment(
        environment=EnvironmentConfig(
            "Pendulum-v1", num_envs=1, normalise_observations=True
        ),
        agent=agent,  # type: ignore[arg-type]  # one of the two below
        network=PolicyAndCriticsConfig(hidden=(64, 64), activation="silu"),
        replay=ReplayConfig(
            capacity=10_000,
            batch_size=batch_size,
            warmup_steps=warmup_steps,
            updates_per_step=1.0,
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
    )


def sac_of_rejax() -> Experiment:
    """Pendulum by SAC."""
    optimizer = adam(1e-2)
    return on_pendulum(SACConfig(optimizer, optimizer, target_step_size=0.02), 256, 257)


def td3_of_rejax() -> Experiment:
    """Pendulum by TD3: the policy learns from every second update."""
    optimizer = adam(1e-3, 100.0)
    agent = TD3Config(optimizer, optimizer, target_step_size=0.05, exploration_std=0.15)
    return on_pendulum(agent, 100, 1_000)


def breakout_dqn_of_rejax() -> Experiment:
    """Breakout by DQN with an MLP: an update after each environment step."""
    return Experiment(
        environment=EnvironmentConfig("Breakout-MinAtar", num_envs=1),
        agent=DQNConfig(
            ValueConfig(
                optimizer=adam(5e-4, 10.0), gamma=1.0, target_period_updates=1000
            ),
            huber_delta=None,
        ),
        network=QNetworkConfig(torso="mlp", hidden=(64, 64), activation="tanh"),
        replay=ReplayConfig(
            capacity=100_000, batch_size=100, warmup_steps=20_000, updates_per_step=1.0
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
    )


# PureJaxRL's are those of its `dqn.py`, but for the number of steps. rejax's are those
# of `configs/gymnax/{cartpole,pendulum}.yaml` and `benchmark/breakout_1m.yaml`. The
# latter names a convolutional network and `gradient_steps`, which version 0.1.3 has not
# got: its plain network and `num_epochs` take their place.
CASES = {
    "CartPole DQN, PureJaxRL": Case(
        dqn_of_purejaxrl,
        "purejaxrl",
        {
            "NUM_ENVS": 10,
            "BUFFER_SIZE": 10_000,
            "BUFFER_BATCH_SIZE": 128,
            "EPSILON_START": 1.0,
            "EPSILON_FINISH": 0.05,
            "EPSILON_ANNEAL_TIME": 25e4,
            "TARGET_UPDATE_INTERVAL": 500,
            "LR": 2.5e-4,
            "LEARNING_STARTS": 10_000,
            "TRAINING_INTERVAL": 10,
            "LR_LINEAR_DECAY": False,
            "GAMMA": 0.99,
            "TAU": 1.0,
            "ENV_NAME": "CartPole-v1",
            "WANDB_MODE": "disabled",
        },
        warmup_steps=10_000,
        steps=200_000,
    ),
    "CartPole DQN, rejax": Case(
        dqn_of_rejax,
        "dqn",
        {
            "env": "CartPole-v1",
            "agent": "DuelingQNetwork",
            "agent_kwargs": {"activation": "swish"},
            "num_envs": 10,
            "buffer_size": 50_000,
            "fill_buffer": 5_000,
            "batch_size": 100,
            "max_grad_norm": 10,
            "learning_rate": 0.001,
            "num_epochs": 5,
            "polyak": 0.98,
            "eps_start": 1,
            "eps_end": 0.05,
            "exploration_fraction": 0.5,
            "gamma": 0.99,
            "ddqn": True,
            "normalize_observations": False,
        },
        warmup_steps=6_000,
        steps=10_000,
    ),
    "CartPole IQN, rejax": Case(
        iqn_of_rejax,
        "iqn",
        {
            "env": "CartPole-v1",
            "agent_kwargs": {"activation": "swish"},
            "num_envs": 1,
            "buffer_size": 100_000,
            "fill_buffer": 1000,
            "batch_size": 1,
            "num_tau_samples": 64,
            "num_tau_prime_samples": 64,
            "learning_rate": 0.0003,
            "num_epochs": 1,
            "target_update_freq": 1,
            "polyak": 0.99,
            "kappa": 1.0,
            "eps_start": 1,
            "eps_end": 0.01,
            "exploration_fraction": 0.5,
            "gamma": 0.99,
            "normalize_observations": False,
        },
        warmup_steps=1_500,
        steps=3_000,
    ),
    "CartPole PQN, rejax": Case(
        pqn_of_rejax,
        "pqn",
        {
            "env": "CartPole-v1",
            "num_envs": 16,
            "num_steps": 128,
            "num_minibatches": 16,
            "max_grad_norm": 10,
            "learning_rate": 0.0003,
            "num_epochs": 5,
            "eps_start": 1,
            "eps_end": 0.05,
            "exploration_fraction": 0.5,
            "gamma": 0.99,
            "td_lambda": 0.9,
            "normalize_observations": False,
        },
        warmup_steps=2048,
        steps=2048 * 200,
    ),
    "Pendulum SAC, rejax": Case(
        sac_of_rejax,
        "sac",
        {
            "env": "Pendulum-v1",
            "agent_kwargs": {"activation": "swish"},
            "num_envs": 1,
            "buffer_size": 10_000,
            "fill_buffer": 256,
            "batch_size": 256,
            "learning_rate": 0.01,
            "num_epochs": 1,
            "gamma": 0.99,
            "polyak": 0.98,
            "target_entropy_ratio": None,
            "normalize_observations": True,
        },
        warmup_steps=300,
        steps=3_000,
    ),
    "Pendulum TD3, rejax": Case(
        td3_of_rejax,
        "td3",
        {
            "env": "Pendulum-v1",
            "actor_kwargs": {"activation": "swish"},
            "critic_kwargs": {"activation": "swish"},
            "num_envs": 1,
            "buffer_size": 10_000,
            "fill_buffer": 1000,
            "batch_size": 100,
            "learning_rate": 0.001,
            "num_epochs": 1,
            "gamma": 0.99,
            "polyak": 0.95,
            "max_grad_norm": 100,
            "exploration_noise": 0.3,
            "target_noise": 0.2,
            "target_noise_clip": 0.5,
            "policy_delay": 2,
            "normalize_observations": True,
        },
        warmup_steps=1_200,
        steps=6_000,
    ),
    "Breakout-MinAtar DQN, rejax": Case(
        breakout_dqn_of_rejax,
        "dqn",
        {
            "env": "Breakout-MinAtar",
            "agent_kwargs": {"activation": "tanh"},
            "num_envs": 1,
            "buffer_size": 100_000,
            "fill_buffer": 20_000,
            "batch_size": 100,
            "max_grad_norm": 10,
            "learning_rate": 0.0005,
            "num_epochs": 1,
            "target_update_freq": 1000,
            "eps_start": 1,
            "eps_end": 0.05,
            "exploration_fraction": 0.5,
            "gamma": 1.0,
            "ddqn": False,
        },
        warmup_steps=21_000,
        steps=4_000,
    ),
}
