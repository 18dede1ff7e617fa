"""How many devices a batch runs on, and what functions compiled for them see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.distribution import devices


@pytest.mark.parametrize(
    ("batch_size", "number"),
    [(8, 4), (4, 4), (6, 3), (2, 2), (10, 2), (7, 1), (1, 1), (9, 3)],
)
def test_as_many_devices_are_taken_as_the_batch_divides_over(batch_size, number):
    assert jax.local_device_count() == 4
    assert devices.choose_number(batch_size) == number


@pytest.mark.parametrize("asked", [1, 2, 4])
def test_a_number_that_fits_is_taken(asked):
    assert devices.choose_number(8, asked) == asked


@pytest.mark.parametrize("asked", [0, -1, 5])
def test_a_number_that_is_not_there_is_refused(asked):
    message = f"num_devices is {asked}, but .*; 1 to 4 would do"
    with pytest.raises(ValueError, match=message):
        devices.choose_number(8, asked)


def test_a_number_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="is 4, over which 6 .*; 1, 2, 3 would do"):
        devices.choose_number(6, 4)


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_each_device_works_on_its_share_and_sees_the_others(num_devices):
    def both(x: jax.Array, shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x + shift, jax.lax.psum(x.sum(), devices.AXIS_NAME)

    function = devices.compile_for(num_devices, both, in_axes=(0, None))
    x = jnp.arange(8.0).reshape(num_devices, -1)
    shifted, total = function(x, jnp.float32(1.0))
    np.testing.assert_array_equal(shifted, x + 1.0)
    np.testing.assert_array_equal(total, [28.0] * num_devices)
    assert len(shifted.sharding.device_set) == num_devices


def test_memory_of_donated_arguments_is_reused():
    place = devices.compile_for(2, lambda x: (x, x + 1.0))
    x, y = place(jnp.ones((2, 3)))
    devices.compile_for(2, lambda x, y: (x + y, y), donate=(0,))(x, y)
    assert x.is_deleted() and not y.is_deleted()


@pytest.mark.parametrize(
    ("gradient_rows", "number"), [(64, 1), (511, 1), (512, 2), (1024, 4), (1 << 20, 4)]
)
def test_a_cpu_takes_no_more_devices_than_small_minibatches_are_worth(
    gradient_rows, number
):
    assert devices.choose_number(8, gradient_rows=gradient_rows) == number
    assert devices.choose_number(8, 2, gradient_rows=gradient_rows) == 2
