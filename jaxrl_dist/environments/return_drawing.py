"""Pictures of what an agent expects: a distribution of returns for each action."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl_dist.environments import drawing

NUM_CELLS = 60  # across the axis, for returns that lie anywhere
LEAST_MASS = 1e-3  # of what is worth a place on the axis
TAKEN, OTHER, MEAN = drawing.BLUE, (176, 190, 208), drawing.RED
_MARGIN, _LABEL_HEIGHT, _AXIS_HEIGHT = 14, 18, 44  # pixels
_LEAST_ROW, _GREATEST_ROW = 44, 110  # pixels of one action's height
_ALL_ROWS = 400  # pixels that the rows share between these limits


def choose_cells(returns: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Chooses the axis of all pictures of an episode.

    Args:
        returns: [F, A, N] of all pictures and actions, in reward units.
        probabilities: [F, A, N] of these returns.

    Returns:
        Edges of cells, [K + 1], rising: one cell around each atom where all
        distributions share their atoms, otherwise cells of equal width. Together they
        hold nearly all that is probable.
    """
    atoms = returns[0, 0]
    shared = (returns == atoms[None, None]).all() and (np.diff(atoms) > 0).all()
    if shared and len(atoms) > 1:
        likely = (probabilities > LEAST_MASS).any((0, 1))
        first, last = np.flatnonzero(likely)[[0, -1]]
        middles = (atoms[1:] + atoms[:-1]) / 2
        ends = 2 * atoms[0] - middles[0], 2 * atoms[-1] - middles[-1]
        edges = np.concatenate([ends[:1], middles, ends[1:]])
        return edges[first : last + 2]
    low, high = float(returns.min()), float(returns.max())
    room = 0.02 * (high - low) or 0.5
    return np.linspace(low - room, high + room, NUM_CELLS + 1)


def masses_of_cells(
    returns: np.ndarray, probabilities: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """Computes how probable it is that a return falls into each cell.

    Args:
        returns: [N] in reward units, in any order.
        probabilities: [N] of these returns.
        edges: [K + 1] of the cells, rising.

    Returns:
        [K]. Atoms count where they are. Of equally probable returns, each stands for
        the middle of its share of the distribution, and what lies between two of them
        is spread evenly.
    """
    if np.ptp(probabilities) > 0:
        return np.histogram(returns, edges, weights=probabilities)[0]
    ordered = np.sort(returns)
    fractions = (np.arange(len(ordered)) + 0.5) / len(ordered)
    below = np.interp(edges, ordered, fractions, left=0.0, right=1.0)
    return np.diff(below)


def draw_returns(
    returns: np.ndarray,
    probabilities: np.ndarray,
    taken: int | None,
    edges: np.ndarray,
) -> Image.Image:
    """Draws one histogram per action, one below the other.

    Args:
        returns: [A, N] in reward units.
        probabilities: [A, N] of these returns.
        taken: the action that was taken, drawn in a colour of its own; None where none
            is: only the axes are drawn then.
        edges: of `choose_cells`.

    Returns:
        A picture `drawing.WIDTH` wide. The tallest bar of all actions fills its row,
        and a line marks the mean of each action.
    """
    num_actions = len(returns)
    row_height = min(max(_ALL_ROWS // num_actions, _LEAST_ROW), _GREATEST_ROW)
    height = num_actions * row_height + _AXIS_HEIGHT
    image = Image.new("RGB", (drawing.WIDTH, height), drawing.BACKGROUND)
    draw = ImageDraw.Draw(image)
    scale = (drawing.WIDTH - 2 * _MARGIN) / (edges[-1] - edges[0])

    def across(value: float) -> float:
        return _MARGIN + (value - edges[0]) * scale

    masses = [
        masses_of_cells(*pair, edges)
        for pair in zip(returns, probabilities, strict=True)
    ]
    tallest = max(mass.max() for mass in masses) or 1.0
    for action in range(num_actions):
        floor = (action + 1) * row_height
        if taken is not None:
            colour = TAKEN if action == taken else OTHER
            room = row_height - _LABEL_HEIGHT - 4
            for cell, mass in enumerate(masses[action]):
                top = floor - mass / tallest * room
                left, right = across(edges[cell]), across(edges[cell + 1])
                if floor - top >= 1:
                    draw.rectangle((left, top, max(left, right - 1), floor), colour)
            mean = float(returns[action] @ probabilities[action])
            x = across(min(max(mean, edges[0]), edges[-1]))
            draw.line((x, floor - room, x, floor), MEAN, 2)
            text = f"action {action}   mean {mean:.4g}"
            text += "   taken" if action == taken else ""
            ink = TAKEN if action == taken else drawing.INK
            place = (_MARGIN, floor - row_height + 2)
            draw.text(place, text, ink, ImageFont.load_default(13))
        draw.line((_MARGIN, floor, drawing.WIDTH - _MARGIN, floor), drawing.INK, 1)
    _draw_axis(draw, edges, num_actions * row_height)
    return image


def _draw_axis(draw: ImageDraw.ImageDraw, edges: np.ndarray, floor: int) -> None:
    """Writes numbers below the lowest row, and what they are."""
    font = ImageFont.load_default(12)
    low, high = float(edges[0]), float(edges[-1])
    scale = (drawing.WIDTH - 2 * _MARGIN) / (high - low)
    for tick in ticks(low, high):
        x = _MARGIN + (tick - low) * scale
        draw.line((x, floor, x, floor + 4), drawing.INK, 1)
        draw.text((x, floor + 5), f"{tick:g}", drawing.INK, font, anchor="ma")
    middle, label = drawing.WIDTH / 2, "discounted return to come"
    draw.text((middle, floor + 22), label, drawing.INK, font, anchor="ma")


def ticks(low: float, high: float) -> list[float]:
    """Chooses round numbers for an axis: three to seven, evenly spaced."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = min(
        (power * factor for factor in (1, 2, 5, 10)), key=lambda s: abs(s - rough)
    )
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
