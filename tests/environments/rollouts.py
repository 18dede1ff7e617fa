"""Trajectories [T + 1, B] made of given numbers, as a rollout would return them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.types import Trajectory


def make_rollouts(
    num_rollouts: int = 3, num_steps: int = 16, batch_size: int = 4, seed: int = 0
) -> list[Trajectory]:
    """Consecutive rollouts of episodes with random ends, rewards and observations.

    Each one's final row is the next one's first. Rewards of last rows are rubbish that
    nobody may count.
    """
    random = np.random.default_rng(seed)
    total = (num_rollouts * num_steps + 1, batch_size)
    is_first, is_last = np.zeros(total, bool), np.zeros(total, bool)
    is_first[0] = True
    for t in range(1, total[0]):
        is_first[t] = is_last[t - 1]
        is_last[t] = ~is_first[t] & (random.random(batch_size) < 0.2)
    rewards = np.where(is_last, 1e6, random.normal(1, 2, total))
    rows = Trajectory(
        observation=jnp.asarray(random.normal(5.0, 2.0, (*total, 3)), jnp.float32),
        is_first=jnp.asarray(is_first),
        is_last=jnp.asarray(is_last),
        action=jnp.zeros(total, jnp.int32),
        reward=jnp.asarray(rewards, jnp.float32),
        terminated=jnp.asarray(is_last),
    )

    def rollout(start: int) -> Trajectory:
        return jax.tree.map(lambda x: x[start : start + num_steps + 1], rows)

    return [rollout(start) for start in range(0, num_rollouts * num_steps, num_steps)]


def episodes_of(rollouts: list[Trajectory]) -> list[list[float]]:
    """The rewards of each episode that ended within the counted rows, by hand."""
    found = []
    rollouts = jax.tree.map(np.asarray, rollouts)
    for column in range(rollouts[0].reward.shape[1]):
        rewards = []
        for rows in rollouts:
            for t in range(len(rows.reward) - 1):
                if rows.is_first[t, column]:
                    rewards = []
                if rows.is_last[t, column]:
                    found.append(rewards)
                else:
                    rewards.append(float(rows.reward[t, column]))
    return found
