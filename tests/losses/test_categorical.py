"""Categorical losses: element by element, and the published vectors."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.test_categorical_projection import project_by_hand


def softmax(logits):
    weights = np.exp(logits - np.max(logits))
    return weights / weights.sum()


def make_batch(batch=(3, 2), num_actions=4, num_atoms=6):
    rng = np.random.default_rng(0)
    return {
        "logits": rng.normal(size=(*batch, num_actions, num_atoms)),
        "actions": rng.integers(0, num_actions, batch),
        "rewards": rng.normal(size=batch),
        "discounts": np.where(rng.random(batch) < 0.4, 0.0, 0.9),
        "next_logits": rng.normal(size=(*batch, num_actions, num_atoms)),
        "next_selector": rng.normal(size=(*batch, num_actions)),
        "atoms": np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]),
    }


def loss_by_hand(batch, at, next_action):
    p_next = softmax(batch["next_logits"][at][next_action])
    moved = batch["rewards"][at] + batch["discounts"][at] * batch["atoms"]
    target = project_by_hand(moved, p_next, batch["atoms"])
    p = softmax(batch["logits"][at][batch["actions"][at]])
    return -sum(target * np.log(p))


def test_the_loss_matches_algorithm_1_and_the_selector_picks():
    batch = make_batch((20, 2))
    with jax.enable_x64(True):
        double = losses.categorical_loss(**batch)
        single = losses.categorical_loss(**batch | {"next_selector": None})
    for at in np.ndindex(20, 2):
        picked = int(np.argmax(batch["next_selector"][at]))
        np.testing.assert_allclose(double[at], loss_by_hand(batch, at, picked))
        means = [softmax(row) @ batch["atoms"] for row in batch["next_logits"][at]]
        picked = int(np.argmax(means))
        np.testing.assert_allclose(single[at], loss_by_hand(batch, at, picked))


def test_published_losses():
    """Of trfl and rlax; some supports are moved beyond the atoms."""
    steps = {
        "rewards": np.array([0.5, 0.0, 0.5, 0.8, -0.1]),
        "discounts": np.array([0.8, 1.0, 0.8, 0.0, 1.0]),
        "atoms": np.array([0.5, 1.0, 1.5]),
    }
    got = losses.categorical_td_loss(
        logits=np.array([[0, 9, 0], [9, 0, 9], [0, 9, 0], [9, 9, 0], [9, 0, 9.0]]),
        next_logits=np.array([[0, 0, 9], [1, 1, 1], [0, 0, 9], [1, 1, 1], [0, 9, 9.0]]),
        **steps,
    )
    expected = [8.998915, 3.6932087, 8.998915, 0.69320893, 5.1929307]
    np.testing.assert_allclose(got, expected, rtol=1e-4)

    usual = [[9, 9, 0], [9, 0, 9], [0, 0, 0], [9, -9, 0]]
    usual_next = [[9, 9, 0], [9, 0, 0], [1, 1, 1], [9, -9, 0]]
    logits = [
        [[1, 1, 1], [0, 9, 9], [0, 9, 0], [0, 0, 0]],
        usual,
        [[1, 1, 1], [0, 9, 9], [0, 0, 0], [0, 9, 0]],
        usual,
        usual,
    ]
    next_logits = [
        [[1, 1, 1], [9, 0, 9], [1, 0, 0], [0, 0, 9]],
        usual_next,
        [[1, 1, 1], [9, 0, 9], [0, 0, 9], [1, 0, 0]],
        usual_next,
        [[9, 9, 0], [9, 0, 0], [0, 9, 9], [9, -9, 0]],
    ]
    selector = [[1, 0, 0, 9], [9, 0, 1, 1], [1, 9, 1, 1], [0, 1, 0, 9], [1, 1, 1, 9]]
    got = losses.categorical_loss(
        logits=np.array(logits, float),
        actions=np.array([2, 1, 3, 0, 1]),
        next_logits=np.array(next_logits, float),
        next_selector=np.array(selector, float),
        **steps,
    )
    expected = [8.998915, 5.192931, 5.400247, 0.693209, 0.693431]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_an_atom_that_is_ruled_out_and_not_wanted_costs_nothing():
    logits = jnp.array([0.0, 0.0, -jnp.inf])
    batch = {
        "rewards": jnp.array(0.0),
        "discounts": jnp.array(0.0),
        "next_logits": jnp.zeros(3),
        "atoms": jnp.arange(3.0),
    }

    def loss(logits):
        return losses.categorical_td_loss(logits=logits, **batch)

    np.testing.assert_allclose(loss(logits), np.log(2.0), rtol=1e-6)
    assert jnp.isfinite(jax.grad(loss)(logits)).all()


@pytest.mark.parametrize("atoms", [[0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
def test_atoms_that_are_not_strictly_monotone_are_refused_where_they_are_seen(atoms):
    given_arrays = {"values": np.ones(2), "atoms": np.array(atoms)}
    with pytest.raises(ValueError, match="atoms must be strictly monotone"):
        losses.two_hot(**given_arrays)
    jax.jit(losses.two_hot)(**given_arrays)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_a_support_that_is_no_list_of_atoms_is_refused(shape):
    with pytest.raises(ValueError, match=r"atoms must be \[M\] with M at least 2"):
        losses.two_hot(values=np.ones(2), atoms=np.ones(shape))


def test_next_logits_of_another_shape_are_refused_by_name():
    batch = make_batch()
    with pytest.raises(ValueError, match="next_logits has shape .*, but logits has"):
        losses.categorical_td_loss(
            logits=batch["logits"][:, :, 0],
            rewards=batch["rewards"],
            discounts=batch["discounts"],
            next_logits=batch["next_logits"][:, 0, 0],
            atoms=batch["atoms"],
        )


def test_actions_share_their_atoms():
    batch = make_batch()
    batch["atoms"] = np.tile(batch["atoms"], (3, 2, 1))
    with pytest.raises(
        ValueError, match=r"atoms has shape \(3, 2, 6\), expected \(6,\)"
    ):
        losses.categorical_loss(**batch)


def test_numbers_of_atoms_that_do_not_agree_are_refused():
    masses = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"atoms has shape \(4,\), expected \(3,\) or"):
        losses.categorical_mean(probabilities=masses, atoms=np.ones(4))
    with pytest.raises(ValueError, match=r"atoms has shape \(4,\), expected \(3,\)"):
        losses.categorical_projection(
            atoms=np.ones(4), probabilities=masses, target_atoms=np.arange(2.0)
        )
    for name in ("categorical_loss", "categorical_td_loss"):
        batch = make_batch() | {"atoms": np.arange(7.0)}
        if name == "categorical_td_loss":
            del batch["actions"], batch["next_selector"]
            batch["logits"] = batch["logits"][:, :, 0]
            batch["next_logits"] = batch["next_logits"][:, :, 0]
        with pytest.raises(
            ValueError, match=r"atoms has shape \(7,\), expected \(6,\)"
        ):
            getattr(losses, name)(**batch)
