"""The leaves of a state: their names, shapes and types, and their way to the host.

A checkpoint is a flat list of arrays. What makes it fit a state again is the list of
leaves written beside it, which is compared with what the caller expects.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.types import ArrayTree


class Leaf(NamedTuple):
    """One array of a state, as a checkpoint describes it."""

    path: str  # such as "learner.params.torso.kernel"
    shape: tuple[int, ...]
    dtype: str  # of jax or numpy; "key<fry>" and the like for typed random keys
    key_impl: str | None = None  # generator of typed random keys, else None

    def __str__(self) -> str:
        """Type and shape, such as float32[64, 2]."""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def describe(state: ArrayTree) -> list[Leaf]:
    """Lists the leaves of a state.

    Args:
        state: a pytree of arrays, or of anything that has a shape and a dtype.

    Returns:
        The leaves, in the order in which jax flattens them.

    Raises:
        ValueError: a leaf is no array, or two leaves have the same path.
    """
    leaves: dict[str, Leaf] = {}
    for key_path, value in jax.tree.leaves_with_path(state):
        path = jax.tree_util.keystr(key_path, simple=True, separator=".") or "state"
        if not hasattr(value, "dtype"):
            raise ValueError(f"{path} is {value!r}; a state holds arrays only")
        if path in leaves:
            raise ValueError(f"two leaves of the state are called {path}")
        # The shapes and types of `jax.eval_shape` have no key data to ask.
        concrete_key = _is_key(value) and isinstance(value, jax.Array)
        impl = str(jax.random.key_impl(value)) if concrete_key else None
        leaves[path] = Leaf(path, tuple(value.shape), str(value.dtype), impl)
    return list(leaves.values())


def check_same_leaves(
    saved: Collection[Leaf], expected: Sequence[Leaf], folder: Path
) -> None:
    """Checks that a checkpoint holds what is expected.

    Args:
        saved: leaves that the checkpoint holds.
        expected: leaves that are wanted.
        folder: the checkpoint's, for the message.

    Raises:
        ValueError: a leaf is missing, not expected, or differs in shape or type; the
            message names the first, and says what the checkpoint has.
    """
    by_path = {leaf.path: leaf for leaf in saved}
    advice = "was it made by another experiment, agent or network?"
    for leaf in expected:
        got = by_path.pop(leaf.path, None)
        if got is None:
            raise ValueError(
                f"checkpoint {folder} has no {leaf.path}, expected {leaf}: {advice}"
            )
        if (got.shape, got.dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(
                f"checkpoint {folder} has {leaf.path} as {got}, expected {leaf}: "
                f"{advice}"
            )
    for path, leaf in by_path.items():
        raise ValueError(
            f"checkpoint {folder} has {path} as {leaf}, which is not expected: {advice}"
        )


def to_host(leaves: Sequence[Leaf], state: ArrayTree) -> dict[str, np.ndarray]:
    """Fetches a state from its devices.

    Args:
        leaves: of `describe`.
        state: the same state.

    Returns:
        Arrays by path, which share no memory with the state; typed random keys as their
        key data. Arrays without elements are left out: orbax refuses them, and their
        shape says it all.
    """
    values = [
        jax.random.key_data(value) if _is_key(value) else value
        for value in jax.tree.leaves(state)
    ]
    arrays = zip(leaves, jax.device_get(values), strict=True)
    # What comes from a CPU device may be a view of memory that JAX will use again.
    return {leaf.path: np.array(array) for leaf, array in arrays if array.size}


def from_host(leaves: Sequence[Leaf], arrays: dict[str, np.ndarray]) -> list[Any]:
    """Turns arrays by path back into leaves, in the order of `leaves`.

    Args:
        leaves: what is wanted.
        arrays: of `to_host`.

    Returns:
        One numpy array per leaf, or a typed random key.
    """
    return [_from_host(leaf, arrays) for leaf in leaves]


def _from_host(leaf: Leaf, arrays: dict[str, np.ndarray]) -> Any:
    if leaf.path not in arrays:
        return np.zeros(leaf.shape, leaf.dtype)
    array = arrays[leaf.path]
    if leaf.key_impl is None:
        return array
    return jax.random.wrap_key_data(jnp.asarray(array), impl=leaf.key_impl)


def _is_key(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
