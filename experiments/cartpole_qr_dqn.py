"""QR-DQN on CartPole-v1, on the device.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps, as the interquartile mean of five seeds.
Measured: RESULTS.md.

    python -m experiments.cartpole_qr_dqn
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.qr_dqn import QRDQNConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=16),
        agent=QRDQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(learning_rate=5e-4, max_gradient_norm=None),
                target_period_updates=50,
                exploration=ExplorationConfig(decay_fraction=0.2),
            ),
            num_quantiles=32,
        ),
        network=QNetworkConfig(hidden=(120, 84)),
        replay=ReplayConfig(capacity=20_000, batch_size=128, updates_per_step=0.125),
        runtime=OnDeviceConfig(rollout_steps=1),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
