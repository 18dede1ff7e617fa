"""What every agent makes of a batch: nothing of last rows, the same on more devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.distribution import devices
from jaxrl_dist.types import Trajectory
from tests.agents.small import AGENTS, PLAIN, make_network, make_rows, spoil_last_rows

NETWORK = make_network()
KEY = jax.random.key(0)
# One gradient step: shuffles differ between devices, so minibatches do.
WHOLE = PPOConfig(PLAIN, num_epochs=1, num_minibatches=1)


def assert_close(got, wanted, rtol: float) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize("name", AGENTS)
def test_what_stands_in_last_rows_changes_no_update(name):
    agent = AGENTS[name].build(NETWORK, 1)
    update, state = jax.jit(agent.update), agent.init(KEY)
    rows = make_rows()
    expected = update(state, rows, KEY)
    others = spoil_last_rows(rows, seed=1)
    assert not np.array_equal(others.reward, rows.reward)
    assert_close(update(state, others, KEY), expected, rtol=1e-4)
    # Any other row's reward does change it.
    where = np.argwhere(~np.asarray(rows.is_last)[:-1])[0]
    reward = rows.reward.at[tuple(where)].add(1.0)
    (moved, _), (same, _) = update(state, rows._replace(reward=reward), KEY), expected
    with pytest.raises(AssertionError):
        assert_close(moved.opt_state, same.opt_state, rtol=1e-3)


@functools.cache
def on_one_device(name: str) -> tuple:
    """State and information after one update of a whole batch."""
    agent = (AGENTS | {"ppo": WHOLE})[name].build(NETWORK, 1)
    return jax.jit(agent.update)(agent.init(KEY), make_rows(), KEY)


def spread(rows: Trajectory, num_devices: int) -> Trajectory:
    """[T + 1, B, ...] to [D, T + 1, B / D, ...]."""
    return jax.tree.map(lambda x: jnp.stack(jnp.split(x, num_devices, axis=1)), rows)


@pytest.mark.parametrize("name", ["a2c", "a2c normalised", "impala", "ppo"])
@pytest.mark.parametrize("num_devices", [2, 4])
def test_gradients_of_a_batch_do_not_depend_on_the_number_of_devices(name, num_devices):
    rows = make_rows()
    counts = (~np.asarray(rows.is_last)[:-1]).sum(0)
    assert counts[:4].sum() < counts[4:].sum(), "devices count equally many steps"
    config = (AGENTS | {"ppo": WHOLE})[name]
    agent = config.build(NETWORK, 1, devices.AXIS_NAME)
    update = devices.compile_for(num_devices, agent.update, in_axes=(None, 0, None))
    got, info = update(agent.init(KEY), spread(rows, num_devices), KEY)
    wanted, expected = on_one_device(name)
    for device in range(num_devices):
        # Adam's first moment after one step is a tenth of the gradient.
        mine = jax.tree.map(lambda x, d=device: x[d], got)
        assert_close(mine.opt_state, wanted.opt_state, rtol=1e-4)
    for metric, value in expected.metrics.items():
        np.testing.assert_allclose(
            info.metrics[metric].mean(), value, rtol=1e-4, atol=1e-6, err_msg=metric
        )
