"""The argument checks name the argument, what was given and what was expected."""

import jax.numpy as jnp
import pytest

from jaxrl_dist import checks


def test_equal_shapes_pass():
    checks.check_same_shape(rewards=jnp.zeros((3, 2)), values=jnp.ones((3, 2)))


def test_the_array_that_differs_is_named():
    with pytest.raises(ValueError, match=r"values has shape \(2,\), but rewards has"):
        checks.check_same_shape(rewards=jnp.zeros(3), values=jnp.zeros(2))


def test_the_minimum_itself_is_allowed():
    checks.check_at_least(1, num_envs=1)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        checks.check_at_least(1, num_envs=0)


def test_the_bound_itself_is_refused():
    checks.check_above(0, learning_rate=1e-9)
    with pytest.raises(ValueError, match="learning_rate must be above 0, got 0"):
        checks.check_above(0, learning_rate=0)


def test_both_ends_of_a_range_are_allowed():
    checks.check_in_range(0, 1, gamma=0)
    checks.check_in_range(0, 1, gamma=1)
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\], got 1.5"):
        checks.check_in_range(0, 1, gamma=1.5)


@pytest.mark.parametrize("check", [checks.check_at_least, checks.check_above])
def test_nan_is_refused(check):
    with pytest.raises(ValueError, match="got nan"):
        check(0, learning_rate=float("nan"))
