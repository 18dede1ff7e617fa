"""In which type a loss computes, and in which it answers."""

from typing import Any

import jax
import jax.numpy as jnp


def widen(*arrays: jax.Array) -> tuple[Any, list[jax.Array]]:
    """Brings arrays to one type that is wide enough to add up many numbers in.

    Args:
        *arrays: of floating types, any shapes.

    Returns:
        The type to answer in, which is the common type of the arrays, and the arrays
        in the type to compute in: float32 for bfloat16 and float16, else the same.
    """
    dtype = jnp.result_type(*arrays)
    wide = jnp.promote_types(dtype, jnp.float32)
    return dtype, [jnp.asarray(array, wide) for array in arrays]
