"""R2D2 on Pong: recurrent Q-learning from sequences that actors rank and send.

Source: Kapturowski et al. 2019, https://openreview.net/forum?id=r1lyTjAqYX: rewards are
not clipped and lost lives not told, values are on a compressed scale, and sequences
begin with the memory that the actor had. Frames of 42x42, a smaller LSTM and sequences
of half the length make it start on a laptop; `--environment.size 84`,
`--network.core.size 512`, `--agent.burn-in 40 --agent.trace 80` and 256 actors are the
published one.

Target: at least 18, with a GPU. Measured: RESULTS.md, as far as a laptop's cores got.

    python -m experiments.pong_r2d2
    python -m experiments.pong_r2d2 --runtime.num-actors 8 --environment.size 84
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.environments.atari import AtariConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.replay.sequences import ReplayConfig
from jaxrl_dist.training.actors_config import ActorsConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=AtariConfig(
            "pong",
            num_envs=16,
            sticky_action_probability=0.0,
            noop_starts=30,
            clip_rewards=False,
            size=42,
        ),
        agent=R2D2Config(burn_in=20, trace=40),
        network=QNetworkConfig(
            core=CoreConfig("lstm", 256), dueling=True, head_hidden=(256,)
        ),
        replay=ReplayConfig(
            capacity=200_000,
            batch_size=16,
            warmup_steps=5_000,
            updates_per_step=1 / 64,
            prioritized=True,
            alpha=0.9,
            beta=0.6,
            anneal_beta=False,
        ),
        runtime=ActorsConfig(num_actors=2, rollout_steps=40),
        budget=Budget(total_steps=2_000_000, eval_episodes=8),
        threshold=18.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
