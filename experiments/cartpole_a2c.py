"""A2C on CartPole-v1, on all cores or one accelerator.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps, as the interquartile mean of five seeds.
Measured: RESULTS.md.

    python -m experiments.cartpole_a2c
    python -m experiments.cartpole_a2c --num-seeds 5
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=16, scale_rewards=True),
        agent=A2CConfig(optimizer=OptimizerConfig(learning_rate=1e-3)),
        runtime=OnDeviceConfig(rollout_steps=8),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
