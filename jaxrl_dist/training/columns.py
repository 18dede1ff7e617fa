"""Nested arrays as one column of bytes: how experience and parameters travel.

Reverb's cost is by column and item. So the arrays of a row are laid out one after
another, in the order of the tree and in their own dtypes, and travel as one array of
bytes. The column is named by a digest of that layout: a table of another layout, be it
of the same length, is another table.
"""

import hashlib
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.replay import reverb
from jaxrl_dist.types import ArraySpec, ArrayTree


class Columns(NamedTuple):
    """The layout of a tree's arrays in a row of bytes."""

    names: tuple[str, ...]  # such as "trajectory.observation"
    specs: tuple[ArraySpec, ...]  # of one row, without axes of time and batch
    treedef: Any
    key: str  # name of the column
    num_bytes: int  # of a row

    def pack(self, tree: ArrayTree) -> np.ndarray:
        """Lays the arrays of a tree out: [..., *shape] each to bytes [..., N]."""
        leaves = [
            np.asarray(x, spec.dtype, order="C")
            for x, spec in zip(jax.tree.leaves(tree), self.specs, strict=True)
        ]
        leading = leaves[0].shape[: leaves[0].ndim - len(self.specs[0].shape)]
        packed = np.empty((*leading, self.num_bytes), np.uint8)
        begin = 0
        for leaf, spec in zip(leaves, self.specs, strict=True):
            end = begin + num_bytes(spec)
            flat = leaf.reshape((*leading, -1)) if leaf.size else leaf
            packed[..., begin:end] = flat.view(np.uint8).reshape(
                (*leading, end - begin)
            )
            begin = end
        return packed

    def unpack(self, packed: np.ndarray) -> ArrayTree:
        """Makes the tree out of bytes [..., N]."""
        leading, leaves, begin = packed.shape[:-1], [], 0
        for spec in self.specs:
            end = begin + num_bytes(spec)
            part = np.ascontiguousarray(packed[..., begin:end])
            leaves.append(part.view(spec.dtype).reshape((*leading, *spec.shape)))
            begin = end
        return jax.tree.unflatten(self.treedef, leaves)

    def row(self, num_rows: int = 1) -> dict[str, ArraySpec]:
        """What `reverb.Client.writer` takes: one row, or several as if they were."""
        return {self.key: ArraySpec((num_rows * self.num_bytes,), np.uint8)}

    def signature(self, num_rows: int, *, whole: bool = False) -> reverb.Signature:
        """The signature of items of so many rows.

        Args:
            num_rows: of each item.
            whole: they travel as if they were one row.
        """
        shape = (num_rows, self.num_bytes)
        shape = (1, num_rows * self.num_bytes) if whole else shape
        return reverb.Signature({self.key: ArraySpec(shape, np.uint8)})


def num_bytes(spec: ArraySpec) -> int:
    """Bytes of an array."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def columns_of(like: ArrayTree, *, in_bfloat16: str | None = None) -> Columns:
    """Finds the layout of a tree.

    Args:
        like: one row: arrays, or anything with a shape and a dtype.
        in_bfloat16: arrays of float32 whose names begin so travel in half the bytes.

    Raises:
        ValueError: no name begins so.
    """
    pairs = jax.tree.leaves_with_path(like)
    names = tuple(
        jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        for path, _ in pairs
    )

    if in_bfloat16 and not any(name.startswith(in_bfloat16) for name in names):
        raise ValueError(f"in_bfloat16: no name begins with {in_bfloat16!r}: {names}")

    def spec(name: str, leaf: Any) -> ArraySpec:
        wide = in_bfloat16 is None or not name.startswith(in_bfloat16)
        kept = wide or leaf.dtype != jnp.float32
        dtype = np.dtype(leaf.dtype if kept else jnp.bfloat16)
        return ArraySpec(tuple(leaf.shape), dtype)

    specs = tuple(
        spec(name, leaf) for name, (_, leaf) in zip(names, pairs, strict=True)
    )
    layout = [(n, s.shape, s.dtype.name) for n, s in zip(names, specs, strict=True)]
    digest = hashlib.sha256(repr(layout).encode()).hexdigest()[:16]
    return Columns(
        names=names,
        specs=specs,
        treedef=jax.tree.structure(like),
        key=f"bytes_{digest}",
        num_bytes=sum(num_bytes(spec) for spec in specs),
    )


def only_row(columns: Columns, sample: Any) -> ArrayTree:
    """The tree of a batch of one item of one row."""
    return columns.unpack(sample.trajectory[columns.key][0, 0])
