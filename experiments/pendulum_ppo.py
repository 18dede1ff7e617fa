"""PPO on Pendulum-v1: continuous torque, dense costs, episodes only ever truncated.

Target: a mean return of -180 within 300 000 environment steps, as the interquartile
mean of five seeds. Published: -172.2 (Stable-Baselines3 zoo, 100k steps), -174.9 (SLM
Lab, 300k). Start states alone spread returns by some 90. Measured: RESULTS.md.

    python -m experiments.pendulum_ppo
    python -m experiments.pendulum_ppo --environment.name MountainCarContinuous-v0
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("Pendulum-v1", num_envs=8, scale_rewards=True),
        agent=PPOConfig(
            optimizer=OptimizerConfig(learning_rate=1e-3),
            gamma=0.95,
            num_epochs=10,
            num_minibatches=16,
            clip_value=None,
            entropy_weight=0.0,
        ),
        runtime=OnDeviceConfig(rollout_steps=256),
        budget=Budget(total_steps=300_000),
        threshold=-180.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
