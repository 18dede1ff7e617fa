"""Returns and GAE against plain loops from the books, and their known cases."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import SHAPES, assert_equals_oracle, make_steps, pick

STEPS = ("rewards", "discounts", "next_values", "ends")

# The vectors of rlax's own tests, batch-major.
REWARDS = np.array([[1, 0, -1, 0, 1], [0.5, 0.8, -0.7, 0, 2.1]]).T
DISCOUNTS = np.array([[0.5, 0.9, 1, 0.5, 0.8], [0.9, 0.5, 0.3, 0.8, 0.7]]).T
NEXT_VALUES = np.array([[3, 1, 5, -5, 3], [-1.7, 1.2, 2.3, 2.2, 2.7]]).T


def lambda_by_hand(steps, lambda_):
    """Every mixture of n-step returns, written out: no recursion over time."""
    num_steps = len(steps["rewards"])
    results = []
    for start in range(num_steps):
        total, weight, product, earned = 0.0, 1.0, 1.0, 0.0
        for t in range(start, num_steps):
            earned += product * steps["rewards"][t]
            product *= steps["discounts"][t]
            n_step = earned + product * steps["next_values"][t]
            if steps["ends"][t] or t == num_steps - 1:
                total += weight * n_step
                break
            total += weight * (1 - lambda_) * n_step
            weight *= lambda_
        results.append(total)
    return results


def n_step_by_hand(steps, n):
    num_steps = len(steps["rewards"])
    results = []
    for start in range(num_steps):
        earned, product, reached = 0.0, 1.0, 0.0
        for t in range(start, min(start + n, num_steps)):
            earned += product * steps["rewards"][t]
            product *= steps["discounts"][t]
            reached = steps["next_values"][t]
            if steps["ends"][t]:
                break
        results.append(earned + product * reached)
    return results


def gae_by_hand(steps, lambda_):
    """Equation 16: the sum of discounted TD errors up to the end of the episode."""
    num_steps = len(steps["rewards"])
    errors = [
        steps["rewards"][t]
        + steps["discounts"][t] * steps["next_values"][t]
        - steps["values"][t]
        for t in range(num_steps)
    ]
    advantages = []
    for start in range(num_steps):
        total, product = 0.0, 1.0
        for t in range(start, num_steps):
            total += product * errors[t]
            if steps["ends"][t]:
                break
            product *= steps["discounts"][t] * lambda_
        advantages.append(total)
    targets = [a + v for a, v in zip(advantages, steps["values"], strict=True)]
    return advantages, targets


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_lambda_returns_match_the_mixture_of_n_step_returns(shape, lambda_):
    steps = pick(make_steps(shape), *STEPS)
    assert_equals_oracle(losses.lambda_returns, lambda_by_hand, steps, lambda_=lambda_)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 3, 40])
def test_n_step_returns_match_a_loop_that_stops_at_ends(shape, n):
    steps = pick(make_steps(shape), *STEPS)
    assert_equals_oracle(losses.n_step_returns, n_step_by_hand, steps, n=n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lambda_", [0.7])
def test_gae_matches_the_sum_of_td_errors(shape, lambda_):
    steps = pick(make_steps(shape), *STEPS, "values")
    assert_equals_oracle(losses.gae, gae_by_hand, steps, lambda_=lambda_)


@pytest.mark.parametrize("shape", SHAPES)
def test_discounted_returns_add_up_all_rewards_to_come(shape):
    steps = make_steps(shape)
    bootstrap_value = steps["next_values"][-1]
    got = losses.discounted_returns(
        **pick(steps, "rewards", "discounts"), bootstrap_value=bootstrap_value
    )
    expected, later = np.zeros(shape), bootstrap_value
    for t in reversed(range(shape[0])):
        later = steps["rewards"][t] + steps["discounts"][t] * later
        expected[t] = later
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_no_ends_is_the_same_as_ends_that_are_all_false():
    steps = make_steps((6, 2))
    steps["ends"] = np.zeros((6, 2), bool)
    for function, names, settings in (
        (losses.lambda_returns, STEPS, {"lambda_": 0.8}),
        (losses.n_step_returns, STEPS, {"n": 2}),
        (losses.gae, (*STEPS, "values"), {"lambda_": 0.8}),
    ):
        with_ends = pick(steps, *names)
        without = {name: array for name, array in with_ends.items() if name != "ends"}
        jax.tree.map(
            np.testing.assert_array_equal,
            function(**with_ends, **settings),
            function(**without, **settings),
        )


def test_published_vectors():
    steps = {
        "rewards": REWARDS,
        "discounts": DISCOUNTS,
        "next_values": NEXT_VALUES,
    }
    discounted = [[1.315, 0.63, 0.7, 1.7, 3.4], [1.33592, 0.9288, 0.2576, 3.192, 3.99]]
    for got, expected in (
        (
            losses.lambda_returns(**steps, lambda_=0.75),
            [
                [1.6460547, 0.72281253, 0.7375001, 0.6500001, 3.4],
                [0.7866317, 0.9913063, 0.1101501, 2.834, 3.99],
            ],
        ),
        (
            losses.discounted_returns(
                rewards=REWARDS, discounts=DISCOUNTS, bootstrap_value=NEXT_VALUES[-1]
            ),
            discounted,
        ),
        (losses.n_step_returns(**steps, n=5), discounted),
        (
            losses.n_step_returns(**steps, n=3),
            [[2.8, -3.15, 0.7, 1.7, 3.4], [1.2155, 0.714, 0.2576, 3.192, 3.99]],
        ),
    ):
        np.testing.assert_allclose(got.T, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    [
        (1.0, [[-1.45118, -4.4557, 2.5396, 0.5249, -0.49], [3, 2, 1, 0, -4.9]]),
        (
            0.7,
            [[-0.676979, -5.248167, 2.4846, 0.6704, -0.49], [2.2899, 1.73, 1, 0, -4.9]],
        ),
        (
            0.4,
            [[0.56731, -6.042, 2.3431, 0.815, -0.49], [1.725, 1.46, 1, 0, -4.9]],
        ),
    ],
)
def test_published_vectors_of_gae(lambda_, expected):
    values = np.array([[1, 4, -3, -2, -1, -1.0], [-3, -2, -1, 0, 5, -1.0]]).T
    got = losses.gae(
        rewards=np.array([[0, 0, 1, 0, -0.5], [0, 0, 0, 0, 1.0]]).T,
        discounts=np.array([[0.99] * 5, [0.9, 0.9, 0.9, 0, 0.9]]).T,
        values=values[:-1],
        next_values=values[1:],
        lambda_=lambda_,
    )
    np.testing.assert_allclose(got.advantages.T, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    [
        (0.99, [4.80492, 3.882176, 2.940696, 1.9801, 1]),
        (1.0, [4.900995, 3.940399, 2.9701, 1.99, 1]),
    ],
)
def test_dopamine_s_vectors_of_gae(lambda_, expected):
    nothing = np.zeros(5)
    got = losses.gae(
        rewards=np.ones(5),
        discounts=np.full(5, 0.99),
        values=nothing,
        next_values=nothing,
        lambda_=lambda_,
    )
    np.testing.assert_allclose(got.advantages, expected, rtol=1e-5)


def test_gae_targets_are_the_lambda_returns():
    steps = make_steps((9, 4))
    got = losses.gae(**pick(steps, *STEPS, "values"), lambda_=0.8)
    expected = losses.lambda_returns(**pick(steps, *STEPS), lambda_=0.8)
    # Where ends cut nothing, V(x_{t+1}) and values[t + 1] are the same number.
    np.testing.assert_allclose(got.targets, expected, atol=1e-5)


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not():
    steps = {
        "rewards": jnp.ones(3),
        "next_values": jnp.full(3, 10.0),
        "ends": jnp.array([False, True, False]),
    }
    truncated = losses.lambda_returns(**steps, discounts=jnp.ones(3), lambda_=1.0)
    np.testing.assert_allclose(truncated, [12, 11, 11])
    terminated = losses.lambda_returns(
        **steps, discounts=jnp.array([1.0, 0.0, 1.0]), lambda_=1.0
    )
    np.testing.assert_allclose(terminated, [2, 1, 11])


@pytest.mark.parametrize("lambda_", [-0.01, 1.01, float("nan")])
def test_lambda_outside_0_to_1_is_refused(lambda_):
    steps = make_steps((3,))
    with pytest.raises(ValueError, match=r"lambda_ must be in \[0, 1\], got"):
        losses.lambda_returns(**pick(steps, *STEPS), lambda_=lambda_)
    with pytest.raises(ValueError, match=r"lambda_ must be in \[0, 1\], got"):
        losses.gae(**pick(steps, *STEPS, "values"), lambda_=lambda_)


def test_lambda_may_be_traced():
    steps = pick(make_steps((4,)), *STEPS)
    got = jax.jit(lambda x: losses.lambda_returns(**steps, lambda_=x))(0.3)
    np.testing.assert_allclose(got, losses.lambda_returns(**steps, lambda_=0.3))


def test_a_bootstrap_value_of_another_shape_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"bootstrap_value has shape \(2,\), expected"):
        losses.discounted_returns(
            rewards=np.ones((4, 3)),
            discounts=np.ones((4, 3)),
            bootstrap_value=np.ones(2),
        )


def test_fewer_than_one_step_ahead_is_refused():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        losses.n_step_returns(**pick(make_steps((3,)), *STEPS), n=0)
