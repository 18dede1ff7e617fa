"""Policy losses against their formulas, branch by branch."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

# Every combination of a good or bad action with a ratio below, within, above the clip.
LOG_RATIOS = np.log([0.5, 1.0, 1.1, 2.0, 9.0, 0.5, 1.0, 1.1, 2.0, 9.0])
ADVANTAGES = np.array([2.0, 2.0, 2.0, 2.0, 2.0, -3.0, -3.0, -3.0, -3.0, -3.0])


def test_the_policy_gradient_loss_weighs_log_probs_by_advantages():
    got = losses.policy_gradient_loss(
        log_probs=jnp.array([-1.0, -0.5]), advantages=jnp.array([2.0, -4.0])
    )
    np.testing.assert_allclose(got, [2.0, -2.0])


def clipped_by_hand(log_ratio, advantage, epsilon):
    ratio = math.exp(log_ratio)
    clipped = min(max(ratio, 1 - epsilon), 1 + epsilon)
    return -min(ratio * advantage, clipped * advantage)


def test_the_clipped_surrogate_takes_the_worse_of_both():
    got = losses.clipped_surrogate_loss(
        log_ratios=LOG_RATIOS, advantages=ADVANTAGES, epsilon=0.2
    )
    expected = [
        clipped_by_hand(x, a, 0.2) for x, a in zip(LOG_RATIOS, ADVANTAGES, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_there_is_no_gradient_where_the_clipped_term_is_taken():
    def total(log_ratios):
        return losses.clipped_surrogate_loss(
            log_ratios=log_ratios, advantages=ADVANTAGES, epsilon=0.2
        ).sum()

    got = jax.grad(total)(jnp.asarray(LOG_RATIOS))
    expected = -np.exp(LOG_RATIOS) * ADVANTAGES
    expected[[3, 4, 5]] = 0.0
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_ratio_that_overflows_leaves_clipped_gradients_at_0():
    log_ratios, advantages = jnp.full(2, 100.0), jnp.array([1.0, -1.0])

    def total(log_ratios):
        return losses.dual_clipped_surrogate_loss(
            log_ratios=log_ratios, advantages=advantages, epsilon=0.2
        ).sum()

    loss, gradient = jax.value_and_grad(total)(log_ratios)
    np.testing.assert_allclose(loss, -1.2 + 3.0, rtol=1e-6)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_published_vector_of_the_clipped_surrogate():
    new = np.array([[1, 1, 1], [2, 0, 0], [-1, -2, -3.0]])
    old = np.array([[1, 1, 1], [2, 0, 0], [-3, -2, -1.0]])
    actions = np.array([0, 1, 2])
    log_ratios = losses.categorical_log_probs(
        logits=new, actions=actions
    ) - losses.categorical_log_probs(logits=old, actions=actions)
    for sign, expected in ((1, -0.17117467), (-1, 0.19333333)):
        got = losses.clipped_surrogate_loss(
            log_ratios=log_ratios,
            advantages=sign * np.array([0.3, 0.2, 0.1]),
            epsilon=0.2,
        )
        np.testing.assert_allclose(got.mean(), expected, rtol=1e-4)


def test_dual_clipping_bounds_the_loss_of_bad_actions_only():
    got = losses.dual_clipped_surrogate_loss(
        log_ratios=LOG_RATIOS, advantages=ADVANTAGES, epsilon=0.2, dual_clip=1.5
    )
    expected = [
        clipped_by_hand(x, a, 0.2)
        if a >= 0
        else min(clipped_by_hand(x, a, 0.2), -1.5 * a)
        for x, a in zip(LOG_RATIOS, ADVANTAGES, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got[8] == got[9] == 4.5
    by_default = losses.dual_clipped_surrogate_loss(
        log_ratios=LOG_RATIOS, advantages=ADVANTAGES, epsilon=0.2
    )
    np.testing.assert_allclose(by_default[9], 9.0)


def test_dual_clipping_leaves_an_advantage_of_0_at_0():
    got = losses.dual_clipped_surrogate_loss(
        log_ratios=jnp.zeros(1), advantages=jnp.zeros(1), epsilon=0.2
    )
    assert got == 0


def test_the_clipped_value_loss_takes_the_worse_of_both():
    values = np.array([1.0, 2.0, 3.0, 1.0, 1.05])
    old_values = np.array([1.0, 1.0, 1.0, 3.0, 1.0])
    targets = np.array([2.0, 2.0, 0.0, 1.0, 5.0])
    got = losses.clipped_value_loss(
        values=values, old_values=old_values, targets=targets, epsilon=0.1
    )
    # Second: the value stands on the target, but the clipped one at 1.1 does not.
    # Fourth: likewise at 2.9, from above. Fifth: within the range both are the same.
    expected = [0.5, 0.5 * 0.9**2, 4.5, 0.5 * 1.9**2, 0.5 * 3.95**2]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a2c_adds_policy_value_and_entropy():
    arrays = {
        "log_probs": np.array([-1.0, -2.0]),
        "entropies": np.array([0.5, 0.25]),
        "advantages": np.array([2.0, -1.0]),
        "values": np.array([1.0, 0.0]),
        "targets": np.array([3.0, 1.0]),
    }
    got = losses.a2c_loss(**arrays, value_coefficient=0.25, entropy_coefficient=0.1)
    np.testing.assert_allclose(got, [2 + 0.5 - 0.05, -2 + 0.125 - 0.025], rtol=1e-6)
    got = losses.a2c_loss(**arrays)
    np.testing.assert_allclose(got, [2 + 1 - 0.005, -2 + 0.25 - 0.0025], rtol=1e-6)


ONE = {"log_ratios": np.zeros(1), "advantages": np.ones(1)}


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("clipped_surrogate_loss", {**ONE, "epsilon": 0.0}, "epsilon must be above 0"),
        (
            "dual_clipped_surrogate_loss",
            {**ONE, "epsilon": 0.0},
            "epsilon must be above",
        ),
        (
            "dual_clipped_surrogate_loss",
            {**ONE, "epsilon": 0.1, "dual_clip": 1.0},
            "dual_clip must be above 1, got 1.0",
        ),
        (
            "clipped_value_loss",
            {
                "values": np.ones(1),
                "old_values": np.ones(1),
                "targets": np.ones(1),
                "epsilon": -0.1,
            },
            "epsilon must be at least 0, got -0.1",
        ),
    ],
)
def test_settings_out_of_range_are_refused(name, arrays, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**arrays)


@pytest.mark.parametrize("name", ["value_coefficient", "entropy_coefficient"])
def test_a_coefficient_below_0_is_refused(name):
    names = ("log_probs", "entropies", "advantages", "values", "targets")
    arrays = {each: np.ones(2) for each in names}
    losses.a2c_loss(**arrays, **{name: 0.0})
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -0.1"):
        losses.a2c_loss(**arrays, **{name: -0.1})
