"""Sums over pairs that never hold all pairs at once."""

from collections.abc import Callable
from typing import Any

import jax

# Columns per pass: enough to hide a pass's reads and writes behind arithmetic, few
# enough to compile quickly.
MAX_BLOCK = 64


def fold_columns(
    add: Callable[[Any, Any], Any],
    sums: Any,
    columns: Any,
    *,
    max_block: int = MAX_BLOCK,
) -> Any:
    """Adds columns to sums one after the other, many in each pass over the sums.

    Args:
        add: (sums, column) to sums; elementwise, so that one pass can do many.
        sums: where to start.
        columns: arrays [M, ...]; a column is what they hold at one index.
        max_block: most columns in one pass, at least 1.

    Returns:
        The sums with all columns added.
    """
    number = len(jax.tree.leaves(columns)[0])
    num_blocks = max(1, -(-number // max_block))
    size, rest = divmod(number, num_blocks)

    def add_all(sums: Any, block: Any) -> tuple[Any, None]:
        for index in range(len(jax.tree.leaves(block)[0])):
            sums = add(sums, jax.tree.map(lambda array, i=index: array[i], block))
        return sums, None

    sums, _ = add_all(sums, jax.tree.map(lambda array: array[:rest], columns))
    blocks = jax.tree.map(
        lambda array: array[rest:].reshape(num_blocks, size, *array.shape[1:]), columns
    )
    return jax.lax.scan(add_all, sums, blocks)[0]
