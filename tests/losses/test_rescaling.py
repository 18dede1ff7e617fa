"""Value rescaling: its inverse, its precision, and R2D2's targets."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import make_steps


def h_by_hand(x, epsilon=1e-3):
    return math.copysign(math.sqrt(abs(x) + 1) - 1, x) + epsilon * x


def inverse_by_bisection(y, epsilon=1e-3):
    """The number that h takes to y, without using any formula for it."""
    low, high = -1e12, 1e12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if h_by_hand(middle, epsilon) < y else (low, middle)
    return low


POINTS = [0.0, 3.0, -3.0, 100.0, -1000.0, 1e-3, -1e-6, 1e6]


@pytest.mark.parametrize("epsilon", [1e-3, 0.1])
def test_both_match_their_definitions(epsilon):
    with jax.enable_x64(True):
        got = losses.signed_hyperbolic(jnp.array(POINTS), epsilon=epsilon)
        back = losses.signed_parabolic(jnp.array(POINTS[:-1]), epsilon=epsilon)
    expected = [h_by_hand(x, epsilon) for x in POINTS]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    expected = [inverse_by_bisection(y, epsilon) for y in POINTS[:-1]]
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-5)


def test_published_values():
    got = losses.signed_hyperbolic(jnp.array([0.0, 3.0, -3.0]))
    np.testing.assert_allclose(got, [0, 1.003, -1.003], rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1])
def test_inverse_of_inverse_keeps_all_digits_of_float32(epsilon):
    sizes = np.geomspace(1e-8, 1e6, 200)
    values = jnp.asarray(np.concatenate([-sizes, sizes]), jnp.float32)
    there = losses.signed_hyperbolic(values, epsilon=epsilon)
    np.testing.assert_allclose(
        losses.signed_parabolic(there, epsilon=epsilon), values, rtol=2e-6
    )
    back = losses.signed_parabolic(values, epsilon=epsilon)
    np.testing.assert_allclose(
        losses.signed_hyperbolic(back, epsilon=epsilon), values, rtol=2e-6
    )


@pytest.mark.parametrize(
    "function", [losses.signed_hyperbolic, losses.signed_parabolic]
)
@pytest.mark.parametrize("epsilon", [1e-3, 0.1])
def test_slopes_are_those_of_finite_differences(function, epsilon):
    points = np.array([-50.0, -1.0, -0.1, 0.1, 2.0, 300.0])
    with jax.enable_x64(True):
        got = jax.vmap(jax.grad(lambda x: function(x, epsilon=epsilon)))(
            jnp.asarray(points)
        )
        step = 1e-5
        rise = function(points + step, epsilon=epsilon) - function(
            points - step, epsilon=epsilon
        )
        np.testing.assert_allclose(got, rise / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(
    "function", [losses.signed_hyperbolic, losses.signed_parabolic]
)
def test_the_slope_by_a_traced_epsilon_is_that_of_finite_differences(function):
    points = np.array([-50.0, -1.0, -0.1, 0.1, 2.0, 300.0])
    with jax.enable_x64(True):

        def total(epsilon, points):
            return jnp.sum(function(points, epsilon=epsilon) * np.arange(1.0, 7.0))

        by_epsilon, by_points = jax.jit(jax.grad(total, argnums=(0, 1)))(0.01, points)
        step = 1e-7
        rise = total(0.01 + step, points) - total(0.01 - step, points)
        np.testing.assert_allclose(by_epsilon, rise / (2 * step), rtol=1e-6)
        alone = jax.grad(lambda points: total(0.01, points))(points)
        np.testing.assert_allclose(by_points, alone, rtol=1e-12)


def test_an_epsilon_of_0_may_be_an_integer():
    for function in (losses.signed_hyperbolic, losses.signed_parabolic):
        slope = jax.grad(lambda x, h=function: h(x, epsilon=0))(3.0)
        assert slope == jax.grad(lambda x, h=function: h(x, epsilon=0.0))(3.0)


def test_the_slope_at_0_is_known():
    assert jax.grad(losses.signed_hyperbolic)(0.0) == np.float32(0.501)
    np.testing.assert_allclose(jax.grad(losses.signed_parabolic)(0.0), 1 / 0.501)


def test_published_targets():
    q_values = np.array(
        [
            [[1.1, 2.1], [-1.1, 1.1], [3.1, -3.1]],
            [[2.1, 3.1], [-1.1, 0.1], [-2.1, -1.1]],
        ]
    )
    next_q_values = np.array(
        [
            [[1.2, 2.2], [-1.2, 0.2], [2.2, -1.2]],
            [[4.2, 2.2], [1.2, 1.2], [-1.2, -2.2]],
        ]
    )
    actions = np.array([[0, 1, 0], [1, 0, 0]])
    targets = losses.rescaled_n_step_targets(
        rewards=np.array([[-1.3, -1.3, 2.3], [1.3, 5.3, -3.3]]).T,
        discounts=np.array([[0, 0.89, 0.85], [0.88, 1, 0.83]]).T,
        next_q_values=next_q_values.transpose(1, 0, 2),
        # The next actions are given in the source: the selector picks these.
        next_q_selector=np.eye(2)[actions].transpose(1, 0, 2),
        n=2,
    )
    errors = targets.T - losses.action_values(q_values=q_values, actions=actions)
    expected = [
        [-1.6178751, 0.85600746, -0.75762916],
        [-0.87689304, 0.6246443, 0.3598088],
    ]
    np.testing.assert_allclose(errors, expected, rtol=1e-4)


@pytest.mark.parametrize("n", [1, 3, 9])
@pytest.mark.parametrize("epsilon", [1e-3, 0.1])
def test_targets_match_the_definition_across_ends(n, epsilon):
    steps = make_steps((9, 2))
    rng = np.random.default_rng(1)
    q_values, selector = rng.normal(size=(2, 9, 2, 4))
    given = {name: steps[name] for name in ("rewards", "discounts", "ends")}
    with jax.enable_x64(True):
        got = losses.rescaled_n_step_targets(
            **given,
            next_q_values=q_values,
            next_q_selector=selector,
            n=n,
            epsilon=epsilon,
        )
    for start, b in np.ndindex(9, 2):
        earned, product, t = 0.0, 1.0, start
        while True:
            earned += product * steps["rewards"][t, b]
            product *= steps["discounts"][t, b]
            if steps["ends"][t, b] or t == 8 or t == start + n - 1:
                break
            t += 1
        picked = q_values[t, b][int(np.argmax(selector[t, b]))]
        target = earned + product * inverse_by_bisection(picked, epsilon)
        np.testing.assert_allclose(got[start, b], h_by_hand(target, epsilon), rtol=1e-4)


def test_values_without_an_axis_of_actions_are_refused():
    steps = make_steps((4,))
    with pytest.raises(ValueError, match="next_q_values must have at least 2 axes"):
        losses.rescaled_n_step_targets(
            rewards=steps["rewards"],
            discounts=steps["discounts"],
            next_q_values=steps["values"],
            next_q_selector=steps["values"],
            n=2,
        )


def test_an_epsilon_below_0_is_refused():
    for function in (losses.signed_hyperbolic, losses.signed_parabolic):
        with pytest.raises(ValueError, match="epsilon must be at least 0, got -0.1"):
            function(jnp.ones(2), epsilon=-0.1)
