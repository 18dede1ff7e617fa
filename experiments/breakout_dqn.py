"""DQN on MinAtar's Breakout, or another of its games, by the original protocol.

Sticky actions with probability 0.1, all six actions, no limit of steps.

Target: a mean return of 7.5 within 10 million environment steps: what Obando-Ceron and
Castro 2021 (arXiv:2011.14826) show in their figures. Measured: RESULTS.md.

    python -m experiments.breakout_dqn
    python -m experiments.breakout_dqn --environment.name Asterix-MinAtar
    python -m experiments.breakout_dqn --environment.no-original-minatar
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig(
            "Breakout-MinAtar", num_envs=512, original_minatar=True
        ),
        agent=DQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=5e-4, anneal=False, max_gradient_norm=10.0
                ),
                exploration=ExplorationConfig(epsilon_final=0.01, decay_fraction=0.1),
                target_period_updates=125,
            ),
        ),
        network=QNetworkConfig(),
        replay=ReplayConfig(
            capacity=100_000,
            batch_size=512,
            warmup_steps=10_240,
            updates_per_step=6 / 1024,  # of 2 steps of all environments
        ),
        runtime=OnDeviceConfig(rollout_steps=2),
        budget=Budget(total_steps=10_000_000),
        threshold=7.5,
    )


if __name__ == "__main__":
    cli.main(experiment())
