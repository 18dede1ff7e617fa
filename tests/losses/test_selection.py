"""Reading off what belongs to the chosen actions."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from jaxrl_dist.losses.selection import select


def test_values_of_the_given_actions_are_taken():
    q_values = np.arange(12.0).reshape(2, 2, 3)
    got = losses.action_values(q_values=q_values, actions=np.array([[0, 2], [1, 0]]))
    np.testing.assert_array_equal(got, [[0, 5], [7, 9]])


def test_rows_of_the_given_actions_are_taken():
    values = jnp.arange(12.0).reshape(2, 3, 2)
    got = select(values, jnp.array([2, 0]), axis=-2)
    np.testing.assert_array_equal(got, [[4, 5], [6, 7]])


def test_an_action_out_of_range_reads_nan_in_compiled_code():
    read = jax.jit(lambda a: losses.action_values(q_values=jnp.ones((1, 3)), actions=a))
    assert jnp.isnan(read(jnp.array([3]))).all()


def test_no_axis_of_actions_is_refused():
    with pytest.raises(ValueError, match="q_values must have at least 1 axes"):
        losses.action_values(q_values=jnp.ones(()), actions=jnp.array(0))


def test_an_empty_batch_has_no_action_out_of_range():
    got = losses.action_values(q_values=jnp.ones((0, 3)), actions=jnp.zeros(0, int))
    assert got.shape == (0,)


def test_a_batch_of_one_keeps_its_axes():
    got = losses.action_values(
        q_values=np.arange(3.0).reshape(1, 1, 3), actions=np.array([[2]])
    )
    assert got.shape == (1, 1)
