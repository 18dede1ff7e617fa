"""The KL penalty against its formula, and how its coefficient is adapted."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses


def test_the_kl_penalty_is_added_to_the_surrogate():
    got = losses.kl_penalized_loss(
        log_ratios=np.log([0.5, 2.0]),
        advantages=np.array([3.0, -1.0]),
        kl=np.array([0.1, 0.2]),
        coefficient=0.5,
    )
    np.testing.assert_allclose(got, [-1.45, 2.1], rtol=1e-6)


def test_a_ratio_that_overflows_leaves_an_advantage_of_0_at_0():
    def total(log_ratios):
        return losses.kl_penalized_loss(
            log_ratios=log_ratios,
            advantages=jnp.zeros(2),
            kl=jnp.array([0.1, 0.2]),
            coefficient=0.5,
        ).sum()

    loss, gradient = jax.value_and_grad(total)(jnp.array([100.0, 1e4]))
    np.testing.assert_allclose(loss, 0.15, rtol=1e-6)
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.01, 0.5), (0.0666, 0.5), (0.067, 1), (0.149, 1), (0.151, 2)]
)
def test_the_kl_coefficient_follows_the_kl(kl, factor):
    got = losses.adapted_kl_coefficient(coefficient=3.0, kl=np.array(kl), target_kl=0.1)
    assert got == 3.0 * factor


def test_at_the_bounds_themselves_the_kl_coefficient_stays():
    for kl in (1.0, 2.25):
        got = losses.adapted_kl_coefficient(
            coefficient=3.0, kl=np.array(kl), target_kl=1.5
        )
        assert got == 3.0


def test_the_kl_coefficient_answers_in_the_type_of_the_kl():
    got = losses.adapted_kl_coefficient(
        coefficient=jnp.bfloat16(3.0), kl=jnp.float32(0.01), target_kl=0.1
    )
    assert got.dtype == jnp.float32


ONE = {"log_ratios": np.zeros(1), "advantages": np.ones(1)}


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        (
            "kl_penalized_loss",
            {**ONE, "kl": np.ones(1), "coefficient": -0.1},
            "coefficient must be at least 0, got -0.1",
        ),
        (
            "kl_penalized_loss",
            {**ONE, "kl": np.ones(1), "coefficient": np.ones(1)},
            r"coefficient has shape \(1,\), expected \(\)",
        ),
        (
            "adapted_kl_coefficient",
            {"coefficient": -1.0, "kl": np.ones(()), "target_kl": 0.1},
            "coefficient must be at least 0",
        ),
        (
            "adapted_kl_coefficient",
            {"coefficient": 1.0, "kl": np.ones(()), "target_kl": 0.0},
            "target_kl must be above 0",
        ),
        (
            "adapted_kl_coefficient",
            {"coefficient": 1.0, "kl": np.ones(3), "target_kl": 0.1},
            r"kl has shape \(3,\), expected \(\)",
        ),
    ],
)
def test_settings_out_of_range_are_refused(name, arrays, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**arrays)
