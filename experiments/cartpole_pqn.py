"""PQN on CartPole-v1: Q-learning from rollouts, with neither replay nor target network.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps, as the interquartile mean of five seeds.
Measured: RESULTS.md.

    python -m experiments.cartpole_pqn
    python -m experiments.cartpole_pqn --environment.num-envs 32
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.pqn import PQNConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=8),
        network=QNetworkConfig(hidden=(128, 128), layer_norm=True),
        agent=PQNConfig(
            optimizer=OptimizerConfig(
                "radam", learning_rate=1e-3, max_gradient_norm=10.0
            ),
            gamma=0.98,
            lambda_=0.8,
            num_epochs=4,
            num_minibatches=4,
            exploration=ExplorationConfig(decay_fraction=0.3),
        ),
        runtime=OnDeviceConfig(rollout_steps=32),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
