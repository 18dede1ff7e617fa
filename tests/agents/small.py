"""Small networks, agents and trajectories for tests of the learning core."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.networks.actor_critic import ActorCritic
from jaxrl_dist.networks.build import ActorCriticConfig
from jaxrl_dist.networks.distributions import Categorical
from jaxrl_dist.types import ArraySpec, DiscreteSpec, EnvironmentSpec, Trajectory

FEATURES, ACTIONS = 4, 3
SPEC = EnvironmentSpec(
    "Small", ArraySpec((FEATURES,), jnp.float32), DiscreteSpec(ACTIONS)
)
PLAIN = OptimizerConfig(learning_rate=0.01, anneal=False, max_gradient_norm=1e6)
AGENTS = {
    "a2c": A2CConfig(PLAIN, lambda_=0.9, entropy_weight=0.1),
    "a2c normalised": A2CConfig(PLAIN, normalise_advantages=True),
    "ppo": PPOConfig(PLAIN, num_epochs=2, num_minibatches=2),
    "impala": IMPALAConfig(PLAIN),
}


def make_network(spec: EnvironmentSpec = SPEC, **settings) -> ActorCritic:
    """A network of one hidden layer of 8."""
    return ActorCriticConfig(**{"hidden": (8,), **settings}).build(spec)


def make_rows(num_steps: int = 12, batch_size: int = 8, seed: int = 0) -> Trajectory:
    """Random rows [T + 1, B] with ends of both kinds, most of them in early columns.

    Actions come from random distributions, so ratios differ from 1. What a last row
    and the final row hold beside their observation is rubbish nobody may count.
    """
    random = np.random.default_rng(seed)
    shape = (num_steps + 1, batch_size)
    is_first, is_last, terminated = (np.zeros(shape, bool) for _ in range(3))
    chances = np.linspace(0.5, 0.0, batch_size)
    is_last[0] = random.random(batch_size) < chances
    for t in range(1, num_steps + 1):
        is_first[t] = is_last[t - 1]
        is_last[t] = ~is_first[t] & (random.random(batch_size) < chances)
        terminated[t - 1] = is_last[t] & (random.random(batch_size) < 0.5)
    rows = Trajectory(
        observation=jnp.asarray(random.normal(size=(*shape, FEATURES))),
        is_first=jnp.asarray(is_first),
        is_last=jnp.asarray(is_last),
        action=jnp.asarray(random.integers(0, ACTIONS, shape)),
        reward=jnp.asarray(random.normal(size=shape)),
        terminated=jnp.asarray(terminated),
        extras=Categorical(jnp.asarray(random.normal(size=(*shape, ACTIONS)))),
    )
    return spoil_last_rows(rows, seed)


def spoil_last_rows(rows: Trajectory, seed: int) -> Trajectory:
    """Other rubbish in all that means nothing on a last row, and on the final row."""
    random = np.random.default_rng((seed, 1))
    shape = rows.is_last.shape
    meaningless = np.asarray(rows.is_last).copy()
    meaningless[-1] = True
    rubbish = rows._replace(
        action=jnp.asarray(random.integers(0, ACTIONS, shape), jnp.int32),
        reward=jnp.asarray(random.normal(0, 1e3, shape), jnp.float32),
        terminated=jnp.asarray(random.random(shape) < 0.5),
        extras=jax.tree.map(
            lambda x: jnp.asarray(random.normal(0, 3, x.shape), x.dtype), rows.extras
        ),
    )

    def pick(new: jax.Array, old: jax.Array) -> jax.Array:
        where = meaningless.reshape(*shape, *(1,) * (old.ndim - 2))
        return jnp.where(where, new, old)

    return jax.tree.map(pick, rubbish, rows)
