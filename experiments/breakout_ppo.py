"""PPO on MinAtar's Breakout, or another of its games, by gymnax's protocol.

No sticky actions, the minimal action set, episodes of at most 1000 steps.

Target: a mean return of 28 within 10 million environment steps, as the interquartile
mean of five seeds: the figure in gymnax's table. Published with these settings: some
40 (PureJaxRL). Measured: RESULTS.md.

    python -m experiments.breakout_ppo
    python -m experiments.breakout_ppo --environment.name Asterix-MinAtar
    python -m experiments.breakout_ppo --network.torso minatar_cnn
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
        environment=EnvironmentConfig("Breakout-MinAtar", num_envs=64),
        network=ActorCriticConfig(torso="mlp", activation="relu"),
        agent=PPOConfig(
            optimizer=OptimizerConfig(learning_rate=5e-3), num_minibatches=8
        ),
        runtime=OnDeviceConfig(rollout_steps=128),
        budget=Budget(total_steps=10_000_000),
        threshold=28.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
