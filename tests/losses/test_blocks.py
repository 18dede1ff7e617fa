"""Columns are added in order, whatever the size of a block."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.losses.blocks import fold_columns


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 8, 11])
def test_all_columns_are_added_once_and_in_order(number):
    digits = jnp.arange(1.0, number + 1)
    got = fold_columns(
        lambda sums, column: sums * 2 + column, jnp.zeros(()), digits, max_block=4
    )
    expected = 0.0
    for digit in range(1, number + 1):
        expected = expected * 2 + digit
    np.testing.assert_array_equal(got, expected)
