"""Ape-X DQN on Pong: actors that explore each in their way rank what they send.

Source: Horgan et al. 2018, Distributed prioritized experience replay, arXiv:1803.00933:
double Q-learning with a dueling network, three steps, a ladder of epsilons below 0.4.
The protocol is DQN's, but for frames of 42x42 instead of 84x84 and for a smaller
replay, so that it starts on a laptop; `--environment.size 84` is the published one.

Target: at least 18. Begun, not finished: RESULTS.md.

    python -m experiments.pong_apex
    python -m experiments.pong_apex --runtime.num-actors 8 --environment.size 84
"""

import dataclasses

from jaxrl_dist import cli
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.exploration import ExplorationConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.environments import atari
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=dataclasses.replace(atari.dqn("pong", num_envs=16), size=42),
        agent=DQNConfig(
            learner=ValueConfig(
                optimizer=OptimizerConfig(
                    learning_rate=1e-4, anneal=False, max_gradient_norm=40.0
                ),
                n_step=3,
                double=True,
                target_period_updates=1_000,
                exploration=ExplorationConfig(
                    epsilon_initial=0.4,
                    epsilon_final=0.4,
                    decay_fraction=0.0,
                    ladder=7.0,
                ),
            ),
        ),
        network=QNetworkConfig(dueling=True),
        replay=ReplayConfig(
            capacity=200_000,
            batch_size=64,
            warmup_steps=5_000,
            updates_per_step=0.125,
            prioritized=True,
        ),
        runtime=ActorsConfig(num_actors=2, rollout_steps=20),
        budget=Budget(total_steps=2_000_000, eval_episodes=8),
        threshold=18.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
