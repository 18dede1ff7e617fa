"""Ape-X DQN on CartPole-v1: double, dueling, 3 steps, ranked, a ladder of epsilons.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps, on the device and with actors, as the interquartile mean of
five seeds. Source: Horgan et al. 2018, arXiv:1803.00933. Measured: RESULTS.md.

    python -m experiments.cartpole_apex
    python -m experiments.cartpole_apex --runtime actors --actors 2
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments.build import EnvironmentConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.on_device import OnDeviceConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=EnvironmentConfig("CartPole-v1", num_envs=16),
        agent=DQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(learning_rate=5e-4, max_gradient_norm=None),
                n_step=3,
                double=True,
                target_period_updates=50,
                # From 1 for all environments to 0.4, whose ladder ends at 0.4^8.
                exploration=ExplorationConfig(
                    epsilon_final=0.4, decay_fraction=0.2, ladder=7.0
                ),
            ),
            huber_delta=None,  # values reach 100 reward units, errors many times 1
        ),
        network=QNetworkConfig(hidden=(120, 84), dueling=True),
        replay=ReplayConfig(
            capacity=20_000,
            batch_size=128,
            updates_per_step=0.0625,
            prioritized=True,
        ),
        runtime=OnDeviceConfig(rollout_steps=1),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
