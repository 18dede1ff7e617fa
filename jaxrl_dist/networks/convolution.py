"""Convolutions that stay quick within a loop on a CPU, and small ones anywhere.

Within a compiled loop, XLA on a CPU computes the gradient of a convolution's kernel by
a plain loop nest: for 128 images of MinAtar's network, loss and gradient take 12 ms
there and 1.6 ms outside. As a product of patches and kernel, the same takes about as
long within a loop as outside. Other platforms have fast convolutions of their own, but
not for seeds side by side, whose kernels differ: they become one grouped convolution.
Where patches are small, a product of matrices serves there too.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxrl_dist.networks.dense import dense_dot_general

SPATIAL = 2  # axes of an image that are not channels
SMALL_PATCH = 128  # numbers that a kernel sees at once; MinAtar's has 36 to 90
# Where images [B, H, W, C] and kernels [h, w, C, U] have batch, channels and space.
CHANNELS_LAST = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def convolve(
    images: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    **options: Any,
) -> jax.Array:
    """The `lax.conv_general_dilated` of a layer; by patches on a CPU or if small.

    Equal to `lax.conv_general_dilated` up to rounding, in value and gradient. What is
    no plain convolution of images is left to it.

    Args:
        images: [B, H, W, C].
        kernel: [h, w, C, U].
        window_strides: of height and width.
        padding: "SAME", "VALID", or pairs of numbers for height and width.
        **options: of `lax.conv_general_dilated`.

    Returns:
        [B, H', W', U].
    """
    is_small = math.prod(kernel.shape[:-1]) <= SMALL_PATCH
    by_patches = is_small or jax.default_backend() == "cpu"
    if not (by_patches and _is_plain(images, options)):
        return lax.conv_general_dilated(
            images, kernel, window_strides, padding, **options
        )
    height, width, *channels = kernel.shape
    if isinstance(padding, str):
        shapes = images.shape[1 : 1 + SPATIAL], (height, width)
        padding = lax.padtype_to_pads(*shapes, window_strides, padding)
    images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    patches = patches_of(images, (height, width), window_strides)
    flat = kernel.reshape(-1, channels[-1])
    contracted = ((patches.ndim - 1,), (0,))
    return dense_dot_general(
        patches, flat, (contracted, ((), ())), options.get("precision")
    )


def patches_of(
    images: jax.Array, size: Sequence[int], strides: Sequence[int]
) -> jax.Array:
    """Lays out what a kernel sees at each place.

    Args:
        images: [B, H, W, C].
        size: height h and width w of the kernel.
        strides: in height and width.

    Returns:
        [B, H', W', h w C], without padding, in the order of a kernel [h, w, C].
    """
    ends = [
        total - extent + 1
        for total, extent in zip(images.shape[1 : 1 + SPATIAL], size, strict=True)
    ]
    shifted = [
        images[
            :,
            row : row + ends[0] : strides[0],
            column : column + ends[1] : strides[1],
        ]
        for row in range(size[0])
        for column in range(size[1])
    ]
    return jnp.concatenate(shifted, axis=-1)


def _is_plain(images: jax.Array, options: dict[str, Any]) -> bool:
    """Whether it is a convolution of images [B, H, W, C], one group, not dilated."""
    numbers = options.get("dimension_numbers")
    undilated = all(
        factor == 1
        for name in ("lhs_dilation", "rhs_dilation")
        for factor in options.get(name) or ()
    )
    return (
        images.ndim == 2 + SPATIAL
        and numbers == CHANNELS_LAST
        and undilated
        and options.get("feature_group_count", 1) == 1
        and options.get("batch_group_count", 1) == 1
        and options.get("preferred_element_type") in (None, images.dtype)
    )


Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)
