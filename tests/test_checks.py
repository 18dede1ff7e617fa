"""The argument checks name the argument, what was given and what was expected."""

import jax
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


@pytest.mark.parametrize(
    "check",
    [
        lambda x: checks.check_at_least(1, num_envs=x),
        lambda x: checks.check_above(1, num_envs=x),
        lambda x: checks.check_in_range(1, 2, num_envs=x),
        lambda x: checks.check_actions(batch_shape=(), num_actions=3, action=x),
    ],
)
def test_values_that_are_traced_are_not_checked(check):
    with pytest.raises(ValueError, match="num_envs|action"):
        check(-1)
    jax.jit(lambda x: check(x))(-1)


def test_integers_and_flags_are_not_floating():
    checks.check_floating(rewards=jnp.ones(2, jnp.bfloat16), values=jnp.ones(2))
    with pytest.raises(
        ValueError, match="rewards must be of a floating type, .* int32"
    ):
        checks.check_floating(rewards=jnp.ones(2, int))
    with pytest.raises(ValueError, match="rewards must be of a floating type, .* bool"):
        checks.check_floating(rewards=jnp.ones(2, bool))


def test_a_shape_that_was_expected_is_told():
    checks.check_shape((2, 3), values=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"values has shape \(3,\), expected \(2, 3\)"):
        checks.check_shape((2, 3), values=jnp.ones(3))


def test_too_few_axes_are_refused():
    checks.check_rank(2, logits=jnp.ones((1, 1)))
    with pytest.raises(ValueError, match=r"logits must have at least 2 axes, .*\(1,\)"):
        checks.check_rank(2, logits=jnp.ones(1))


def test_steps_need_a_time_axis_flags_for_ends_and_one_shape():
    rewards = jnp.ones((2, 3))
    checks.check_steps(rewards=rewards, ends=rewards > 0)
    checks.check_steps(rewards=rewards, values=rewards)
    for empty in (jnp.ones(()), jnp.ones((0, 3))):
        with pytest.raises(ValueError, match="rewards needs at least one step"):
            checks.check_steps(rewards=empty)
    with pytest.raises(ValueError, match="ends must be of type bool, got float32"):
        checks.check_steps(rewards=rewards, ends=rewards)
    with pytest.raises(ValueError, match=r"ends has shape \(2,\), but rewards has"):
        checks.check_steps(rewards=rewards, ends=jnp.ones(2, bool))
    with pytest.raises(ValueError, match=r"values has shape \(2,\), but rewards has"):
        checks.check_steps(rewards=rewards, values=jnp.ones(2))


def test_actions_are_integers_in_range():
    checks.check_actions(batch_shape=(2,), num_actions=3, actions=jnp.array([0, 2]))
    checks.check_actions(batch_shape=(0,), num_actions=3, actions=jnp.ones(0, int))
    for wrong in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"actions must be in \[0, 3\), got"):
            checks.check_actions(
                batch_shape=(2,), num_actions=3, actions=jnp.array(wrong)
            )
    with pytest.raises(ValueError, match="actions must be integers, got float32"):
        checks.check_actions(batch_shape=(2,), num_actions=3, actions=jnp.ones(2))
    with pytest.raises(ValueError, match=r"actions has shape \(2,\), expected \(1,\)"):
        checks.check_actions(batch_shape=(1,), num_actions=3, actions=jnp.ones(2, int))
