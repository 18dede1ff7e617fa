"""R2D2 on CartPole-v1 whose velocities are hidden: one must remember to balance.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps; without memory it stays below 200. Measured: RESULTS.md.

    python -m experiments.cartpole_no_velocity_r2d2
    python -m experiments.cartpole_no_velocity_r2d2 --network.core.kind none
    python -m experiments.cartpole_no_velocity_r2d2 --agent.no-stored-state
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=32, mask_velocity=True),
        agent=R2D2Config(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=1e-3, anneal=True, max_gradient_norm=10.0
                ),
                n_step=5,
                double=True,
                target_period_updates=100,
                exploration=ExplorationConfig(0.4, 0.4, ladder=7.0),
            ),
            burn_in=8,
            trace=32,
        ),
        network=QNetworkConfig(
            hidden=(64,), core=CoreConfig("gru", 64), dueling=True, head_hidden=(64,)
        ),
        replay=ReplayConfig(
            capacity=200_000,
            batch_size=32,
            warmup_steps=4_000,
            updates_per_step=1 / 64,
            prioritized=True,
        ),
        runtime=OnDeviceConfig(rollout_steps=8),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
