"""What holds of the gradients of every loss: where they flow, and at extremes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist import losses
from tests.losses.catalogue import (
    ENTRIES,
)
from tests.losses.entries import (
    call,
    each,
    floating,
)

# One factor of each product is fixed, so the slope is not that of the value; what it is
# is tested with the function.
PARTLY_STOPPED = {
    (losses.kl_constraint_loss, "kl"),
    (losses.kl_constraint_loss, "multiplier"),
}


def weighed_sum(results):
    """A number that every entry of every result changes in its own way."""
    leaves = jax.tree.leaves(results)
    return sum(
        jnp.sum(leaf * (1.0 + 0.1 * np.arange(leaf.size)).reshape(leaf.shape))
        for leaf in leaves
    )


@each(ENTRIES)
def test_gradients_flow_where_they_should_and_are_those_of_finite_differences(entry):
    names = list(floating(entry.arrays))
    fixed = {n: a for n, a in entry.arrays.items() if n not in names}

    @jax.jit
    def total(arrays):
        return weighed_sum(call(entry, fixed | arrays))

    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(entry.arrays[name]) for name in names}
        slopes = jax.grad(total)(arrays)
        flows_into = {name for name in names if jnp.any(slopes[name] != 0)}
        assert flows_into == entry.flows_into
        for name in flows_into:
            direction = np.random.default_rng(3).normal(size=arrays[name].shape)
            step = 1e-6 * direction
            rise = total(arrays | {name: arrays[name] + step}) - total(
                arrays | {name: arrays[name] - step}
            )
            slope = jnp.sum(slopes[name] * direction)
            if (entry.function, name) in PARTLY_STOPPED:
                continue
            np.testing.assert_allclose(slope, rise / 2e-6, rtol=1e-4, atol=1e-6)


EXTREMES = {
    "logits": 1e4,
    "other_logits": 1e4,
    "next_logits": 1e4,
    "next_selector": 1e6,
    "log_ratios": 50.0,
}


@each(ENTRIES)
def test_values_and_gradients_are_finite_at_extremes(entry):
    """Logits of +-1e4, ratios of exp(+-50), everything in reward units at 1e6."""
    by_name = {
        "rewards": 1e6, "values": 1e6, "next_values": 1e6, "targets": 1e6,
        "old_values": 1e6, "advantages": 1e6, "q_values": 1e6, "next_q_values": 1e6,
        "next_state_values": 1e6, "quantiles": 1e6, "target_quantiles": 1e6,
        "next_quantiles": 1e6, "errors": 1e6, "next_q_selector": 1e6,
        "target_q_values": 1e6, "action_gradients": 1e6, "bootstrap_value": 1e6,
        **EXTREMES,
    }  # fmt: skip
    arrays = {
        name: np.sign(array) * by_name[name] if name in by_name else array
        for name, array in entry.arrays.items()
    }
    names = list(floating(arrays))

    @jax.jit
    def total(given):
        results = call(entry, arrays | given)
        return weighed_sum(results), results

    given = {name: jnp.asarray(arrays[name], jnp.float32) for name in names}
    slopes, results = jax.grad(total, has_aux=True)(given)
    products = {losses.importance_corrected_n_step_returns, losses.leaky_vtrace}
    if entry.function in products:
        # Uncapped ratios multiply: that is what capping is for.
        given["log_ratios"] = given["log_ratios"] / 5
        slopes, results = jax.grad(total, has_aux=True)(given)
    for leaf in jax.tree.leaves((slopes, results)):
        assert jnp.isfinite(leaf).all()
