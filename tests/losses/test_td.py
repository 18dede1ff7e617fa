"""One-step errors of action values, one element at a time in plain Python."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

BATCH, NUM_ACTIONS = (4, 2), 5


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    policy = rng.uniform(size=(*BATCH, NUM_ACTIONS))
    q_values, next_q_values, selector = rng.normal(size=(3, *BATCH, NUM_ACTIONS))
    return {
        "q_values": q_values,
        "next_q_values": next_q_values,
        "next_q_selector": selector,
        "next_probabilities": policy / policy.sum(-1, keepdims=True),
        "actions": rng.integers(0, NUM_ACTIONS, BATCH),
        "next_actions": rng.integers(0, NUM_ACTIONS, BATCH),
        "rewards": rng.normal(size=BATCH),
        "discounts": np.where(rng.random(BATCH) < 0.3, 0.0, 0.97),
    }


def best(values):
    return max(range(len(values)), key=lambda action: values[action])


VALUE_OF_NEXT = {
    losses.q_errors: ((), lambda b: max(b["next_q_values"])),
    losses.double_q_errors: (
        ("next_q_selector",),
        lambda b: b["next_q_values"][best(b["next_q_selector"])],
    ),
    losses.sarsa_errors: (
        ("next_actions",),
        lambda b: b["next_q_values"][b["next_actions"]],
    ),
    losses.expected_sarsa_errors: (
        ("next_probabilities",),
        lambda b: sum(b["next_probabilities"] * b["next_q_values"]),
    ),
}
ALWAYS = ("q_values", "actions", "rewards", "discounts", "next_q_values")


@pytest.mark.parametrize("function", VALUE_OF_NEXT, ids=lambda f: f.__name__)
def test_errors_match_the_definition(function):
    names, value_of_next = VALUE_OF_NEXT[function]
    batch = make_batch()
    with jax.enable_x64(True):
        got = function(**{name: batch[name] for name in (*ALWAYS, *names)})
    for at in np.ndindex(BATCH):
        element = {name: array[at] for name, array in batch.items()}
        target = element["rewards"] + element["discounts"] * value_of_next(element)
        expected = target - element["q_values"][element["actions"]]
        np.testing.assert_allclose(got[at], expected, rtol=1e-12)


def test_td_errors_match_the_definition():
    rewards, values, next_values = np.random.default_rng(0).normal(size=(3, 6))
    got = losses.td_errors(
        values=values,
        rewards=rewards,
        discounts=np.full(6, 0.5),
        next_values=next_values,
    )
    np.testing.assert_allclose(got, rewards + 0.5 * next_values - values, rtol=1e-5)


def test_of_equal_selector_values_the_first_is_picked():
    got = losses.double_q_errors(
        q_values=jnp.zeros(3),
        actions=0,
        rewards=jnp.zeros(()),
        discounts=jnp.ones(()),
        next_q_values=jnp.array([1.0, 2.0, 3.0]),
        next_q_selector=jnp.array([0.0, 5.0, 5.0]),
    )
    assert got == 2


@pytest.mark.parametrize("name", ["actions", "next_actions"])
@pytest.mark.parametrize("action", [-1, NUM_ACTIONS])
def test_an_action_out_of_range_is_refused_where_it_is_seen(name, action):
    batch = make_batch()
    batch[name][1, 1] = action
    given = {name: batch[name] for name in (*ALWAYS, "next_actions")}
    with pytest.raises(
        ValueError, match=rf"{name} must be in \[0, 5\), got values from"
    ):
        losses.sarsa_errors(**given)
    jax.jit(losses.sarsa_errors)(**given)


@pytest.mark.parametrize("name", ["actions", "next_actions"])
def test_actions_that_are_not_integers_or_not_one_for_each_element_are_refused(name):
    batch = make_batch()
    given = {name: batch[name] for name in (*ALWAYS, "next_actions")}
    with pytest.raises(ValueError, match=f"{name} must be integers, got float32"):
        losses.sarsa_errors(**given | {name: batch["rewards"]})
    with pytest.raises(ValueError, match=rf"{name} has shape \(3, 2\), expected"):
        losses.sarsa_errors(**given | {name: batch[name][1:]})


def test_bfloat16_is_rounded_once():
    """2 - 0.0078 is 2 in bfloat16: the target must not be rounded on the way."""
    got = losses.expected_sarsa_errors(
        q_values=jnp.array([2.0], jnp.bfloat16),
        actions=jnp.array(0),
        rewards=jnp.array(0.0, jnp.bfloat16),
        discounts=jnp.array(1.0, jnp.bfloat16),
        next_q_values=jnp.array([2.0], jnp.bfloat16),
        next_probabilities=jnp.array([0.99609375], jnp.bfloat16),
    )
    assert got.dtype == jnp.bfloat16
    assert got == jnp.bfloat16(-0.0078125)
