"""SAC on MountainCarContinuous-v0: every push costs, and 100 is paid on the hill alone.

Independent noise cancels itself out and never climbs: SAC then learns to stand still,
for 0. Here the noise of acting is the same Gaussian at each step but lasts some 20
steps (`noise_correlation_steps`), in the first random actions as well, which reach the
top 1.4 times in 1000 steps. The price of entropy is fixed. The published agent needs
noise that depends on the state (gSDE) for the same reason.

Target: a mean return of 90, at which the environment counts as solved, within 50 000
environment steps, as the interquartile mean of five seeds. Published: 94.7
(Stable-Baselines3 zoo, 50k steps). Measured: RESULTS.md.

    python -m experiments.mountain_car_continuous_sac
    python -m experiments.mountain_car_continuous_sac --agent.noise-correlation-steps 0
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.sac import SACConfig
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
        agent=SACConfig(
            optimizer=ADAM,
            actor_optimizer=ADAM,
            target_step_size=0.01,
            initial_temperature=0.1,
            learn_temperature=False,
            noise_correlation_steps=20.0,
        ),
        network=PolicyAndCriticsConfig(hidden=(64, 64)),
        replay=ReplayConfig(
            capacity=50_000, batch_size=256, warmup_steps=2_000, updates_per_step=0.5
        ),
        runtime=OnDeviceConfig(rollout_steps=4),
        budget=Budget(total_steps=50_000),
        threshold=90.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
