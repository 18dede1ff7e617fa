"""Small types are added up in float32, and answered in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from jaxrl_dist.losses.precision import widen


@pytest.mark.parametrize(
    ("given", "answer", "wide"),
    [
        ([jnp.bfloat16], jnp.bfloat16, jnp.float32),
        ([jnp.bfloat16, jnp.float32], jnp.float32, jnp.float32),
        ([jnp.float32], jnp.float32, jnp.float32),
        ([jnp.float64, jnp.float32], jnp.float64, jnp.float64),
    ],
)
def test_types(given, answer, wide):
    with jax.enable_x64(True):
        dtype, arrays = widen(*(jnp.ones(2, each) for each in given))
    assert dtype == answer
    assert [array.dtype for array in arrays] == [wide] * len(given)


def test_a_long_sum_of_bfloat16_does_not_stop_growing():
    """In bfloat16 itself, 256 + 1 is 256."""
    num_steps = 1000
    got = losses.discounted_returns(
        rewards=jnp.ones(num_steps, jnp.bfloat16),
        discounts=jnp.ones(num_steps, jnp.bfloat16),
        bootstrap_value=jnp.zeros((), jnp.bfloat16),
    )
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(got[0]), 1000, rtol=1e-2)
