"""Losses of values against rlax, with the differences in meaning stated."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false, reportCallIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.beside_rlax import B, draw, near, rlax

# rlax announces that distrax has some of it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


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
