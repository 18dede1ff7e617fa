"""PPO on CartPole-v1, on all cores or one accelerator: the first thing to run.

Target: a mean return of 475, the threshold registered for the environment, within
150 000 environment steps, as the interquartile mean of five seeds.
Measured: RESULTS.md.

    python -m experiments.cartpole_ppo
    python -m experiments.cartpole_ppo --seed 3 --environment.name Acrobot-v1
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
        environment=EnvironmentConfig("CartPole-v1", num_envs=8),
        agent=PPOConfig(
            optimizer=OptimizerConfig(learning_rate=1e-3),
            gamma=0.98,
            lambda_=0.8,
            num_epochs=8,
            num_minibatches=4,
            entropy_weight=0.0,
        ),
        runtime=OnDeviceConfig(rollout_steps=32),
        budget=Budget(total_steps=150_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
