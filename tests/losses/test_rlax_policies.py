"""Losses of policies against rlax, with the differences in meaning stated."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false, reportCallIssue=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.beside_rlax import B, T, draw, near, rlax

# rlax announces that distrax has some of it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


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
