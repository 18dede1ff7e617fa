"""Drawn returns: cells hold the right masses, and the taken action stands out."""

import math

import numpy as np
import pytest

from jaxrl_dist.environments import drawing
from jaxrl_dist.environments.return_drawing import (
    MEAN,
    NUM_CELLS,
    OTHER,
    TAKEN,
    choose_cells,
    draw_returns,
    masses_of_cells,
    ticks,
)

ATOMS = np.linspace(0.0, 10.0, 11)
FRACTIONS = (np.arange(200) + 0.5) / 200


def pixels_of(image, colour) -> np.ndarray:
    """Where a colour is, [rows, columns] bool."""
    return (np.asarray(image) == colour).all(-1)


def test_atoms_get_a_cell_each_from_the_first_likely_one_to_the_last():
    probabilities = np.zeros((3, 2, 11))
    probabilities[0, 0, 4], probabilities[2, 1, 6] = 1.0, 0.5
    edges = choose_cells(np.broadcast_to(ATOMS, (3, 2, 11)), probabilities)
    np.testing.assert_allclose(edges, [3.5, 4.5, 5.5, 6.5])


def test_the_outermost_atoms_have_whole_cells_too():
    everywhere = np.full((1, 1, 11), 1 / 11)
    edges = choose_cells(ATOMS[None, None], everywhere)
    np.testing.assert_allclose(edges, np.arange(-0.5, 11))


def test_quantiles_share_cells_of_equal_width_around_all_of_them():
    returns = np.stack([FRACTIONS, 10 * FRACTIONS])[None]
    edges = choose_cells(returns, np.full(returns.shape, 1 / 200))
    assert len(edges) == NUM_CELLS + 1
    assert edges[0] < returns.min() and edges[-1] > returns.max()
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])


def test_returns_that_are_all_the_same_have_an_axis_too():
    edges = choose_cells(np.full((2, 2, 5), 7.0), np.full((2, 2, 5), 0.2))
    np.testing.assert_allclose(edges[[0, -1]], [6.5, 7.5])


def test_an_atom_counts_in_its_cell():
    probabilities = np.arange(11) / 55
    masses = masses_of_cells(ATOMS, probabilities, np.arange(-0.5, 11))
    np.testing.assert_allclose(masses, probabilities)


@pytest.mark.parametrize(
    "order", [np.arange(200), np.random.default_rng(0).permutation(200)]
)
def test_quantiles_of_an_exponential_give_its_masses(order):
    quantiles = -np.log(1 - FRACTIONS)[order]
    edges = np.array([0.0, 0.5, 1.0, 2.0, 100.0])
    masses = masses_of_cells(quantiles, np.full(200, 1 / 200), edges)
    expected = np.diff(1 - np.exp(-edges))
    np.testing.assert_allclose(masses, expected, atol=0.004)
    np.testing.assert_allclose(masses.sum(), 1.0)


def test_only_the_taken_action_is_blue_and_bars_stand_where_returns_are():
    probabilities = np.zeros((2, 11))
    probabilities[0, 2] = probabilities[1, 8] = 1.0
    image = draw_returns(
        np.stack([ATOMS, ATOMS]), probabilities, 1, np.arange(-0.5, 11)
    )
    middle = image.height // 3
    blue, grey = pixels_of(image, TAKEN), pixels_of(image, OTHER)
    assert image.width == drawing.WIDTH
    assert not blue[:middle].any() and not grey[2 * middle :].any()
    for bars, at in ((grey, 2.5 / 11), (blue[-100:], 8.5 / 11)):
        columns = np.nonzero(bars.sum(0) > 30)[0]  # higher than letters
        np.testing.assert_allclose(columns.mean() / image.width, at, atol=0.03)


def test_a_line_marks_the_mean_also_beyond_the_axis():
    returns, probabilities = np.array([[0.0, 40.0]]), np.array([[0.5, 0.5]])
    for edges, at in (([0.0, 50.0], 0.4), ([0.0, 10.0], 1.0)):
        image = draw_returns(returns, probabilities, 0, np.array(edges))
        columns = np.nonzero(pixels_of(image, MEAN))[1]
        place = (columns.mean() - 14) / (image.width - 28)
        np.testing.assert_allclose(place, at, atol=0.02)


def test_where_nothing_is_done_only_axes_are_drawn():
    image = draw_returns(ATOMS[None], np.full((1, 11), 1 / 11), None, np.arange(12.0))
    assert not any(pixels_of(image, colour).any() for colour in (TAKEN, OTHER, MEAN))


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.5, 100.5), (43.0, 81.0), (-1e-3, 2e-3), (-9e4, 3)]
)
def test_ticks_are_few_round_numbers_within_the_axis(low, high):
    numbers = ticks(low, high)
    assert 3 <= len(numbers) <= 8
    assert low <= numbers[0] and numbers[-1] <= high
    step = numbers[1] - numbers[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert round(leading, 6) in {1, 2, 5}
