"""Loops through the rows of a sequence, with the gradients that suit them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.networks.dense import kernel_gradient
from jaxrl_dist.types import ArrayTree

Gates = tuple[jax.Array, ...]  # [..., H] each
Cell = Callable[[Any, Gates, Gates], Any]  # (memory [B, H] before a row, its inputs
# times weights, hidden times kernel) to memory after it
MIN_ROWS_IN_PARALLEL = 32  # fewer are read one after another, also on an accelerator


def reset(memory: ArrayTree, is_first: jax.Array) -> ArrayTree:
    """Memory [B, ...] with zeros, the initial memory, where is_first [B]."""
    return jax.tree.map(lambda x: jnp.where(is_first[:, None], 0.0, x), memory)


def read_rows(
    cell: Cell, kernel: jax.Array, memory: Any, projected: Gates, is_first: jax.Array
) -> tuple[Any, jax.Array]:
    """Reads rows; a single one without a loop.

    Args:
        cell: what is done with the products of one row.
        kernel: [H, G * H] of the recurrent product.
        memory: [B, H] before the first row; `hidden` is also the output.
        projected: [T, B, H] for each of G gates, inputs times weights. Apart, because
            XLA on a CPU does not vectorise a loop that reads several slices of one row.
        is_first: [T, B] bool.
    """
    if len(is_first) == 1:
        now = jax.tree.map(lambda x: x[0], (projected, is_first))
        memory, _ = _read_row(cell, kernel, memory, *now)
        return memory, memory.hidden[None]
    return _scan_rows(cell, kernel, memory, projected, is_first)


def _read_row(
    cell: Cell, kernel: jax.Array, memory: Any, projected: Gates, is_first: jax.Array
) -> tuple[Any, tuple[Any, Gates]]:
    """Memory after one row, and what its gradient needs: memory and product before."""
    memory = reset(memory, is_first)
    recurrent = split_gates(memory.hidden @ kernel, len(projected))
    return cell(memory, projected, recurrent), (memory, recurrent)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan_rows(
    cell: Cell, kernel: jax.Array, memory: Any, projected: Gates, is_first: jax.Array
) -> tuple[Any, jax.Array]:
    """Reads rows one after another; arguments and results as for `read_rows`."""
    return _scan_rows_forward(cell, kernel, memory, projected, is_first)[0]


def _scan_rows_forward(
    cell: Cell, kernel: jax.Array, memory: Any, projected: Gates, is_first: jax.Array
) -> tuple[tuple[Any, jax.Array], tuple]:
    def one_row(memory: Any, row: tuple) -> tuple[Any, tuple]:
        memory, before = _read_row(cell, kernel, memory, *row)
        return memory, (memory.hidden, before)

    memory, (outputs, before) = jax.lax.scan(one_row, memory, (projected, is_first))
    return (memory, outputs), (kernel, projected, is_first, before)


def _scan_rows_backward(cell: Cell, saved: tuple, gradients: tuple) -> tuple:
    """Gradients of all arguments.

    The derivative that JAX would find adds to the kernel's gradient row by row, which
    costs as much as the rest together; here it is one product after the loop.
    """
    kernel, projected, is_first, (memories, recurrent) = saved
    of_memory, of_outputs = gradients
    # Written out once; otherwise XLA may transpose it for every row.
    transposed = jax.lax.optimization_barrier(kernel.T)

    def one_row_back(later: Any, row: tuple) -> tuple[Any, tuple]:
        of_output, is_first, *inputs = row
        later = later._replace(hidden=later.hidden + of_output)
        _, pull_back = jax.vjp(cell, *inputs)
        of_memory, of_projected, of_recurrent = pull_back(later)
        through_kernel = jnp.concatenate(of_recurrent, axis=-1) @ transposed
        of_memory = of_memory._replace(hidden=of_memory.hidden + through_kernel)
        return reset(of_memory, is_first), (of_projected, of_recurrent)

    rows = of_outputs, is_first, memories, projected, recurrent
    of_memory, (of_projected, of_recurrent) = jax.lax.scan(
        one_row_back, of_memory, rows, reverse=True
    )
    hidden = _flat(memories.hidden)
    of_kernel = [kernel_gradient(hidden, _flat(gate)) for gate in of_recurrent]
    of_is_first = np.zeros(is_first.shape, jax.dtypes.float0)
    return jnp.concatenate(of_kernel, axis=-1), of_memory, of_projected, of_is_first


_scan_rows.defvjp(_scan_rows_forward, _scan_rows_backward)


def linear_recurrence(
    factors: jax.Array, terms: jax.Array, initial: jax.Array
) -> jax.Array:
    """Computes h_t = factors_t h_{t-1} + terms_t, [T, B, H], from h_{-1} [B, H] on.

    On a CPU row by row, which takes fewer passes over memory than in parallel.
    """
    if len(terms) == 1:
        return factors * initial[None] + terms
    if jax.default_backend() == "cpu" or len(terms) < MIN_ROWS_IN_PARALLEL:

        def one_row(before: jax.Array, row: tuple) -> tuple[jax.Array, jax.Array]:
            factor, term = row
            now = factor * before + term
            return now, now

        return jax.lax.scan(one_row, initial, (factors, terms))[1]

    def join(early: tuple, late: tuple) -> tuple[jax.Array, jax.Array]:
        (factor, term), (late_factor, late_term) = early, late
        return factor * late_factor, late_factor * term + late_term

    factors, terms = jax.lax.associative_scan(join, (factors, terms))
    return factors * initial[None] + terms


def split_gates(gates: jax.Array, number: int) -> Gates:
    """The gates [..., H] that stand side by side in [..., G * H]."""
    return tuple(jnp.split(gates, number, axis=-1))


def _flat(rows: jax.Array) -> jax.Array:
    """Rows [T, B, H] as [T * B, H]."""
    return rows.reshape(-1, rows.shape[-1])
