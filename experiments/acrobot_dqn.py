"""DQN on Acrobot-v1, on the device.

Target: a mean return of -90 within 500 000 environment steps, as the interquartile
mean of five seeds. Measured: RESULTS.md.

    python -m experiments.acrobot_dqn
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
        environment=EnvironmentConfig("Acrobot-v1", num_envs=16),
        agent=DQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=1e-3, anneal=True, max_gradient_norm=10.0
                ),
                target_period_updates=300,
                exploration=ExplorationConfig(epsilon_final=0.07, decay_fraction=0.2),
            ),
            huber_delta=10.0,  # reward units; values reach -100 at this gamma
        ),
        network=QNetworkConfig(hidden=(128, 128)),
        replay=ReplayConfig(capacity=100_000, batch_size=128, updates_per_step=0.25),
        runtime=OnDeviceConfig(rollout_steps=4),
        budget=Budget(total_steps=500_000),
        threshold=-90.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
