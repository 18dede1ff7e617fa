"""Distributions against sums, integrals and samples of the densities they claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.distributions import (
    Categorical,
    DiagonalGaussian,
    TanhGaussian,
)

LOGITS = jnp.array([[0.3, -1.2, 2.0], [0.0, 0.0, 0.0]])
SAMPLES = 200_000
LOW, HIGH = -1.0, 3.0


def tanh_gaussian(mean=0.4, std=0.8) -> TanhGaussian:
    return TanhGaussian(jnp.full(1, mean), jnp.log(jnp.full(1, std)), (LOW,), (HIGH,))


def many(distribution, noise_shape):
    """Samples a distribution many times."""
    noise = distribution.noise(jax.random.key(0), (SAMPLES, *noise_shape))
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, noise.shape), distribution)
    return wide.sample(noise), wide, noise


def test_categorical_probabilities_are_those_of_a_softmax():
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    got = [jnp.exp(Categorical(LOGITS).log_prob(jnp.full(2, a))) for a in range(3)]
    np.testing.assert_allclose(np.stack(got, -1), expected, rtol=1e-6)


def test_categorical_samples_come_as_often_as_they_should():
    actions, _, _ = many(Categorical(LOGITS[0]), (3,))
    frequencies = np.bincount(actions, minlength=3) / SAMPLES
    expected = np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum()
    np.testing.assert_allclose(frequencies, expected, atol=5e-3)


def test_categorical_entropy_and_divergence_are_sums_over_actions():
    one, other = Categorical(LOGITS), Categorical(LOGITS[::-1])
    p = np.exp(one.log_probs())
    q = np.exp(other.log_probs())
    entropy = -(p * np.log(p)).sum(-1)
    np.testing.assert_allclose(one.entropy(), entropy, rtol=1e-5)
    divergence = (p * np.log(p / q)).sum(-1)
    np.testing.assert_allclose(one.kl(other), divergence, rtol=1e-5)


def test_categorical_gradient_of_log_prob_is_one_hot_minus_probabilities():
    action = jnp.array([2, 0])
    got = jax.grad(lambda x: Categorical(x).log_prob(action).sum())(LOGITS)
    expected = np.eye(3)[action] - np.exp(Categorical(LOGITS).log_probs())
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_masked_actions_are_never_taken_and_the_rest_keep_their_odds():
    allowed = jnp.array([True, False, True])
    masked = Categorical(LOGITS[0]).masked(allowed)
    actions, _, _ = many(masked, (3,))
    assert not np.any(np.asarray(actions) == 1)
    log_odds = masked.log_prob(jnp.int32(2)) - masked.log_prob(jnp.int32(0))
    np.testing.assert_allclose(log_odds, 2.0 - 0.3, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(masked.log_prob(jnp.int32(1))), 0.0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "allowed", [[True, False, True], [False, True, False], [False, False, False]]
)
def test_masks_leave_every_number_and_gradient_finite(allowed, dtype):
    logits = jnp.asarray(LOGITS[0], dtype)

    def numbers(logits):
        masked = Categorical(logits).masked(jnp.array(allowed))
        whole = Categorical(jnp.zeros(3, dtype))
        return jnp.stack([masked.entropy(), masked.kl(whole), masked.log_probs().max()])

    assert jnp.isfinite(numbers(logits)).all()
    gradient = jax.jacobian(numbers)(logits)
    assert jnp.isfinite(gradient).all()
    assert not gradient[:, ~np.array(allowed)].any()


def test_nothing_allowed_means_all_actions_are_equally_likely():
    masked = Categorical(LOGITS[0]).masked(jnp.zeros(3, bool))
    np.testing.assert_allclose(masked.entropy(), np.log(3), rtol=1e-6)


def test_gaussian_density_integrates_to_one_and_gives_entropy_and_divergence():
    grid = np.linspace(-20, 20, 20_001, dtype=np.float32)[:, None]
    step = 40 / 20_000
    one = DiagonalGaussian(jnp.full_like(grid, 0.5), jnp.full_like(grid, 0.3))
    other = DiagonalGaussian(jnp.full_like(grid, -1.0), jnp.full_like(grid, 0.7))
    points = jnp.asarray(grid)
    log_p, log_q = (np.asarray(d.log_prob(points), np.float64) for d in (one, other))
    p = np.exp(log_p)
    np.testing.assert_allclose(p.sum() * step, 1.0, rtol=1e-4)
    np.testing.assert_allclose(-(p * log_p).sum() * step, one.entropy()[0], rtol=1e-4)
    divergence = (p * (log_p - log_q)).sum() * step
    np.testing.assert_allclose(divergence, one.kl(other)[0], rtol=1e-4)


def test_gaussian_numbers_sum_over_the_action_only():
    mean, log_std = jnp.ones((4, 5, 3)), jnp.zeros((4, 5, 3))
    distribution = DiagonalGaussian(mean, log_std)
    np.testing.assert_allclose(
        distribution.log_prob(mean), np.full((4, 5), -2.7568), 1e-4
    )
    assert distribution.entropy().shape == (4, 5)
    assert distribution.mode().shape == (4, 5, 3)


def test_gaussian_samples_have_its_mean_and_deviation():
    wide = DiagonalGaussian(jnp.array([2.0, -1.0]), jnp.log(jnp.array([0.5, 3.0])))
    actions, _, _ = many(wide, (2,))
    np.testing.assert_allclose(actions.mean(0), [2.0, -1.0], atol=3e-2)
    np.testing.assert_allclose(actions.std(0), [0.5, 3.0], rtol=1e-2)


def test_tanh_gaussian_density_integrates_to_one_over_the_bounds():
    inside = np.linspace(LOW, HIGH, 400_001, dtype=np.float64)[1:-1]
    distribution = tanh_gaussian()
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(inside), 1)), distribution)
    density = np.exp(wide.log_prob(jnp.asarray(inside[:, None], jnp.float32)))
    total = density.astype(np.float64).sum() * (HIGH - LOW) / 400_000
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_tanh_gaussian_samples_lie_in_the_bounds_with_the_density_of_their_action():
    actions, wide, noise = many(tanh_gaussian(), (1,))
    assert (actions >= LOW).all() and (actions <= HIGH).all()
    again, log_prob = wide.sample_with_log_prob(noise)
    np.testing.assert_array_equal(again, actions)
    np.testing.assert_allclose(log_prob, wide.log_prob(actions), atol=2e-3)


@pytest.mark.parametrize("action", [LOW, HIGH, LOW + 1e-7, 0.0])
@pytest.mark.parametrize("mean", [-30.0, 0.0, 30.0])
def test_tanh_gaussian_log_prob_and_gradient_are_finite_up_to_the_bounds(action, mean):
    distribution = tanh_gaussian(mean=mean, std=0.1)
    log_prob, gradient = jax.value_and_grad(
        lambda d: d.log_prob(jnp.full(1, action)), allow_int=False
    )(distribution)
    assert jnp.isfinite(log_prob)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("mean", [-50.0, 50.0])
def test_tanh_gaussian_sample_is_finite_with_its_gradient_when_saturated(mean):
    def value(distribution):
        action, log_prob = distribution.sample_with_log_prob(jnp.ones(1))
        return action.sum() + log_prob

    log_prob, gradient = jax.value_and_grad(value)(tanh_gaussian(mean=mean))
    assert jnp.isfinite(log_prob)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("mean", "std", "tolerance"),
    [(0.0, 1.0, 1e-3), (1.5, 0.5, 1e-3), (-1.0, 4.0, 5e-2)],
)
def test_tanh_gaussian_entropy_is_the_mean_of_minus_log_prob(mean, std, tolerance):
    distribution = tanh_gaussian(mean, std)
    noise = np.linspace(-9, 9, 40_001, dtype=np.float32)[:, None]
    weights = np.exp(-0.5 * noise[:, 0].astype(np.float64) ** 2)
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x, noise.shape), distribution)
    _, log_prob = wide.sample_with_log_prob(jnp.asarray(noise))
    expected = -(weights * np.asarray(log_prob)).sum() / weights.sum()
    np.testing.assert_allclose(distribution.entropy(), expected, atol=tolerance)


def test_tanh_gaussian_divergence_is_that_before_squashing():
    one, other = tanh_gaussian(0.4, 0.8), tanh_gaussian(-0.2, 1.1)
    before = DiagonalGaussian(one.mean, one.log_std).kl(
        DiagonalGaussian(other.mean, other.log_std)
    )
    np.testing.assert_allclose(one.kl(other), before)


def test_tanh_gaussian_divergence_needs_equal_bounds():
    other = TanhGaussian(jnp.zeros(1), jnp.zeros(1), (-2.0,), (2.0,))
    with pytest.raises(ValueError, match="kl needs equal bounds"):
        tanh_gaussian().kl(other)


def test_tanh_gaussian_bounds_are_no_leaves_and_survive_a_scan():
    distribution = tanh_gaussian()
    assert len(jax.tree.leaves(distribution)) == 2
    _, stacked = jax.lax.scan(lambda c, _: (c, distribution), None, length=3)
    assert stacked.mean.shape == (3, 1)
    assert (stacked.low, stacked.high) == ((LOW,), (HIGH,))
