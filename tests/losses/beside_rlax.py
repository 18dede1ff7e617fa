"""Rlax, its axes moved to where ours are, and inputs that both take."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.losses.steps import make_steps

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what rlax imports uses deprecated names of JAX
    import rlax
    from rlax._src import multistep

__all__ = ["B", "T", "draw", "multistep", "near", "over_time", "rlax", "unbroken_steps"]

T, B = 12, 4


def over_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Rlax knows [T] only; here time comes first and the batch second."""
    return jax.vmap(function, in_axes=1, out_axes=1)


def unbroken_steps() -> dict[str, jax.Array]:
    """Terminations only: rlax has no truncation, and one array of T + 1 values."""
    steps = make_steps((T, B))
    values = np.random.default_rng(5).normal(size=(T + 1, B))
    ends = steps.pop("ends")
    steps["discounts"] = np.where(ends, 0.0, steps["discounts"])
    steps |= {"values": values[:-1], "next_values": values[1:]}
    return {name: jnp.asarray(array) for name, array in steps.items()}


def draw(*shape: int, seed: int = 0) -> jax.Array:
    """Numbers around 0."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def near(got: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Compares results in float32."""
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
