"""MPO and V-MPO against their formulas, and against each other's meaning."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses

Q_VALUES = np.array([[1.0, -2.0], [0.0, 3.0], [2.0, 2.0]])  # [S, B]
ADVANTAGES = np.array([[3.0, -1.0, 0.5], [2.0, 1.0, -4.0]])


def test_mpo_weights_are_a_softmax_over_the_drawn_actions():
    got = losses.mpo_weights(q_values=Q_VALUES, temperature=0.5)
    expected = np.exp(Q_VALUES / 0.5) / np.exp(Q_VALUES / 0.5).sum(0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_mpo_temperature_loss_matches_equation_8():
    got = losses.mpo_temperature_loss(q_values=Q_VALUES, temperature=0.5, epsilon=0.1)
    expected = 0.5 * 0.1 + 0.5 * np.log(np.exp(Q_VALUES / 0.5).mean(0))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_at_the_best_temperature_the_weights_are_epsilon_away_from_uniform():
    """What the dual is for: its slope is epsilon minus the weights' divergence."""

    def loss(temperature):
        return losses.mpo_temperature_loss(
            q_values=Q_VALUES, temperature=temperature, epsilon=0.2
        ).sum()

    slope = jax.grad(loss)(0.8)
    weights = losses.mpo_weights(q_values=Q_VALUES, temperature=0.8)
    divergence = (weights * jnp.log(weights * 3)).sum()
    np.testing.assert_allclose(slope, 2 * 0.2 - divergence, rtol=1e-4)


