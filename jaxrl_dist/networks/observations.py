"""Observations as torsos take them: float32, scaled, flat or an image."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.types import ArraySpec, ArrayTree

MAX_CHOICES = 4096  # an integer of a wider range is a quantity, not a choice


class PreparedShape(NamedTuple):
    """The shape, without leading axes, of what `prepare` answers."""

    shape: tuple[int, ...]  # (F,), or (H, W, C)

    @property
    def is_image(self) -> bool:
        """Whether it has height, width and channels."""
        return len(self.shape) == 3


def prepared_shape(spec: ArrayTree) -> PreparedShape:
    """Says what `prepare` makes of a spec.

    Args:
        spec: nested containers of ArraySpec.

    Returns:
        (H, W, C) for one array of three axes, otherwise the number of flat features.

    Raises:
        ValueError: there is no array in the spec.
    """
    leaves = _leaves(spec)
    if not leaves:
        raise ValueError("the observation spec holds no array")
    if len(leaves) == 1 and len(leaves[0].shape) == 3:
        return PreparedShape(_image_shape(leaves[0]))
    return PreparedShape((sum(_num_features(leaf) for leaf in leaves),))


def prepare(observation: ArrayTree, spec: ArrayTree, *, flat: bool) -> jax.Array:
    """Turns an observation into what a torso reads, with any leading axes.

    Integer images whose range ends above 1 and at most at 255 are divided by its end;
    uint8 images without a range count as ending at 255.
    A single integer with a range is a choice and becomes one-hot. Everything else is
    only cast. Nested observations are flattened and concatenated.

    Args:
        observation: as the spec says, [..., *shape] each, of any type.
        spec: nested containers of ArraySpec.
        flat: whether an image is flattened too, in the order it came in.

    Returns:
        [..., F] or, for one image where not flat, [..., H, W, C].
    """
    arrays = [
        _prepare_leaf(array, leaf, flat)
        for array, leaf in zip(jax.tree.leaves(observation), _leaves(spec), strict=True)
    ]
    return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis=-1)


def example_observation(spec: ArrayTree) -> ArrayTree:
    """Zeros as a spec says, with one leading axis of length 1."""

    def zeros(leaf: ArraySpec) -> jax.Array:
        return jnp.zeros((1, *leaf.shape), leaf.dtype)

    return jax.tree.map(zeros, spec, is_leaf=_is_leaf)


def _is_leaf(node: Any) -> bool:
    return isinstance(node, ArraySpec)


def _leaves(spec: ArrayTree) -> list[ArraySpec]:
    return jax.tree.leaves(spec, is_leaf=_is_leaf)


def _num_choices(leaf: ArraySpec) -> int | None:
    """How many values a choice has, None of anything else."""
    if leaf.shape or not jnp.issubdtype(leaf.dtype, jnp.integer):
        return None
    if leaf.low is None or leaf.high is None:
        return None
    number = int(leaf.high) - int(leaf.low) + 1
    return number if number <= MAX_CHOICES else None


def _num_features(leaf: ArraySpec) -> int:
    return _num_choices(leaf) or math.prod(leaf.shape)


def _prepare_leaf(array: jax.Array, leaf: ArraySpec, flat: bool) -> jax.Array:
    """One array as [..., F], or as [..., H, W, C] where not flat."""
    choices = _num_choices(leaf)
    if choices is not None:
        return jax.nn.one_hot(array - int(leaf.low), choices, dtype=jnp.float32)
    leading = array.shape[: array.ndim - len(leaf.shape)]
    array = jnp.asarray(array).astype(jnp.float32)
    scale = _image_scale(leaf)
    array = array if scale == 1.0 else array * (1.0 / scale)
    if flat:
        return array.reshape(*leading, math.prod(leaf.shape))
    return jnp.moveaxis(array, -3, -1) if leaf.channels_first else array


def _image_shape(leaf: ArraySpec) -> tuple[int, ...]:
    """(H, W, C), whichever of them stands first."""
    if not leaf.channels_first:
        return tuple(leaf.shape)
    channels, height, width = leaf.shape
    return height, width, channels


def _image_scale(leaf: ArraySpec) -> float:
    """What an integer image is divided by: the end of its range."""
    if len(leaf.shape) != 3 or not jnp.issubdtype(leaf.dtype, jnp.integer):
        return 1.0
    if leaf.high is None:
        return 255.0 if jnp.dtype(leaf.dtype) == jnp.uint8 else 1.0
    high = float(np.max(leaf.high))
    return high if 1.0 < high <= 255.0 else 1.0
