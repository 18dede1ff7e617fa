"""V-trace against the paper's recursion in plain Python, and its known cases."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import SHAPES, assert_equals_oracle, make_steps

DISTINCT = {"clip_rho": 1.2, "clip_c": 0.7, "clip_pg_rho": 2.0, "lambda_": 0.9}
SETTINGS = [
    {},
    DISTINCT,
    {"clip_rho": 3.7, "clip_pg_rho": 2.2},
    {"clip_c": 0.5, "lambda_": 0.4},
    {"clip_rho": 0.9, "clip_c": 0.9, "clip_pg_rho": 0.9, "lambda_": 0.8},
]


def vtrace_by_hand(steps, **settings):
    return leaky_by_hand(steps, **settings)


def leaky_by_hand(
    steps,
    *,
    clip_rho=1.0,
    clip_c=1.0,
    clip_pg_rho=1.0,
    lambda_=1.0,
    alpha_rho=1.0,
    alpha_c=1.0,
):
    """Equation 1 as the sum it is, with a product of c for each pair of steps."""
    num_steps = len(steps["rewards"])
    ratio = [float(np.exp(x)) for x in steps["log_ratios"]]
    rho = [alpha_rho * min(clip_rho, x) + (1 - alpha_rho) * x for x in ratio]
    c = [lambda_ * (alpha_c * min(clip_c, x) + (1 - alpha_c) * x) for x in ratio]
    reward, discount = steps["rewards"], steps["discounts"]
    value, next_value = steps["values"], steps["next_values"]
    excess = []  # v_t - V(x_t)
    for start in range(num_steps):
        total, product = 0.0, 1.0
        for t in range(start, num_steps):
            error = reward[t] + discount[t] * next_value[t] - value[t]
            total += product * rho[t] * error
            if steps["ends"][t]:
                break
            product *= discount[t] * c[t]
        excess.append(total)
    advantages = []
    for t in range(num_steps):
        known = t + 1 < num_steps and not steps["ends"][t]
        q = next_value[t] + (lambda_ * excess[t + 1] if known else 0.0)
        weight = min(clip_pg_rho, ratio[t])
        advantages.append(weight * (reward[t] + discount[t] * q - value[t]))
    return [v + x for v, x in zip(value, excess, strict=True)], advantages


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_estimates_match_the_paper(settings):
    assert_equals_oracle(losses.vtrace, vtrace_by_hand, make_steps((7, 3)), **settings)


@pytest.mark.parametrize("shape", SHAPES)
def test_estimates_match_the_paper_at_every_length(shape):
    assert_equals_oracle(losses.vtrace, vtrace_by_hand, make_steps(shape), **DISTINCT)


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha_rho": 0.3, "alpha_c": 0.8, **DISTINCT},
        {"alpha_rho": 0.0, "alpha_c": 0.0},
        {"alpha_rho": 0.5},
        {"alpha_c": 0.5},
    ],
    ids=str,
)
def test_leaky_estimates_match_the_formula(settings):
    steps = make_steps((6, 2))
    assert_equals_oracle(losses.leaky_vtrace, leaky_by_hand, steps, **settings)


def test_published_vectors():
    behaviour = np.array(
        [
            [[8.9, 0.7], [5, 1], [0.6, 0.1], [-0.9, -0.1]],
            [[0.3, -5], [1, -8], [0.3, 1.7], [4.7, 3.3]],
        ]
    )
    target = np.array(
        [
            [[0.4, 0.5], [9.2, 8.8], [0.7, 4.4], [7.9, 1.4]],
            [[1, 0.9], [1, -1], [-4.3, 8.7], [0.8, 0.3]],
        ]
    )
    actions = np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    log_ratios = losses.categorical_log_probs(
        logits=target, actions=actions
    ) - losses.categorical_log_probs(logits=behaviour, actions=actions)
    values = np.array([[2.1, 1.1, -3.1, 0], [3.1, 0.1, -1.1, 7.4]]).T
    steps = {
        "rewards": np.array([[-1.3, -1.3, 2.3, 42], [1.3, 5.3, -3.3, -5]]).T,
        "discounts": np.array([[0, 0.89, 0.85, 0.99], [0.88, 1, 0.83, 0.95]]).T,
        "values": values,
        "next_values": np.concatenate([values[1:], [[8.4, -1.2]]]),
        "log_ratios": log_ratios.T,
    }
    errors = [
        [-1.6155143, -3.4973226, 1.8670533, 50.316002],
        [1.4662437, 3.6116405, -8.3327e-5, -13.54],
    ]
    got = losses.vtrace(**steps)
    np.testing.assert_allclose((got.targets - values).T, errors, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(got.advantages.T, errors, rtol=1e-3)
    got = losses.vtrace(**steps, clip_pg_rho=5.0)
    advantages = [
        [-1.6155143, -17.486612, 1.8670535, 162.05268],
        [7.3312171, 3.6116403, -8.3369e-5, -25.84168],
    ]
    np.testing.assert_allclose(got.advantages.T, advantages, rtol=1e-3)


def test_on_policy_target_is_the_discounted_return():
    num_steps = 7
    rewards, values = np.random.default_rng(1).normal(size=(2, num_steps))
    got = losses.vtrace(
        rewards=rewards,
        discounts=np.full(num_steps, 0.9),
        values=values,
        next_values=np.append(values[1:], 2.0),
        log_ratios=np.zeros(num_steps),
    )
    powers = 0.9 ** np.arange(num_steps)
    expected = (powers * rewards).sum() + 0.9**num_steps * 2.0
    np.testing.assert_allclose(got.targets[0], expected, rtol=1e-5)


def test_caps_known_to_be_equal_give_what_traced_ones_give():
    steps = make_steps((6, 2))
    known = losses.vtrace(**steps, clip_rho=0.8, clip_c=0.8, clip_pg_rho=0.8)
    traced = jax.jit(
        lambda cap: losses.vtrace(**steps, clip_rho=cap, clip_c=cap, clip_pg_rho=cap)
    )(0.8)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), known, traced
    )


def test_a_ratio_beyond_all_numbers_is_capped_too():
    steps = make_steps((4,)) | {"log_ratios": np.full(4, 1e4)}
    got = losses.vtrace(**steps)
    expected = losses.vtrace(**steps | {"log_ratios": np.zeros(4)})
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_a_ratio_beyond_all_numbers_does_not_leak_where_a_traced_alpha_is_1():
    steps = make_steps((4,)) | {"log_ratios": np.full(4, 1e4)}
    got = jax.jit(
        lambda alpha: losses.leaky_vtrace(**steps, alpha_rho=alpha, alpha_c=alpha)
    )(1.0)
    expected = losses.vtrace(**steps)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected
    )


@pytest.mark.parametrize("name", ["clip_rho", "clip_c", "clip_pg_rho"])
def test_a_cap_below_0_is_refused(name):
    steps = make_steps((3,))
    losses.vtrace(**steps, **{name: 0.0})
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -0.1"):
        losses.vtrace(**steps, **{name: -0.1})


@pytest.mark.parametrize("name", ["lambda_", "alpha_rho", "alpha_c"])
@pytest.mark.parametrize("setting", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(name, setting):
    with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\], got {setting}"):
        losses.leaky_vtrace(**make_steps((3,)), **{name: setting})


def test_caps_of_0_learn_nothing():
    steps = make_steps((5,))
    got = losses.vtrace(**steps, clip_rho=0.0, clip_c=1.0, clip_pg_rho=0.0)
    np.testing.assert_array_equal(got.targets, jnp.asarray(steps["values"]))
    np.testing.assert_array_equal(got.advantages, np.zeros(5))
