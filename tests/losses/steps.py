"""Trajectories to try losses on, and how their results are compared."""

from typing import Any

import jax
import numpy as np

# Lengths and widths: the usual, one step without batch, two batch axes, a long one.
SHAPES = [(7, 3), (1,), (4, 2, 2), (200, 2)]


def make_steps(shape: tuple[int, ...], seed: int = 0) -> dict[str, Any]:
    """Random steps of several episodes, some terminated, some truncated.

    The value after a truncation, and after the last step, is no other step's value:
    it can only be found in `next_values`.
    """
    rng = np.random.default_rng(seed)
    rewards, values, next_values, log_ratios = rng.normal(size=(4, *shape))
    ends = rng.random(shape) < 0.25
    terminated = ends & (rng.random(shape) < 0.5)
    next_values = np.where(ends, next_values, np.roll(values, -1, axis=0))
    next_values[-1] = rng.normal(size=shape[1:])
    return {
        "rewards": rewards,
        "discounts": np.where(terminated, 0.0, rng.uniform(0.8, 1.0, size=shape)),
        "ends": ends,
        "values": values,
        "next_values": next_values,
        "log_ratios": log_ratios,
    }


def pick(steps: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some of the arrays."""
    return {name: steps[name] for name in names}


def columns(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The batch indices of arrays [T, ...]."""
    return list(np.ndindex(shape[1:]))


def assert_equals_oracle(function: Any, oracle: Any, arrays: dict, **settings) -> None:
    """Compares with a plain loop, in float64 to the last digits and in float32.

    Args:
        function: of arrays [T, ...], keyword-only.
        oracle: of a dictionary of arrays [T], and settings, to [T] or several.
        arrays: float64 arrays [T, ...], or [...] without time.
        **settings: passed to both.
    """
    shape = arrays["rewards"].shape
    expected = [
        np.moveaxis(np.array(column).reshape(-1, shape[0]), 0, -1)
        for column in (
            oracle({name: array[:, *at] for name, array in arrays.items()}, **settings)
            for at in columns(shape)
        )
    ]
    expected = np.stack(expected, axis=1).reshape(*shape, -1)
    with jax.enable_x64(True):
        got = stacked(jax.jit(lambda **given: function(**given, **settings))(**arrays))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
    got = stacked(function(**arrays, **settings))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def stacked(results: Any) -> np.ndarray:
    """All that a function returned, along a new last axis."""
    return np.stack([np.asarray(each) for each in jax.tree.leaves(results)], axis=-1)