def vmpo_by_hand(advantages, temperature):
    """Weights of the better half, in a flat list."""
    ranked = sorted(advantages, reverse=True)
    best = ranked[: (len(ranked) + 1) // 2]
    total = sum(np.exp(a / temperature) for a in best)
    weights = [np.exp(a / temperature) / total if a in best else 0 for a in advantages]
    return weights, temperature * np.log(total / len(best))


@pytest.mark.parametrize("number", [1, 2, 5, 6])
def test_vmpo_weighs_the_better_half_of_the_batch(number):
    advantages = ADVANTAGES.ravel()[:number]
    weights, dual = vmpo_by_hand(advantages, 0.7)
    got = losses.vmpo_weights(advantages=advantages, temperature=0.7)
    np.testing.assert_allclose(got, weights, rtol=1e-5)
    got = losses.vmpo_temperature_loss(
        advantages=advantages, temperature=0.7, epsilon=0.1
    )
    np.testing.assert_allclose(got, 0.07 + dual, rtol=1e-5)


def test_vmpo_leaves_out_what_is_masked():
    mask = np.array([[False, True, True], [True, True, False]])
    weights, dual = vmpo_by_hand(ADVANTAGES[mask], 0.7)
    given = {"advantages": ADVANTAGES, "mask": mask, "temperature": 0.7}
    got = losses.vmpo_weights(**given)
    np.testing.assert_allclose(got[mask], weights, rtol=1e-5)
    assert not got[~mask].any()
    got = losses.vmpo_temperature_loss(**given, epsilon=0.1)
    np.testing.assert_allclose(got, 0.07 + dual, rtol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_what_is_masked_neither_counts_in_the_half_nor_sets_its_bound(dtype):
    """Of the four that count, two are in; of all eight it would be four."""
    advantages = np.array([9.0, 1.0, np.nan, 3.0, 8.0, 2.0, np.inf, 0.0])
    mask = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    given = {"advantages": advantages, "mask": mask.astype(dtype), "temperature": 1.0}
    expected = np.zeros(8)
    expected[[3, 5]] = np.array([np.e, 1.0]) / (np.e + 1)
    np.testing.assert_allclose(losses.vmpo_weights(**given), expected, rtol=1e-6)
    got = losses.vmpo_temperature_loss(**given, epsilon=0.1)
    np.testing.assert_allclose(got, 0.1 + np.log((np.e**3 + np.e**2) / 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("advantages", "num_in"),
    [
        ([3.0, 2.0, 2.0, 2.0, 1.0, 0.0], 4),  # 3 make the half; a fourth equals them
        ([3.0, 3.0, 2.0, 2.0], 2),  # equal ones beside the bound, on either side
        ([3.0, 2.0, 2.0], 3),  # 2 make the half
        ([1.0, 0.0, 0.0, 0.0], 4),
        ([5.0, 5.0, 5.0], 3),
    ],
)
def test_of_equal_advantages_at_the_bound_all_are_in(advantages, num_in):
    weights = losses.vmpo_weights(advantages=np.array(advantages), temperature=2.0)
    best = np.exp(np.array(advantages[:num_in]) / 2.0)
    np.testing.assert_allclose(weights[:num_in], best / best.sum(), rtol=1e-6)
    assert not weights[num_in:].any()
    got = losses.vmpo_temperature_loss(
        advantages=np.array(advantages), temperature=2.0, epsilon=0.1
    )
    np.testing.assert_allclose(got, 0.2 + 2.0 * np.log(best.mean()), rtol=1e-6)


def test_no_gradient_flows_through_the_weights():
    for name, function in (
        ("advantages", losses.vmpo_weights),
        ("q_values", losses.mpo_weights),
    ):
        slopes = jax.grad(
            lambda values, name=name, function=function: jnp.sum(
                jnp.square(function(**{name: values}, temperature=1.0))
            )
        )(jnp.arange(6.0))
        np.testing.assert_array_equal(slopes, np.zeros(6))


def test_a_mask_of_integers_is_refused():
    for function in (losses.vmpo_weights, losses.vmpo_temperature_loss):
        settings = {"temperature": 1.0}
        if function is losses.vmpo_temperature_loss:
            settings["epsilon"] = 0.1
        with pytest.raises(ValueError, match="mask must be of a floating type, got"):
            function(advantages=np.ones(3), mask=np.ones(3, int), **settings)


def test_the_temperature_s_gradient_is_finite_under_a_mask():
    def loss(temperature):
        return losses.vmpo_temperature_loss(
            advantages=ADVANTAGES,
            temperature=temperature,
            epsilon=0.1,
            mask=np.array([[False, True, True], [True, True, False]]),
        )

    def by_hand(temperature):
        return vmpo_by_hand([-1.0, 0.5, 2.0, 1.0], temperature)[1] + temperature * 0.1

    expected = (by_hand(0.701) - by_hand(0.699)) / 0.002
    np.testing.assert_allclose(jax.grad(loss)(0.7), expected, rtol=1e-3)


def test_the_constraint_pulls_kl_down_and_its_multiplier_up_while_it_is_violated():
    kl, multiplier = jnp.array([0.3, 0.05]), jnp.array(2.0)

    def loss(kl, multiplier):
        return losses.kl_constraint_loss(kl=kl, multiplier=multiplier, epsilon=0.1)

    np.testing.assert_allclose(loss(kl, multiplier), [0.2, 0.2], rtol=1e-5)
    total = jax.grad(lambda kl, m: loss(kl, m).sum(), argnums=(0, 1))
    by_kl, by_multiplier = total(kl, multiplier)
    np.testing.assert_allclose(by_kl, [2.0, 2.0])
    np.testing.assert_allclose(by_multiplier, 0.2 - 0.35, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mpo_weights", {"temperature": 0.0}, "temperature must be above 0"),
        ("mpo_weights", {"temperature": np.ones(2)}, r"temperature has shape \(2,\)"),
        (
            "mpo_temperature_loss",
            {"temperature": 0.0, "epsilon": 1.0},
            "temperature must be above 0",
        ),
        (
            "mpo_temperature_loss",
            {"temperature": 1.0, "epsilon": 0.0},
            "epsilon must be above 0",
        ),
        ("vmpo_weights", {"temperature": 0.0}, "temperature must be above 0"),
        (
            "vmpo_temperature_loss",
            {"temperature": 0.0, "epsilon": 1.0},
            "temperature must be above 0",
        ),
        (
            "vmpo_temperature_loss",
            {"temperature": 1.0, "epsilon": 0.0},
            "epsilon must be above 0",
        ),
        (
            "kl_constraint_loss",
            {"multiplier": 0.0, "epsilon": 1.0},
            "multiplier must be above 0",
        ),
        (
            "kl_constraint_loss",
            {"multiplier": 1.0, "epsilon": 0.0},
            "epsilon must be above 0",
        ),
        (
            "kl_constraint_loss",
            {"multiplier": np.ones(2), "epsilon": 1.0},
            r"multiplier has shape \(2,\)",
        ),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
    array = {"mpo": "q_values", "vmpo": "advantages", "kl": "kl"}[name.split("_")[0]]
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**{array: np.ones(3)}, **settings)
