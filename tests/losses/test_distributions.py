"""Categorical policies: against their definitions, and where actions are ruled out."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist import losses

LOGITS = np.random.default_rng(0).normal(size=(3, 2, 4)) * 2
OTHERS = np.random.default_rng(1).normal(size=(3, 2, 4))


def probabilities(logits):
    weights = [math.exp(x) for x in logits]
    return [weight / sum(weights) for weight in weights]


def test_entropy_log_probs_and_kl_match_their_definitions():
    actions = np.random.default_rng(2).integers(0, 4, (3, 2))
    with jax.enable_x64(True):
        entropies = losses.entropy(logits=LOGITS)
        divergences = losses.categorical_kl(logits=LOGITS, other_logits=OTHERS)
        log_probs = losses.categorical_log_probs(logits=LOGITS, actions=actions)
    for at in np.ndindex(3, 2):
        p, q = probabilities(LOGITS[at]), probabilities(OTHERS[at])
        np.testing.assert_allclose(entropies[at], -sum(x * math.log(x) for x in p))
        kl = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        np.testing.assert_allclose(divergences[at], kl)
        np.testing.assert_allclose(log_probs[at], math.log(p[actions[at]]))


def test_of_equal_logits_the_entropy_is_the_log_of_their_number():
    np.testing.assert_allclose(
        losses.entropy(logits=jnp.full(8, 5.0)), np.log(8), rtol=1e-6
    )


def test_actions_that_are_ruled_out_count_nothing_and_spoil_no_gradient():
    logits = jnp.array([0.0, 1.0, -jnp.inf])
    others = jnp.array([0.5, 0.0, -jnp.inf])
    np.testing.assert_allclose(
        losses.entropy(logits=logits), losses.entropy(logits=logits[:2]), rtol=1e-6
    )
    np.testing.assert_allclose(
        losses.categorical_kl(logits=logits, other_logits=others),
        losses.categorical_kl(logits=logits[:2], other_logits=others[:2]),
        rtol=1e-6,
    )

    def both(logits):
        kl = losses.categorical_kl(logits=logits, other_logits=others)
        return losses.entropy(logits=logits) + kl

    assert jnp.isfinite(jax.grad(both)(logits)).all()


def test_the_divergence_is_infinite_where_only_the_other_rules_out():
    got = losses.categorical_kl(
        logits=jnp.array([0.0, 0.0]), other_logits=jnp.array([0.0, -jnp.inf])
    )
    assert jnp.isposinf(got)


def test_the_divergence_of_a_distribution_from_itself_is_0():
    got = losses.categorical_kl(logits=LOGITS, other_logits=LOGITS + 3.0)
    np.testing.assert_allclose(got, 0, atol=1e-6)
