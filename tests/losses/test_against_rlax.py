"""Function by function against rlax, with the differences in meaning stated."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false, reportCallIssue=false

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.steps import make_steps

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what rlax imports uses deprecated names of JAX
    import rlax
    from rlax._src import multistep

# rlax announces that distrax has some of it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

T, B = 12, 4


def over_time(function):
    """Rlax knows [T] only; here time comes first and the batch second."""
    return jax.vmap(function, in_axes=1, out_axes=1)


@pytest.fixture(name="steps")
def make_unbroken_steps():
    """Terminations only: rlax has no truncation, and one array of T + 1 values."""
    steps = make_steps((T, B))
    values = np.random.default_rng(5).normal(size=(T + 1, B))
    ends = steps.pop("ends")
    steps["discounts"] = np.where(ends, 0.0, steps["discounts"])
    steps |= {"values": values[:-1], "next_values": values[1:]}
    return {name: jnp.asarray(array) for name, array in steps.items()}


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def near(got, expected, rtol=1e-4, atol=1e-5):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def test_returns(steps):
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


def test_gae_and_td_lambda(steps):
    """Rlax takes T + 1 values, and returns advantages or errors without targets."""
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
def test_vtrace(steps, lambda_):
    """Rlax returns errors, takes ratios instead of logs, and always cuts c at 1."""
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


def test_leaky_vtrace(steps):
    """Rlax has one alpha for both ratios."""
    expected = over_time(lambda *a: rlax.leaky_vtrace(*a, alpha_=0.3))(
        steps["values"],
        steps["next_values"],
        steps["rewards"],
        steps["discounts"],
        jnp.exp(steps["log_ratios"]),
    )
    got = losses.leaky_vtrace(**steps, alpha_rho=0.3, alpha_c=0.3)
    near(got.targets - steps["values"], expected, rtol=1e-3)


def test_importance_corrected_returns(steps):
    """Rlax's errors are not cut after n steps: n is the length here."""
    values = jnp.concatenate([steps["values"], steps["next_values"][-1:]])
    expected = over_time(
        lambda r, d, p, v: multistep.importance_corrected_td_errors(
            r, d, p, jnp.ones(T), v
        )
    )(steps["rewards"], steps["discounts"], jnp.exp(steps["log_ratios"]), values)
    got = losses.importance_corrected_n_step_returns(**steps, n=T)
    near(got - steps["values"], expected, rtol=1e-3, atol=1e-3)


def test_retrace_for_discrete_and_continuous_actions(steps):
    """Rlax returns errors, wants the next state's arrays, and adds 1e-8 to mu."""
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


def test_peng_s_q_lambda_is_the_lambda_return_of_the_greatest_values(steps):
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


def test_one_step_errors():
    """The same signed errors, target minus prediction."""
    q_values, next_q_values, selector = (draw(B, 3, seed=i) for i in range(3))
    rewards, discounts = draw(B, seed=3), jnp.full(B, 0.9)
    actions, next_actions = np.random.default_rng(0).integers(0, 3, (2, B))
    policy = jax.nn.softmax(draw(B, 3, seed=4))
    given = {
        "q_values": q_values,
        "actions": actions,
        "rewards": rewards,
        "discounts": discounts,
        "next_q_values": next_q_values,
    }
    steps = (q_values, actions, rewards, discounts, next_q_values)
    near(losses.q_errors(**given), jax.vmap(rlax.q_learning)(*steps))
    near(
        losses.double_q_errors(**given, next_q_selector=selector),
        jax.vmap(rlax.double_q_learning)(*steps, selector),
    )
    near(
        losses.sarsa_errors(**given, next_actions=next_actions),
        jax.vmap(rlax.sarsa)(*steps, next_actions),
    )
    near(
        losses.expected_sarsa_errors(**given, next_probabilities=policy),
        jax.vmap(rlax.expected_sarsa)(*steps, policy),
    )
    errors = draw(20)
    near(losses.squared_loss(errors=errors), rlax.l2_loss(errors))
    near(losses.huber_loss(errors=errors, delta=0.5), rlax.huber_loss(errors, 0.5))


def test_categorical_losses():
    """Rlax takes atoms of prediction and target apart; here they are the same."""
    atoms = jnp.linspace(-2.0, 2.0, 7)
    logits, next_logits = draw(B, 3, 7), draw(B, 3, 7, seed=1)
    rewards, discounts, selector = draw(B, seed=2), jnp.full(B, 0.9), draw(B, 3, seed=3)
    actions = np.random.default_rng(0).integers(0, 3, B)
    given = {
        "logits": logits,
        "actions": actions,
        "rewards": rewards,
        "discounts": discounts,
        "next_logits": next_logits,
        "atoms": atoms,
    }
    axes = (None, 0, 0, 0, 0, None, 0)
    steps = (atoms, logits, actions, rewards, discounts, atoms, next_logits)
    near(
        losses.categorical_loss(**given),
        jax.vmap(rlax.categorical_q_learning, axes)(*steps),
    )
    near(
        losses.categorical_loss(**given, next_selector=selector),
        jax.vmap(rlax.categorical_double_q_learning, (*axes, 0))(*steps, selector),
    )
    near(
        losses.categorical_td_loss(
            logits=logits[:, 0],
            rewards=rewards,
            discounts=discounts,
            next_logits=next_logits[:, 0],
            atoms=atoms,
        ),
        jax.vmap(rlax.categorical_td_learning, (None, 0, 0, 0, None, 0))(
            atoms, logits[:, 0], rewards, discounts, atoms, next_logits[:, 0]
        ),
    )
    near(
        losses.categorical_projection(
            atoms=draw(9, seed=5),
            probabilities=jax.nn.softmax(draw(9, seed=6)),
            target_atoms=atoms,
        ),
        rlax.categorical_l2_project(
            draw(9, seed=5), jax.nn.softmax(draw(9, seed=6)), atoms
        ),
    )


