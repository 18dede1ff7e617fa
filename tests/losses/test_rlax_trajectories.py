"""Losses over time against rlax, with the differences in meaning stated."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false, reportCallIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.beside_rlax import (
    B,
    T,
    draw,
    multistep,
    near,
    over_time,
    rlax,
    unbroken_steps,
)

# rlax announces that distrax has some of it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def test_returns():
    steps = unbroken_steps()
    rewards, discounts = steps["rewards"], steps["discounts"]
    next_values = steps["next_values"]
    given = (rewards, discounts, next_values)
    named = {"rewards": rewards, "discounts": discounts}
    near(
        losses.lambda_returns(**named, next_values=next_values, lambda_=0.7),
        over_time(lambda *a: rlax.lambda_returns(*a, lambda_=0.7))(*given),
    )
    near(
        losses.n_step_returns(**named, next_values=next_values, n=3),
        over_time(lambda *a: rlax.n_step_bootstrapped_returns(*a, n=3))(*given),
    )
    near(
        losses.discounted_returns(**named, bootstrap_value=next_values[-1]),
        over_time(rlax.discounted_returns)(*given),
    )


def test_gae_and_td_lambda():
    """Rlax takes T + 1 values, and returns advantages or errors without targets."""
    steps = unbroken_steps()
    values = jnp.concatenate([steps["values"], steps["next_values"][-1:]])
    del steps["log_ratios"]
    got = losses.gae(**steps, lambda_=0.7)
    expected = over_time(
        lambda r, d, v: rlax.truncated_generalized_advantage_estimation(r, d, 0.7, v)
    )(steps["rewards"], steps["discounts"], values)
    near(got.advantages, expected)
    errors = over_time(lambda v, r, d, n: rlax.td_lambda(v, r, d, n, 0.7))(
        steps["values"], steps["rewards"], steps["discounts"], steps["next_values"]
    )
    near(got.targets - steps["values"], errors)
    near(
        losses.td_errors(**steps),
        jax.vmap(jax.vmap(rlax.td_learning))(
            steps["values"], steps["rewards"], steps["discounts"], steps["next_values"]
        ),
    )


@pytest.mark.parametrize("lambda_", [1.0, 0.6])
def test_vtrace(lambda_):
    """Rlax returns errors, takes ratios instead of logs, and always cuts c at 1."""
    steps = unbroken_steps()
    expected = over_time(
        lambda *a: rlax.vtrace_td_error_and_advantage(
            *a, lambda_=lambda_, clip_rho_threshold=1.3, clip_pg_rho_threshold=1.7
        )
    )(
        steps["values"],
        steps["next_values"],
        steps["rewards"],
        steps["discounts"],
        jnp.exp(steps["log_ratios"]),
    )
    got = losses.vtrace(**steps, clip_rho=1.3, clip_pg_rho=1.7, lambda_=lambda_)
    near(got.targets - steps["values"], expected.errors)
    near(got.advantages, expected.pg_advantage)


def test_leaky_vtrace():
    """Rlax has one alpha for both ratios."""
    steps = unbroken_steps()
    expected = over_time(lambda *a: rlax.leaky_vtrace(*a, alpha_=0.3))(
        steps["values"],
        steps["next_values"],
        steps["rewards"],
        steps["discounts"],
        jnp.exp(steps["log_ratios"]),
    )
    got = losses.leaky_vtrace(**steps, alpha_rho=0.3, alpha_c=0.3)
    near(got.targets - steps["values"], expected, rtol=1e-3)


def test_importance_corrected_returns():
    """Rlax's errors are not cut after n steps: n is the length here."""
    steps = unbroken_steps()
    values = jnp.concatenate([steps["values"], steps["next_values"][-1:]])
    expected = over_time(
        lambda r, d, p, v: multistep.importance_corrected_td_errors(
            r, d, p, jnp.ones(T), v
        )
    )(steps["rewards"], steps["discounts"], jnp.exp(steps["log_ratios"]), values)
    got = losses.importance_corrected_n_step_returns(**steps, n=T)
    near(got - steps["values"], expected, rtol=1e-3, atol=1e-3)


