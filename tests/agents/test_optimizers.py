"""One flat vector is optimized just as a tree is; steps are clipped and annealed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_dist.agents.optimizers import OptimizerConfig
from jaxrl_dist.types import Params

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": (jnp.ones(2), jnp.zeros(()))}


def gradients(step: int) -> dict:
    """Gradients of a step, whose norm is far above 1."""
    return jax.tree.map(lambda x: jnp.cos(7.0 * x + step) + 0.5, PARAMS)


def trained(optimizer: optax.GradientTransformation, steps: int = 5) -> Params:
    """Parameters after some steps."""
    params: Params = PARAMS
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for step in range(steps):
        deltas, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, deltas)
    return params


@pytest.mark.parametrize("name", ["adam", "radam", "rmsprop"])
def test_it_does_what_optax_does_to_a_tree(name):
    schedule = optax.linear_schedule(0.1, 0.0, 20)
    scale = {
        "adam": optax.adam(schedule, eps=1e-3),
        "radam": optax.radam(schedule, eps=1e-3),
        "rmsprop": optax.rmsprop(schedule, decay=0.9, eps=1e-3),
    }
    plain = optax.chain(optax.clip_by_global_norm(0.5), scale[name])
    ours = OptimizerConfig(name, 0.1, epsilon=1e-3, decay=0.9).build(20)
    expected = trained(plain)
    for got, wanted in zip(
        jax.tree.leaves(trained(ours)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_gradients_are_scaled_down_to_the_largest_norm():
    # Adam's first moment after one step is a tenth of the clipped gradient.
    optimizer = OptimizerConfig(max_gradient_norm=0.25).build(1)
    state = optimizer.init(PARAMS)
    for factor, norm in ((1.0, 0.25), (1e-3, optax.tree.norm(gradients(0)) * 1e-3)):
        grads = jax.tree.map(lambda x, f=factor: f * x, gradients(0))
        _, after = optimizer.update(grads, state, PARAMS)
        moment = optax.tree.get(after, "mu")
        np.testing.assert_allclose(optax.tree.norm(moment), 0.1 * norm, rtol=1e-5)


def moves_of(optimizer: optax.GradientTransformation, number: int) -> list[float]:
    """How far steps move a number whose gradient is always the same."""
    params = jnp.ones(1)
    state, update, moves = optimizer.init(params), jax.jit(optimizer.update), []
    for _ in range(number):
        deltas, state = update(0.3 * params, state, params)
        moves.append(-float(deltas[0]))
    return moves


def test_the_step_size_falls_linearly_to_0_over_the_run():
    # The same gradient again and again moves Adam by the step size.
    optimizer = OptimizerConfig(learning_rate=0.1, epsilon=1e-8).build(4)
    expected = [0.1, 0.075, 0.05, 0.025, 0.0, 0.0]
    np.testing.assert_allclose(moves_of(optimizer, 6), expected, rtol=1e-4, atol=1e-7)


def test_without_annealing_the_step_size_stays():
    optimizer = OptimizerConfig(learning_rate=0.1, anneal=False).build(1)
    np.testing.assert_allclose(moves_of(optimizer, 3), 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm must be above 0, got -1.0"),
        ({"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ({"decay": 1.5}, r"decay must be in \[0, 1\], got 1.5"),
        ({"name": "sgd"}, "name must be adam, radam or rmsprop, got 'sgd'"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**settings)


def test_a_run_without_steps_is_refused():
    with pytest.raises(ValueError, match="total_steps must be at least 1, got 0"):
        OptimizerConfig().build(0)