def test_two_hot():
    """Rlax takes the ends and the number of evenly spaced bins."""
    values = draw(B) * 3
    atoms = jnp.linspace(-2.0, 2.0, 5)
    code = losses.two_hot(values=values, atoms=atoms)
    near(code, rlax.transform_to_2hot(values, -2.0, 2.0, 5))
    near(
        losses.categorical_mean(probabilities=code, atoms=atoms),
        rlax.transform_from_2hot(code, -2.0, 2.0, 5),
    )


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
def test_quantile_losses(kappa):
    """As rlax: summed over fractions, averaged over targets, not divided by kappa."""
    quantiles, targets = draw(B, 5), draw(B, 9, seed=1)
    fractions = jax.nn.sigmoid(draw(B, 5, seed=2))
    near(
        losses.quantile_huber_loss(
            quantiles=quantiles,
            fractions=fractions,
            target_quantiles=targets,
            kappa=kappa,
        ),
        jax.vmap(lambda *a: rlax.quantile_regression_loss(*a, kappa))(
            quantiles, fractions, targets
        ),
    )


def test_quantile_q_learning():
    """Rlax has the quantiles before the actions: [N, A]."""
    quantiles, next_quantiles = draw(B, 3, 5), draw(B, 3, 7, seed=1)
    selector = draw(B, 3, seed=2)
    fractions = jax.nn.sigmoid(draw(B, 5, seed=3))
    rewards, discounts = draw(B, seed=4), jnp.full(B, 0.9)
    actions = np.random.default_rng(0).integers(0, 3, B)
    expected = jax.vmap(lambda *a: rlax.quantile_q_learning(*a, 0.7))(
        quantiles.swapaxes(1, 2),
        fractions,
        actions,
        rewards,
        discounts,
        jnp.broadcast_to(selector[:, None], (B, 7, 3)),
        next_quantiles.swapaxes(1, 2),
    )
    got = losses.quantile_q_loss(
        quantiles=quantiles,
        fractions=fractions,
        actions=actions,
        rewards=rewards,
        discounts=discounts,
        next_quantiles=next_quantiles,
        next_selector=selector,
        kappa=0.7,
    )
    near(got, expected)


def test_policy_losses():
    """Rlax averages and takes ratios; its entropy and KL are of distributions."""
    logits, others = draw(T, 3), draw(T, 3, seed=1)
    log_ratios, advantages = draw(T, seed=2), draw(T, seed=3)
    actions = np.random.default_rng(0).integers(0, 3, T)
    near(
        losses.clipped_surrogate_loss(
            log_ratios=log_ratios, advantages=advantages, epsilon=0.2
        ).mean(),
        rlax.clipped_surrogate_pg_loss(jnp.exp(log_ratios), advantages, 0.2),
    )
    log_probs = losses.categorical_log_probs(logits=logits, actions=actions)
    near(
        losses.policy_gradient_loss(log_probs=log_probs, advantages=advantages).mean(),
        rlax.policy_gradient_loss(logits, actions, advantages, jnp.ones(T)),
    )
    near(losses.entropy(logits=logits), rlax.softmax().entropy(logits))
    near(
        losses.categorical_kl(logits=logits, other_logits=others),
        rlax.categorical_kl_divergence(logits, others),
    )


def test_the_deterministic_policy_gradient_has_rlax_s_gradient():
    """Its value is another: rlax's is half of the squared length of dQ/da."""
    actions, slopes = draw(5), draw(5, seed=1)
    for max_norm in (None, 0.5):
        got = jax.grad(
            lambda a, m=max_norm: losses.deterministic_policy_gradient_loss(
                actions=a, action_gradients=slopes, max_norm=m
            )
        )(actions)
        expected = jax.grad(
            lambda a, m=max_norm: rlax.dpg_loss(a, slopes, dqda_clipping=m).sum()
        )(actions)
        near(got, expected)


def test_value_rescaling_and_its_targets(steps):
    """Rlax's inverse cancels in float32: it is given float64 here."""
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


def test_mpo_weights_and_temperature():
    values = draw(6, B)
    penalty = rlax.LagrangePenalty(alpha=jnp.array(0.7), epsilon=jnp.array(0.1))
    loss, weights, _ = rlax.mpo_compute_weights_and_temperature_loss(
        values, penalty, lambda x: x
    )
    near(losses.mpo_weights(q_values=values, temperature=0.7), weights)
    got = losses.mpo_temperature_loss(q_values=values, temperature=0.7, epsilon=0.1)
    near(got, loss)


def test_vmpo_weights_and_temperature():
    """Rlax counts the elements with a small number added to the count."""
    advantages = draw(T, B)
    penalty = rlax.LagrangePenalty(alpha=jnp.array(0.7), epsilon=jnp.array(0.1))
    ones = jnp.ones((T, B))
    loss, weights, _ = rlax.vmpo_compute_weights_and_temperature_loss(
        advantages, ones, ones, penalty, lambda x: x, 0.5
    )
    near(losses.vmpo_weights(advantages=advantages, temperature=0.7), weights)
    got = losses.vmpo_temperature_loss(
        advantages=advantages, temperature=0.7, epsilon=0.1
    )
    near(got, loss)
