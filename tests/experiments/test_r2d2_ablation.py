"""The ablation of R2D2: what its variants change, and what it measures."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import r2d2_ablation
from jaxrl_dist import configuration
from jaxrl_dist.experiment import plan
from jaxrl_dist.networks.action_values import QNetworkConfig
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.replay import store
from tests.agents.small import SPEC, make_rows
from tests.replay import model

WHOLE = r2d2_ablation.cartpole_no_velocity_r2d2.experiment()
CHANGED = {
    "stored_burn_in": set(),
    "stored": {"agent.burn_in"},
    "zero_burn_in": {"agent.stored_state"},
    "zero": {"agent.burn_in", "agent.stored_state"},
}


def test_variants_change_where_sequences_begin_and_nothing_else():
    variants = r2d2_ablation.variants(WHOLE)
    assert set(variants) == set(CHANGED)
    for name, variant in variants.items():
        lines = configuration.differences(WHOLE, variant)
        assert {line.partition(":")[0] for line in lines} == CHANGED[name]
    plan(variants["zero"])


def test_memory_that_is_not_stale_gives_true_values_and_zeros_come_closer():
    period, num_steps = 4, 150
    config = QNetworkConfig(hidden=(8,), core=CoreConfig("lstm", 8))
    network = config.build(SPEC)(may_remember=True)
    params = jax.jit(network.init)(jax.random.key(0))
    rows = make_rows(num_steps - 1, 4)._replace(memory=())
    # One long episode in each column, whose beginning is not there in column 0.
    is_first = jnp.zeros((num_steps, 4), bool).at[5, 1:].set(True)
    rows = rows._replace(is_first=is_first)

    @jax.jit
    def memories(memory):
        def one_row(memory, row):
            after, _ = network.unroll(
                params, memory, *jax.tree.map(lambda x: x[None], row), noise=None
            )
            return after, memory

        return jax.lax.scan(one_row, memory, (rows.observation, is_first))[1]

    stored = memories(network.initial_memory(4))
    starts = jax.tree.map(lambda x: x[::period].at[:, 0].set(9.0), stored)
    found = r2d2_ablation.discrepancy(network, params, rows, starts, period)
    np.testing.assert_allclose(found.stored, 0.0, atol=1e-5)
    assert found.zero[0] > 0.01
    assert found.zero[16] < 0.5 * found.zero[0]
    text = r2d2_ablation.table({"stored": found})
    assert f"| stored | zero | {found.zero[0]:.4f} |" in text


def test_a_ring_is_read_in_the_order_in_which_it_was_written():
    shape = store.Shape(2, 12, 5, 2, None, period=3)
    rows = model.make_rows(17, 2)
    stored = store.empty(shape, jax.tree.map(lambda x: x[0], rows))
    for part in (slice(0, 10), slice(10, 17)):
        stored = store.append(shape, stored, jax.tree.map(lambda x, p=part: x[p], rows))
    got, starts = r2d2_ablation.in_order(shape, stored)
    # Rows 5 to 16 are there; the first that begins a sequence is row 6.
    np.testing.assert_array_equal(got.action, rows.action[6:])
    for mine, theirs in zip(starts, rows.memory, strict=True):
        np.testing.assert_array_equal(mine, theirs[6::3])
