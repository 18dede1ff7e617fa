"""IMPALA on Gymnasium's CartPole-v1, stepped on the host, with actors and a learner.

Target: a mean return of 475, the threshold registered for the environment, within
500 000 environment steps. Not run yet: RESULTS.md.

    python -m experiments.cartpole_gymnasium_impala
    python -m experiments.cartpole_gymnasium_impala --environment.name Acrobot-v1
"""

from jaxrl_dist import cli
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.environments.gymnasium_env import GymnasiumConfig
from jaxrl_dist.experiment import Budget, Experiment
from jaxrl_dist.training.actors_config import ActorsConfig


def experiment() -> Experiment:
    """Describes the run; nothing is built and no device touched until it starts."""
    return Experiment(
        environment=GymnasiumConfig("CartPole-v1", num_envs=16, scale_rewards=True),
        agent=IMPALAConfig(optimizer=OptimizerConfig(learning_rate=1e-3)),
        runtime=ActorsConfig(num_actors=2, rollout_steps=20),
        budget=Budget(total_steps=500_000),
        threshold=475.0,
    )


if __name__ == "__main__":
    cli.main(experiment())
