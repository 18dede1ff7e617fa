"""C51 on CartPole-v1, on the device.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps, as the interquartile mean of five seeds.
Measured: RESULTS.md.

    python -m experiments.cartpole_c51
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.c51 import C51Config, Support
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
        environment=EnvironmentConfig("CartPole-v1", num_envs=16),
        agent=C51Config(
            learner=ValueConfig(
                optimizer=OptimizerConfig(learning_rate=5e-4, max_gradient_norm=None),
                target_period_updates=50,
            ),
            support=Support(num_atoms=51, v_min=0.0, v_max=100.0),  # 1 / (1 - gamma)
        ),
        network=QNetworkConfig(hidden=(120, 84)),
        replay=ReplayConfig(capacity=20_000, batch_size=128, updates_per_step=0.125),
        runtime=OnDeviceConfig(rollout_steps=1),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
