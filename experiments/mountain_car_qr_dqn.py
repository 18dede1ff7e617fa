"""QR-DQN on MountainCar-v0: every step costs 1, and only a swing leads to the top.

Independent random actions cancel each other out: of 20,000 episodes of 200 of them,
none saw the top. Here a random action lasts 10 steps on average, and 7 of 100 episodes
do; nothing else about the task is changed. Velocities are at most 0.07, so observations
are normalised.

Target: a mean return of -130 within 500 000 environment steps, as the interquartile
mean of five seeds. Measured: RESULTS.md.

    python -m experiments.mountain_car_qr_dqn
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
        environment=EnvironmentConfig(
            "MountainCar-v0", num_envs=16, normalise_observations=True
        ),
        agent=QRDQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=1e-3, anneal=True, max_gradient_norm=10.0
                ),
                gamma=0.98,
                target_period_updates=300,
                exploration=ExplorationConfig(
                    epsilon_final=0.01, decay_fraction=0.2, random_action_steps=10
                ),
            ),
            num_quantiles=32,
        ),
        network=QNetworkConfig(hidden=(128, 128)),
        replay=ReplayConfig(capacity=100_000, batch_size=128, updates_per_step=0.25),
        runtime=OnDeviceConfig(rollout_steps=4),
        budget=Budget(total_steps=500_000),
        threshold=-130.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
