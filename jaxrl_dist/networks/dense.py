"""Dense layers whose weight gradient takes the fast path of XLA on a CPU.

XLA on a CPU multiplies matrices in two ways. The fast one takes products that contract
the left operand's last axis. The weight gradient of a dense layer, inputs^T gradients,
contracts the first axis and falls to the slow one, which takes two to three times as
long. Writing the transposed operand out first costs little; an optimization barrier
keeps XLA from folding the transposition into the product again.

`python -m experiments.speed.networks` measures what this brings.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def dense_dot_general(
    inputs: jax.Array,
    kernel: jax.Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """The `lax.dot_general` of a dense layer, with a faster weight gradient on a CPU.

    Equal to `lax.dot_general` up to rounding, in value and gradient. Nothing changes on
    other platforms, nor for products other than inputs [..., F] times kernel [F, U].
    Differentiable in reverse, any number of times; not in forward mode (`jax.jvp`).

    Args:
        inputs: [..., F].
        kernel: [F, U].
        dimension_numbers: as for `lax.dot_general`.
        precision: as for `lax.dot_general`.
        preferred_element_type: as for `lax.dot_general`.

    Returns:
        inputs @ kernel, [..., U].
    """
    is_dense_layer = (
        kernel.ndim == 2
        and _as_tuples(dimension_numbers) == (((inputs.ndim - 1,), (0,)), ((), ()))
        and inputs.dtype == kernel.dtype
        and preferred_element_type in (None, inputs.dtype)
    )
    if not is_dense_layer:
        return lax.dot_general(
            inputs, kernel, dimension_numbers, precision, preferred_element_type
        )
    rows = inputs.reshape(-1, inputs.shape[-1])
    outputs: jax.Array = _multiply(precision, rows, kernel)
    return outputs.reshape(*inputs.shape[:-1], kernel.shape[1])


Dense = functools.partial(nn.Dense, dot_general=dense_dot_general)


def kernel_gradient(
    rows: jax.Array, gradients: jax.Array, precision: Any = None
) -> jax.Array:
    """The gradient of a kernel [F, U], the faster way on each platform.

    Args:
        rows: [N, F] that the kernel was multiplied by.
        gradients: [N, U] of the product.
        precision: as for `lax.dot_general`.
    """
    return lax.platform_dependent(
        rows,
        gradients,
        cpu=functools.partial(_kernel_gradient_on_cpu, precision),
        default=functools.partial(_kernel_gradient, precision),
    )


def _as_tuples(dimension_numbers: Any) -> tuple:
    return tuple(tuple(tuple(axes) for axes in pair) for pair in dimension_numbers)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _multiply(precision: Any, rows: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies rows [N, F] by a kernel [F, U], [N, U]."""
    return jnp.dot(rows, kernel, precision=precision)


def _multiply_forward(precision: Any, rows: jax.Array, kernel: jax.Array) -> tuple:
    return _multiply(precision, rows, kernel), (rows, kernel)


def _multiply_backward(precision: Any, saved: tuple, gradients: jax.Array) -> tuple:
    """Gradients of rows and kernel for gradients [N, U] of the product."""
    rows, kernel = saved
    of_rows = jnp.dot(gradients, kernel.T, precision=precision)
    return of_rows, kernel_gradient(rows, gradients, precision)


_multiply.defvjp(_multiply_forward, _multiply_backward)


def _kernel_gradient(
    precision: Any, rows: jax.Array, gradients: jax.Array
) -> jax.Array:
    return jnp.dot(rows.T, gradients, precision=precision)


def _kernel_gradient_on_cpu(
    precision: Any, rows: jax.Array, gradients: jax.Array
) -> jax.Array:
    """The same; of the two ways, the one that transposes fewer numbers."""
    written = lax.optimization_barrier
    (num_rows, features), units = rows.shape, gradients.shape[1]
    if num_rows * features <= (num_rows + features) * units:
        return jnp.dot(written(rows.T), gradients, precision=precision)
    return written(jnp.dot(written(gradients.T), rows, precision=precision)).T
