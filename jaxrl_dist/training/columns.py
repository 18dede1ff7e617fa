"""Nested arrays as named columns: how experience and parameters travel.

A Reverb item is a dictionary of typed arrays, named by their place in the tree they
come from, such as "trajectory.observation". Any pytree can travel so, and what arrives
is checked by name, shape and dtype.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.types import ArraySpec, ArrayTree


class Columns(NamedTuple):
    """The names, shapes and dtypes of a tree's arrays, and the tree they make."""

    names: tuple[str, ...]
    specs: tuple[ArraySpec, ...]  # of one row, without axes of time and batch
    treedef: Any

    def pack(self, tree: ArrayTree) -> dict[str, np.ndarray]:
        """Names the arrays of a tree, in the dtypes in which they travel."""
        leaves = zip(self.names, self.specs, jax.tree.leaves(tree), strict=True)
        return {name: np.asarray(x, spec.dtype) for name, spec, x in leaves}

    def unpack(self, columns: dict[str, Any]) -> ArrayTree:
        """Makes the tree out of named arrays."""
        return jax.tree.unflatten(self.treedef, [columns[name] for name in self.names])

    def row(self) -> dict[str, ArraySpec]:
        """One row, as `reverb.Client.writer` takes it."""
        return dict(zip(self.names, self.specs, strict=True))

    def signature(self, num_rows: int) -> reverb.Signature:
        """The signature of items of so many rows."""
        return reverb.Signature(
            {
                name: ArraySpec((num_rows, *spec.shape), spec.dtype)
                for name, spec in self.row().items()
            }
        )


def columns_of(like: ArrayTree, *, bfloat16: bool = False) -> Columns:
    """Finds the columns of a tree.

    Args:
        like: one row: arrays, or anything with a shape and a dtype.
        bfloat16: arrays of float32 travel in half the bytes.
    """
    pairs = jax.tree.leaves_with_path(like)

    def dtype(leaf: Any) -> np.dtype:
        halved = bfloat16 and leaf.dtype == jnp.float32
        return np.dtype(jnp.bfloat16 if halved else leaf.dtype)

    return Columns(
        names=tuple(
            jax.tree_util.keystr(path, simple=True, separator=".") or "value"
            for path, _ in pairs
        ),
        specs=tuple(ArraySpec(tuple(leaf.shape), dtype(leaf)) for _, leaf in pairs),
        treedef=jax.tree.structure(like),
    )


def only_row(sample: Any) -> dict[str, np.ndarray]:
    """The columns of a batch of one item of one row, without these axes."""
    return {name: x[0, 0] for name, x in sample.trajectory.items()}
