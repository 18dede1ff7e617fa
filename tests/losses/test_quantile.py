"""The quantile Huber loss, pair by pair, and what it is minimised by."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

SIZES = [(1, 1), (2, 3), (8, 8), (5, 64), (3, 65), (4, 130)]


def loss_by_hand(quantiles, fractions, targets, *, kappa):
    total = 0.0
    for q, tau in zip(quantiles, fractions, strict=True):
        for target in targets:
            u = target - q
            if kappa == 0:
                value = abs(u)
            elif abs(u) <= kappa:
                value = u * u / 2
            else:
                value = kappa * (abs(u) - kappa / 2)
            total += abs(tau - (1.0 if u < 0 else 0.0)) * value / len(targets)
    return total


def draw(num_quantiles, num_targets, batch=(2,)):
    rng = np.random.default_rng(0)
    return {
        "quantiles": rng.normal(size=(*batch, num_quantiles)),
        "fractions": rng.uniform(size=(*batch, num_quantiles)),
        "target_quantiles": rng.normal(size=(*batch, num_targets)),
    }


@pytest.mark.parametrize(("num_quantiles", "num_targets"), SIZES)
@pytest.mark.parametrize("kappa", [0, 0.5, 1.0])
def test_the_loss_matches_the_sum_over_pairs(num_quantiles, num_targets, kappa):
    arrays = draw(num_quantiles, num_targets)
    with jax.enable_x64(True):
        got = losses.quantile_huber_loss(**arrays, kappa=kappa)
    for b in range(2):
        one = [array[b] for array in arrays.values()]
        expected = loss_by_hand(*one, kappa=kappa)
        np.testing.assert_allclose(got[b], expected, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 0.7])
@pytest.mark.parametrize("num_targets", [3, 70])
def test_the_gradient_is_that_of_finite_differences(kappa, num_targets):
    arrays = draw(4, num_targets)
    weights = np.array([2.0, -3.0])

    @jax.jit
    def total(quantiles):
        got = losses.quantile_huber_loss(
            **arrays | {"quantiles": quantiles}, kappa=kappa
        )
        return jnp.sum(weights * got)

    with jax.enable_x64(True):
        got = jax.grad(total)(jnp.asarray(arrays["quantiles"]))
        for at in np.ndindex(got.shape):
            step = np.zeros(got.shape)
            step[at] = 1e-6
            rise = total(arrays["quantiles"] + step) - total(arrays["quantiles"] - step)
            np.testing.assert_allclose(got[at], rise / 2e-6, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("fractions", "kappa", "expected"),
    [
        ([0.2, 0.7], 0, 2.0),
        ([0.2, 0.7], 2, 2.5),
        ([0, 0.4], 0, 2.2),
        ([0, 0.4], 2, 8.5 / 3),
    ],
)
def test_published_vectors(fractions, kappa, expected):
    got = losses.quantile_huber_loss(
        quantiles=np.array([-1.0, 3.0]),
        fractions=np.array(fractions, float),
        target_quantiles=np.array([-3.0, 4.0, 2.0]),
        kappa=kappa,
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_fractions_may_be_shared_by_the_batch():
    arrays = draw(5, 3, batch=(2, 3))
    arrays["fractions"] = np.broadcast_to(arrays["fractions"][0, 0], (2, 3, 5))
    shared = arrays | {"fractions": arrays["fractions"][0, 0]}
    np.testing.assert_array_equal(
        losses.quantile_huber_loss(**arrays), losses.quantile_huber_loss(**shared)
    )


def test_the_quantiles_minimise_the_loss():
    targets = np.sort(np.random.default_rng(0).normal(size=201))
    fractions = losses.quantile_midpoints(5)
    exact = np.quantile(targets, fractions)

    @jax.jit
    def loss(quantiles):
        return losses.quantile_huber_loss(
            quantiles=quantiles, fractions=fractions, target_quantiles=targets, kappa=0
        )

    least = loss(jnp.asarray(exact))
    for index in range(5):
        for move in (-0.2, 0.2):
            assert loss(jnp.asarray(exact).at[index].add(move)) > least
    # At each quantile, the share below it balances the share above it.
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(exact)), 0, atol=6e-3)


def test_midpoints_lie_in_the_middle_of_equal_shares():
    np.testing.assert_allclose(
        losses.quantile_midpoints(4), [1 / 8, 3 / 8, 5 / 8, 7 / 8]
    )
    with pytest.raises(ValueError, match="num_quantiles must be at least 1, got 0"):
        losses.quantile_midpoints(0)


def make_batch(batch=(3, 2), num_actions=4, num_quantiles=5, num_targets=7):
    rng = np.random.default_rng(0)
    return {
        "quantiles": rng.normal(size=(*batch, num_actions, num_quantiles)),
        "fractions": rng.uniform(size=(*batch, num_quantiles)),
        "actions": rng.integers(0, num_actions, batch),
        "rewards": rng.normal(size=batch),
        "discounts": np.where(rng.random(batch) < 0.4, 0.0, 0.9),
        "next_quantiles": rng.normal(size=(*batch, num_actions, num_targets)),
        "next_selector": rng.normal(size=(*batch, num_actions)),
    }


def test_q_learning_moves_to_the_quantiles_of_the_picked_action():
    batch = make_batch()
    with jax.enable_x64(True):
        double = losses.quantile_q_loss(**batch, kappa=0.5)
        single = losses.quantile_q_loss(**batch | {"next_selector": None}, kappa=0.5)
    for at in np.ndindex(3, 2):
        means = batch["next_quantiles"][at].mean(-1)
        for got, selector in ((double, batch["next_selector"][at]), (single, means)):
            nexts = batch["next_quantiles"][at][int(np.argmax(selector))]
            expected = loss_by_hand(
                batch["quantiles"][at][batch["actions"][at]],
                batch["fractions"][at],
                batch["rewards"][at] + batch["discounts"][at] * nexts,
                kappa=0.5,
            )
            np.testing.assert_allclose(got[at], expected, rtol=1e-10)


def test_kappa_is_1_unless_said():
    arrays = draw(3, 3)
    np.testing.assert_array_equal(
        losses.quantile_huber_loss(**arrays),
        losses.quantile_huber_loss(**arrays, kappa=1.0),
    )
    batch = make_batch()
    np.testing.assert_array_equal(
        losses.quantile_q_loss(**batch), losses.quantile_q_loss(**batch, kappa=1.0)
    )


def test_nothing_of_the_size_of_all_pairs_is_kept():
    arrays = {
        "quantiles": jnp.ones((16, 200)),
        "fractions": losses.quantile_midpoints(200),
        "target_quantiles": jnp.ones((16, 200)),
    }

    def total(quantiles):
        return losses.quantile_huber_loss(**arrays | {"quantiles": quantiles}).sum()

    compiled = jax.jit(jax.value_and_grad(total)).lower(arrays["quantiles"]).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    all_pairs = 16 * 200 * 200 * 4
    assert analysis.temp_size_in_bytes < all_pairs / 10


@pytest.mark.parametrize("kappa", [-0.1, float("nan")])
def test_a_kappa_below_0_is_refused(kappa):
    with pytest.raises(ValueError, match="kappa must be at least 0, got"):
        losses.quantile_huber_loss(**draw(2, 2), kappa=kappa)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("fractions", (3,), r"fractions has shape \(3,\), expected \(4,\) or \(2, 4\)"),
        ("target_quantiles", (3, 5), r"target_quantiles has shape \(3, 5\), expected"),
        ("target_quantiles", (2, 0), "must not be empty, got 4 and 0"),
        ("quantiles", (2, 0), "must not be empty, got 0 and 5"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        losses.quantile_huber_loss(**draw(4, 5) | {name: np.ones(shape)})
