"""IMPALA on Pong: actors step games on the host, and a learner corrects for their age.

The protocol is IMPALA's, but for frames of 42x42 instead of 84x84 and pixels of mean 0
and variance 1, so that it suits a laptop; `--environment.size 84
--environment.no-normalise-observations` is the published one, and `--network.torso
impala_cnn` its deep network. One actor steps all games, by a thread for each core;
`--actors` makes more of them where there are more cores.

Target: a return that rises clearly above -21, which doing nothing gets, on a laptop's
cores; at least 18 with a GPU. Measured: RESULTS.md, "Atari".

    python -m experiments.pong_impala
    python -m experiments.pong_impala --environment.name breakout --actors 4
"""

import dataclasses

from jaxrl_dist import cli
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.environments import atari
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.training.actors_config import ActorsConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=dataclasses.replace(
            atari.impala("pong", num_envs=32), size=42, normalise_observations=True
        ),
        agent=IMPALAConfig(
            optimizer=OptimizerConfig(learning_rate=5e-4), entropy_weight=0.01
        ),
        network=ActorCriticConfig(shared_torso=True),
        runtime=ActorsConfig(num_actors=1, rollout_steps=20, batch_trajectories=4),
        budget=Budget(total_steps=4_000_000, evaluations=10, eval_episodes=8),
        threshold=18.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
