"""Importance-corrected n-step returns against the book's recursion."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import SHAPES, assert_equals_oracle, make_steps


def by_hand(steps, n):
    """Equation 7.13, for each step on its own."""

    def value_from(t, steps_left):
        if steps["ends"][t] or t == len(steps["rewards"]) - 1 or steps_left == 1:
            later = steps["next_values"][t]
        else:
            later = value_from(t + 1, steps_left - 1)
        ratio = np.exp(steps["log_ratios"][t])
        sample = steps["rewards"][t] + steps["discounts"][t] * later
        return ratio * sample + (1 - ratio) * steps["values"][t]

    return [value_from(t, n) for t in range(len(steps["rewards"]))]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 3, 500])
def test_returns_match_the_recursion(shape, n):
    steps = make_steps(shape)
    # Ratios near 1: the product of 200 others would drown the float32 comparison.
    steps["log_ratios"] = steps["log_ratios"] / 10
    assert_equals_oracle(
        losses.importance_corrected_n_step_returns, by_hand, steps, n=n
    )


def test_on_policy_they_are_the_n_step_returns():
    steps = make_steps((8, 3)) | {"log_ratios": np.zeros((8, 3))}
    got = losses.importance_corrected_n_step_returns(**steps, n=3)
    del steps["log_ratios"], steps["values"]
    expected = losses.n_step_returns(**steps, n=3)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_uncapped_vtrace_looks_as_far_as_the_trajectory_goes():
    steps = make_steps((8, 3))
    got = losses.importance_corrected_n_step_returns(**steps, n=8)
    expected = losses.vtrace(**steps, clip_rho=1e9, clip_c=1e9).targets
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_fewer_than_one_step_ahead_is_refused():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        losses.importance_corrected_n_step_returns(**make_steps((3,)), n=0)