def test_retrace_for_discrete_and_continuous_actions():
    """Rlax returns errors, wants the next state's arrays, and adds 1e-8 to mu."""
    steps = unbroken_steps()
    q_values, target_q_values = draw(T + 1, B, 3), draw(T + 1, B, 3, seed=1)
    policy = jax.nn.softmax(draw(T + 1, B, 3, seed=2))
    actions = np.random.default_rng(0).integers(0, 3, (T + 1, B))
    chosen = losses.action_values(q_values=policy, actions=actions)
    behaviour = jnp.exp(-jnp.exp(draw(T + 1, B, seed=3)))
    taken = losses.action_values(q_values=target_q_values, actions=actions)
    state_values = (policy * target_q_values).sum(-1)
    targets = losses.retrace(
        q_values=taken[:-1],
        next_state_values=state_values[1:],
        rewards=steps["rewards"],
        discounts=steps["discounts"],
        log_ratios=jnp.log(chosen / behaviour)[:-1],
        lambda_=0.9,
    )
    learnt = losses.action_values(q_values=q_values, actions=actions)[:-1]
    expected = over_time(lambda *a: rlax.retrace(*a, 0.9))(
        q_values[:-1],
        target_q_values[1:],
        actions[:-1],
        actions[1:],
        steps["rewards"],
        steps["discounts"],
        policy[1:],
        behaviour[1:],
    )
    near(targets - learnt, expected, rtol=1e-3)
    expected = over_time(lambda *a: rlax.retrace_continuous(*a, 0.9))(
        learnt,
        taken[1:-1],
        state_values[1:],
        steps["rewards"],
        steps["discounts"],
        jnp.log(chosen / behaviour)[1:-1],
    )
    near(targets - learnt, expected, rtol=1e-3)


def test_peng_s_q_lambda_is_the_lambda_return_of_the_greatest_values():
    steps = unbroken_steps()
    q_values, next_q_values = draw(T, B, 3), draw(T, B, 3, seed=1)
    actions = np.random.default_rng(0).integers(0, 3, (T, B))
    targets = losses.lambda_returns(
        rewards=steps["rewards"],
        discounts=steps["discounts"],
        next_values=next_q_values.max(-1),
        lambda_=0.8,
    )
    expected = over_time(lambda *a: rlax.q_lambda(*a, 0.8))(
        q_values, actions, steps["rewards"], steps["discounts"], next_q_values
    )
    got = targets - losses.action_values(q_values=q_values, actions=actions)
    near(got, expected)


def test_value_rescaling_and_its_targets():
    """Rlax's inverse cancels in float32: it is given float64 here."""
    steps = unbroken_steps()
    with jax.enable_x64(True):
        values = np.linspace(-100, 100, 21)
        near(losses.signed_hyperbolic(values), rlax.signed_hyperbolic(values))
        near(losses.signed_parabolic(values), rlax.signed_parabolic(values))
        rewards, discounts = (np.asarray(steps[n]) for n in ("rewards", "discounts"))
        q_values, next_q_values, selector = (
            np.asarray(draw(T, B, 3, seed=i)) for i in range(3)
        )
        actions = np.random.default_rng(0).integers(0, 3, (T, B))
        expected = over_time(
            lambda *a: rlax.transformed_n_step_q_learning(
                *a, n=3, tx_pair=rlax.SIGNED_HYPERBOLIC_PAIR
            )
        )(q_values, actions, next_q_values, selector.argmax(-1), rewards, discounts)
        targets = losses.rescaled_n_step_targets(
            rewards=rewards,
            discounts=discounts,
            next_q_values=next_q_values,
            next_q_selector=selector,
            n=3,
        )
        got = targets - losses.action_values(q_values=q_values, actions=actions)
        near(got, expected)
