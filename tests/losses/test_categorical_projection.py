"""The projection: atom by atom, its invariants, and the published vectors."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_dist import losses
from jaxrl_dist.losses import projection


def project_by_hand(atoms, probabilities, target_atoms):
    """Each atom's mass, to the target atoms beside it; ascending targets only."""
    result = np.zeros(len(target_atoms))
    for z, p in zip(atoms, probabilities, strict=True):
        if z <= target_atoms[0]:
            result[0] += p
        elif z >= target_atoms[-1]:
            result[-1] += p
        else:
            right = next(i for i, t in enumerate(target_atoms) if t >= z)
            left = right - 1
            share = (z - target_atoms[left]) / (
                target_atoms[right] - target_atoms[left]
            )
            result[left] += p * (1 - share)
            result[right] += p * share
    return result


@pytest.mark.parametrize(
    ("atoms", "probabilities", "target_atoms", "expected"),
    [
        (
            [0, 1, 2, 3, 4],
            [0.1, 0.2, 0.1, 0.3, 0.3],
            [3, 4, 5, 6, 7],
            [0.7, 0.3, 0, 0, 0],
        ),
        (
            [4, 3, 2, 1, 0],
            [0.1, 0.2, 0.1, 0.3, 0.3],
            [3, 4, 5, 6, 7],
            [0.9, 0.1, 0, 0, 0],
        ),
        (
            [0, 2, 4, 6, 8],
            [0.1, 0.6, 0.1, 0.1, 0.1],
            [4, 5, 6, 7, 8],
            [0.8, 0, 0.1, 0, 0.1],
        ),
        (
            [1, 3, 4, 5, 6],
            [0.1, 0.2, 0.5, 0.1, 0.1],
            [4, 5, 6, 7, 8],
            [0.8, 0.1, 0.1, 0, 0],
        ),
        (
            [0, 2, 4, 6, 8],
            [0.1, 0.2, 0.2, 0.2, 0.3],
            [0, 4, 8, 12, 16],
            [0.2, 0.4, 0.4, 0, 0],
        ),
        (
            [8, 9, 10, 12, 14],
            [0.1, 0.2, 0.4, 0.1, 0.2],
            [0, 4, 8, 12, 16],
            [0, 0, 0.45, 0.45, 0.1],
        ),
    ],
)
def test_published_projections(atoms, probabilities, target_atoms, expected):
    got = losses.categorical_projection(
        atoms=np.array(atoms, float),
        probabilities=np.array(probabilities),
        target_atoms=np.array(target_atoms, float),
    )
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(("num_atoms", "num_targets"), [(1, 2), (7, 4), (70, 51)])
@pytest.mark.parametrize("descending", [False, True])
def test_projection_matches_a_loop_for_uneven_atoms(num_atoms, num_targets, descending):
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(3, num_atoms)) * 3
    masses = rng.uniform(size=(3, num_atoms))
    targets = np.sort(rng.normal(size=num_targets) * 2)
    with jax.enable_x64(True):
        got = losses.categorical_projection(
            atoms=atoms,
            probabilities=masses,
            target_atoms=targets[::-1].copy() if descending else targets,
        )
    expected = np.stack(
        [project_by_hand(z, p, targets) for z, p in zip(atoms, masses, strict=True)]
    )
    expected = expected[:, ::-1] if descending else expected
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_each_element_may_have_targets_of_its_own():
    rng = np.random.default_rng(0)
    atoms, masses = np.arange(4.0), rng.uniform(size=(2, 4))
    targets = np.sort(rng.normal(size=(2, 3)), axis=-1)
    got = losses.categorical_projection(
        atoms=atoms, probabilities=masses, target_atoms=targets
    )
    for b in range(2):
        expected = project_by_hand(atoms, masses[b], targets[b])
        np.testing.assert_allclose(got[b], expected, atol=1e-5)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3),
    st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4, unique=True).filter(
        lambda targets: min(np.diff(sorted(targets))) > 1e-2
    ),
)
def test_projection_keeps_mass_and_inside_the_support_the_mean(atoms, targets):
    targets = np.array(sorted(targets))
    masses = np.array([0.2, 0.3, 0.5])
    got = losses.categorical_projection(
        atoms=np.array(atoms), probabilities=masses, target_atoms=targets
    )
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(), 1.0, atol=1e-4)
    inside = np.clip(atoms, targets[0], targets[-1])
    mean = losses.categorical_mean(probabilities=got, atoms=targets)
    np.testing.assert_allclose(mean, masses @ inside, atol=1e-3)


def test_projection_on_the_atoms_themselves_changes_nothing():
    atoms = np.array([-2.0, 0.0, 1.0, 5.0])
    masses = np.array([0.1, 0.2, 0.3, 0.4])
    got = losses.categorical_projection(
        atoms=atoms, probabilities=masses, target_atoms=atoms
    )
    np.testing.assert_allclose(got, masses, rtol=1e-6)


def test_two_hot_is_undone_by_the_mean_and_clipped_to_the_atoms():
    atoms = np.array([-3.0, -1.0, 0.0, 4.0])
    values = np.array([[-7.0, -3.0, -2.5], [0.0, 3.0, 9.0]])
    code = losses.two_hot(values=values, atoms=atoms)
    np.testing.assert_allclose(code[1, 1], [0, 0, 0.25, 0.75])
    np.testing.assert_allclose(code.sum(-1), np.ones((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(
        losses.categorical_mean(probabilities=code, atoms=atoms),
        np.clip(values, -3.0, 4.0),
        rtol=1e-6,
    )


def test_the_mean_may_have_atoms_for_each_element():
    got = losses.categorical_mean(
        probabilities=np.array([[0.5, 0.5], [0.25, 0.75]]),
        atoms=np.array([[0.0, 2.0], [4.0, 8.0]]),
    )
    np.testing.assert_allclose(got, [1, 7])


@pytest.mark.parametrize("own_targets", [False, True])
def test_both_ways_of_projecting_agree_in_value_and_gradient(own_targets):
    rng = np.random.default_rng(4)
    places, mass = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    targets = np.sort(rng.normal(size=(3, 5, 4) if own_targets else 4), axis=-1)
    targets, weights = np.float32(targets), rng.normal(size=(3, 5, 4))

    def total(project, *arguments):
        return (project(*arguments) * weights).sum()

    for way in (projection.by_columns, projection.at_once):
        assert way(places, mass, targets).shape == (3, 5, 4)
    one, other = (
        jax.value_and_grad(total, argnums=(1, 2))(way, places, mass, targets)
        for way in (projection.by_columns, projection.at_once)
    )
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_both_ways_agree_where_each_element_has_targets_of_its_own():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(3, 5)).astype(np.float32)
    probabilities = rng.dirichlet(np.ones(5), size=3).astype(np.float32)
    targets = np.sort(rng.normal(size=(3, 4)), axis=-1).astype(np.float32)
    arguments = (places, probabilities, targets)
    got = projection.at_once(*arguments)
    assert got.shape == (3, 4)
    np.testing.assert_allclose(got, projection.by_columns(*arguments), atol=1e-6)
