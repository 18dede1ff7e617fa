"""PPO on Catch-bsuite: a ball falls for nine steps, a paddle is there or is not.

Target: a mean return of 0.95, where 1 is every ball caught, within 100 000 environment
steps, as the interquartile mean of five seeds. Published: 1.0 after some 55k steps
(gymnax-blines, one seed). Measured: RESULTS.md.

    python -m experiments.catch_ppo
    python -m experiments.catch_ppo --num-seeds 5
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("Catch-bsuite", num_envs=16),
        network=ActorCriticConfig(torso="mlp"),
        agent=PPOConfig(optimizer=OptimizerConfig(learning_rate=1e-3), clip_value=None),
        runtime=OnDeviceConfig(rollout_steps=64),
        budget=Budget(total_steps=100_000),
        threshold=0.95,
    )


if __name__ == "__main__":
    cli.main(experiment())
