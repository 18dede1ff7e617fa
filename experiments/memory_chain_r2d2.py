r"""R2D2 on bsuite's MemoryChain: the first observation says what to do at the end.

The trace should hold an episode of `memory_length` + 2 rows, better two.
Return 1 for the right action after `memory_length` steps, -1 for the wrong one, so that
without memory 0 is all there is.

Target: a mean return of 0.95 at length 5 and of 0.9 at length 30. Measured: RESULTS.md.

    python -m experiments.memory_chain_r2d2
    python -m experiments.memory_chain_r2d2 --environment.parameters memory_length 30
    python -m experiments.memory_chain_r2d2 --network.core.kind none
    python -m experiments.memory_chain_r2d2 --environment.parameters memory_length 100 \
        --agent.trace 128 --network.core.kind min_gru --budget.total-steps 300000
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
        environment=EnvironmentConfig("MemoryChain-bsuite", num_envs=32),
        agent=R2D2Config(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=1e-3, anneal=False, max_gradient_norm=10.0
                ),
                n_step=5,
                double=True,
                target_period_updates=100,
                exploration=ExplorationConfig(0.4, 0.4, ladder=7.0),
            ),
            burn_in=8,
            trace=64,  # holds the whole of an episode of 32 rows, wherever it begins
        ),
        network=QNetworkConfig(
            hidden=(64,), core=CoreConfig("lstm", 64), dueling=True, head_hidden=(64,)
        ),
        replay=ReplayConfig(
            capacity=100_000,
            batch_size=32,
            warmup_steps=10_000,
            updates_per_step=1 / 128,
            prioritized=True,
        ),
        runtime=OnDeviceConfig(rollout_steps=8),
        budget=Budget(total_steps=100_000, eval_episodes=1_000),
        threshold=0.95,
    )


if __name__ == "__main__":
    cli.main(experiment())
