"""Episode returns and lengths, against a plain loop over the same rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.environments import statistics
from jaxrl_dist.types import Trajectory
from tests.environments.rollouts import episodes_of, make_rollouts


def follow(rollouts: list[Trajectory]) -> statistics.EpisodeSums:
    """Sums over all rollouts, joined."""
    running = statistics.init(rollouts[0].reward.shape[1])
    every = []
    for rows in rollouts:
        running, sums = jax.jit(statistics.update)(running, rows)
        every.append(sums)
    return statistics.join(jax.tree.map(lambda *x: jnp.stack(x), *every))


@pytest.mark.parametrize("num_rollouts", [1, 3])
def test_sums_match_a_loop_over_episodes_that_span_rollouts(num_rollouts):
    rollouts = make_rollouts(num_rollouts)
    episodes = episodes_of(rollouts)
    sums = follow(rollouts)
    returns = [sum(rewards) for rewards in episodes]
    assert len(episodes) > 5
    assert sums.num_episodes == len(episodes)
    assert sums.length_sum == sum(map(len, episodes))
    np.testing.assert_allclose(sums.return_sum, sum(returns), rtol=1e-5)
    np.testing.assert_allclose(sums.return_min, min(returns), rtol=1e-5)
    np.testing.assert_allclose(sums.return_max, max(returns), rtol=1e-5)


def test_only_real_transitions_are_steps():
    rollouts = make_rollouts()
    real = sum(int((~rows.is_last[:-1]).sum()) for rows in rollouts)
    assert follow(rollouts).num_steps == real


def test_without_an_end_there_is_nothing_to_report():
    (rows,) = make_rollouts(1, num_steps=1)
    sums = follow([rows])
    assert (sums.num_episodes, sums.return_sum, sums.length_sum) == (0, 0, 0)
    assert sums.return_min == np.inf and sums.return_max == -np.inf


def test_the_return_of_a_very_long_episode_is_exact_in_float32():
    steps = 300_000
    row = jnp.arange(steps + 2)[:, None]
    rows = Trajectory(
        observation=(),
        is_first=row == 0,
        is_last=row == steps,
        action=jnp.zeros(row.shape, jnp.int32),
        reward=jnp.full(row.shape, 0.1),
        terminated=row == steps,
    )
    sums = follow([rows])
    assert sums.length_sum == steps
    np.testing.assert_allclose(sums.return_sum, 0.1 * steps, rtol=1e-6)


def test_sums_are_joined_over_the_axes_that_are_named():
    running = statistics.init(4)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *make_rollouts(3))
    _, sums = jax.vmap(statistics.update, (None, 0))(running, stacked)
    both = jax.tree.map(lambda x: jnp.stack([x, x + 1]), sums)
    joined = statistics.join(both, axis=1)
    assert joined.num_steps.shape == (2,)
    np.testing.assert_array_equal(joined.return_min, both.return_min.min(1))
    np.testing.assert_array_equal(joined.return_max, both.return_max.max(1))
    np.testing.assert_array_equal(joined.length_sum, both.length_sum.sum(1))
