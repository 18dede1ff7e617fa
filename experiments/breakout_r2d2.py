"""R2D2 on MinAtar's Breakout, or another of its games, by the original protocol.

Sticky actions with probability 0.1, all six actions, no limit of steps. What is seen
shows where the ball came from, so that memory is not needed; this is to compare with
`breakout_dqn`. Measured: RESULTS.md.

    python -m experiments.breakout_r2d2
    python -m experiments.breakout_r2d2 --environment.name Asterix-MinAtar
    python -m experiments.breakout_r2d2 --agent.head iqn
    python -m experiments.breakout_r2d2 --network.core.kind none
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
        environment=EnvironmentConfig(
            "Breakout-MinAtar", num_envs=64, original_minatar=True
        ),
        agent=R2D2Config(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=3e-4, anneal=False, max_gradient_norm=10.0
                ),
                n_step=3,
                double=True,
                target_period_updates=250,
                exploration=ExplorationConfig(0.4, 0.4, ladder=7.0),
            ),
            burn_in=4,
            trace=16,
        ),
        network=QNetworkConfig(
            core=CoreConfig("gru", 128), dueling=True, head_hidden=(128,)
        ),
        replay=ReplayConfig(
            capacity=400_000,
            batch_size=32,
            warmup_steps=10_000,
            updates_per_step=1 / 128,
            prioritized=True,
        ),
        runtime=OnDeviceConfig(rollout_steps=4),
        budget=Budget(total_steps=10_000_000),
    )


if __name__ == "__main__":
    cli.main(experiment())
