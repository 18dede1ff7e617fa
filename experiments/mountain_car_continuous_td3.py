"""TD3 on MountainCarContinuous-v0: every push costs, and 100 is paid on the hill alone.

Explores with an Ornstein-Uhlenbeck process of standard deviation 0.5, in units of the
strongest push, whose correlation falls to 1/e in 20 steps. Independent noise cancels
itself out and never climbs.

Target: a mean return of 90, at which the environment counts as solved, within 300 000
environment steps, as the interquartile mean of five seeds. Published: 93.5
(Stable-Baselines3 zoo, 300k steps). Measured: RESULTS.md.

    python -m experiments.mountain_car_continuous_td3
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.td3 import TD3Config
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.policy_and_critics import PolicyAndCriticsConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig

ADAM = OptimizerConfig(learning_rate=1e-3, anneal=False, max_gradient_norm=None)


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("MountainCarContinuous-v0", num_envs=4),
        agent=TD3Config(
            optimizer=ADAM,
            actor_optimizer=ADAM,
            target_step_size=0.01,
            exploration_std=0.5,
            noise_correlation_steps=20.0,
        ),
        network=PolicyAndCriticsConfig(hidden=(64, 64)),
        replay=ReplayConfig(
            capacity=100_000, batch_size=256, warmup_steps=5_000, updates_per_step=0.5
        ),
        runtime=OnDeviceConfig(rollout_steps=4),
        budget=Budget(total_steps=100_000),
        threshold=90.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
