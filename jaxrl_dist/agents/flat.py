"""Parameters as one vector: what an optimizer and a target network work on.

A few operations on one long vector take the place of dozens on small arrays, and one
collective averages it over devices.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_dist.types import ArrayTree


class Flat(NamedTuple):
    """How a tree of arrays is laid out in one vector."""

    ravel: Callable[[ArrayTree], jax.Array]  # tree to [P]
    unravel: Callable[[jax.Array], ArrayTree]  # [P] to tree


def layout_of(like: ArrayTree) -> Flat:
    """Lays a tree out, one leaf after another.

    Args:
        like: arrays, or `jax.ShapeDtypeStruct` in their place, all of one type.

    Raises:
        ValueError: the types differ.
    """
    leaves, structure = jax.tree.flatten(like)
    dtypes = {str(leaf.dtype) for leaf in leaves}
    if len(dtypes) > 1:
        raise ValueError(f"parameters must be of one type, got {sorted(dtypes)}")
    shapes = [leaf.shape for leaf in leaves]
    cuts = list(itertools.accumulate(math.prod(shape) for shape in shapes))[:-1]

    def ravel(tree: ArrayTree) -> jax.Array:
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])

    def unravel(vector: jax.Array) -> ArrayTree:
        parts = jnp.split(vector, cuts)
        arrays = [
            part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
        ]
        return jax.tree.unflatten(structure, arrays)

    return Flat(ravel, unravel)


def step_along(
    optimizer: optax.GradientTransformation,
    grads: jax.Array,
    opt_state: optax.OptState,
    params: jax.Array,
) -> tuple[jax.Array, optax.OptState]:
    """One gradient step on a vector of parameters [P]."""
    deltas: Any
    deltas, opt_state = optimizer.update(grads, opt_state, params)
    return params + deltas, opt_state


def soft_update(target: ArrayTree, params: ArrayTree, step_size: float) -> ArrayTree:
    """Moves target parameters towards those that learn.

    Args:
        target: tree of arrays.
        params: the same, of the learner.
        step_size: tau, in [0, 1]; at 1, a copy.

    Returns:
        target + tau (params - target).
    """
    return jax.tree.map(lambda x, new: x + step_size * (new - x), target, params)
