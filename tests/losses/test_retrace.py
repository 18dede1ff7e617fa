"""Off-policy returns against the sum of equation 3, and their known cases."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import SHAPES, assert_equals_oracle, make_steps, pick


def make_q_steps(shape, seed=0):
    """Steps with action values, and a ratio for each action."""
    steps = make_steps(shape, seed)
    return {
        "rewards": steps["rewards"],
        "discounts": steps["discounts"],
        "ends": steps["ends"],
        "q_values": steps["values"],
        "next_state_values": steps["next_values"],
        "log_ratios": steps["log_ratios"],
    }


def returns_by_hand(steps, trace):
    """Q(x_t, a_t) plus TD errors, each weighed by the traces up to it."""
    num_steps = len(steps["rewards"])
    results = []
    for start in range(num_steps):
        total, product = steps["q_values"][start], 1.0
        for t in range(start, num_steps):
            if t > start:
                product *= trace(t)
            error = (
                steps["rewards"][t]
                + steps["discounts"][t] * steps["next_state_values"][t]
                - steps["q_values"][t]
            )
            total += product * error
            if steps["ends"][t]:
                break
            product *= steps["discounts"][t]
        results.append(total)
    return results


def retrace_by_hand(steps, lambda_):
    ratios = np.exp(steps["log_ratios"])
    return returns_by_hand(steps, lambda t: lambda_ * min(1.0, ratios[t]))


def tree_backup_by_hand(steps, lambda_):
    return returns_by_hand(steps, lambda t: lambda_ * np.exp(steps["log_probs"][t]))


def q_lambda_by_hand(steps, lambda_):
    return returns_by_hand(steps, lambda t: lambda_)


def general_by_hand(steps):
    return returns_by_hand(steps, lambda t: steps["traces"][t])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lambda_", [0.9])
def test_retrace_matches_the_paper(shape, lambda_):
    steps = make_q_steps(shape)
    assert_equals_oracle(losses.retrace, retrace_by_hand, steps, lambda_=lambda_)


@pytest.mark.parametrize("shape", SHAPES)
def test_tree_backup_matches_the_paper(shape):
    steps = make_q_steps(shape)
    steps["log_probs"] = -np.abs(steps.pop("log_ratios"))
    assert_equals_oracle(losses.tree_backup, tree_backup_by_hand, steps, lambda_=0.8)


@pytest.mark.parametrize("shape", SHAPES)
def test_q_lambda_matches_the_paper(shape):
    steps = make_q_steps(shape)
    del steps["log_ratios"]
    assert_equals_oracle(losses.q_lambda, q_lambda_by_hand, steps, lambda_=0.8)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_general_form_takes_any_traces(shape):
    steps = make_q_steps(shape)
    steps["traces"] = np.exp(steps.pop("log_ratios")) / 2
    assert_equals_oracle(losses.off_policy_returns, general_by_hand, steps)


def test_published_vectors_of_retrace():
    q_values = np.array(
        [
            [[1.1, 2.1], [-1.1, 1.1], [3.1, -3.1], [-1.2, 0]],
            [[2.1, 3.1], [9.5, 0.1], [-2.1, -1.1], [0.1, 7.4]],
        ]
    )
    target_q_values = np.array(
        [
            [[1.2, 2.2], [-1.2, 0.2], [2.2, -1.2], [-2.25, -6]],
            [[4.2, 2.2], [1.2, 1.2], [-1.2, -2.2], [1.5, 1]],
        ]
    )
    pi = np.array(
        [
            [[0.5, 0.5], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]],
            [[0.1, 0.9], [1, 0], [0.3, 0.7], [0.7, 0.3]],
        ]
    )
    mu = np.array([[0.5, 0.1, 0.9, 0.3], [0.4, 0.6, 1, 0.9]])
    actions = np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    chosen = np.take_along_axis(pi, actions[..., None], -1)[..., 0]
    targets = losses.retrace(
        q_values=losses.action_values(q_values=target_q_values, actions=actions)[
            :, :3
        ].T,
        next_state_values=(pi * target_q_values).sum(-1)[:, 1:].T,
        rewards=np.array([[-1.3, -1.3, 2.3], [1.3, 5.3, -3.3]]).T,
        discounts=np.array([[0, 0.89, 0.85], [0.88, 1, 0.83]]).T,
        log_ratios=np.log(chosen / mu)[:, :3].T,
        lambda_=0.9,
    )
    learnt = losses.action_values(q_values=q_values, actions=actions)[:, :3].T
    expected = [
        [2.88, 3.8934109, 4.5942383],
        [0.31121615, 20.253206, 0.0031601219],
    ]
    np.testing.assert_allclose(
        losses.squared_loss(errors=targets - learnt).T, expected, rtol=1e-4
    )


def test_importance_sampling_is_a_member():
    """With the ratio as trace and V as the values, it is off-policy Monte Carlo."""
    steps = make_q_steps((5,))
    del steps["ends"]
    log_ratios = steps.pop("log_ratios")
    got = losses.off_policy_returns(**steps, traces=np.exp(log_ratios))
    later = steps["next_state_values"][-1]
    ratios, expected = np.exp(log_ratios), np.zeros(5)
    for t in reversed(range(5)):
        if t < 4:
            excess = ratios[t + 1] * (later - steps["q_values"][t + 1])
            later = steps["next_state_values"][t] + excess
        later = expected[t] = steps["rewards"][t] + steps["discounts"][t] * later
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_a_ratio_beyond_all_numbers_is_capped():
    steps = make_q_steps((4,))
    far = steps | {"log_ratios": np.full(4, 1e4)}
    near = steps | {"log_ratios": np.zeros(4)}
    np.testing.assert_array_equal(
        losses.retrace(**far, lambda_=0.9), losses.retrace(**near, lambda_=0.9)
    )


@pytest.mark.parametrize("lambda_", [-0.1, 1.1])
def test_lambda_outside_0_to_1_is_refused(lambda_):
    steps = make_q_steps((3,))
    calls = {
        losses.retrace: steps,
        losses.q_lambda: pick(steps, *(set(steps) - {"log_ratios"})),
        losses.tree_backup: pick(steps, *(set(steps) - {"log_ratios"}))
        | {"log_probs": -np.ones(3)},
    }
    for function, arrays in calls.items():
        with pytest.raises(ValueError, match=r"lambda_ must be in \[0, 1\], got"):
            function(**arrays, lambda_=lambda_)
