"""What torsos get to read of observations of every kind."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks.observations import (
    example_observation,
    prepare,
    prepared_shape,
)
from jaxrl_dist.types import ArraySpec

PIXELS = ArraySpec((4, 5, 3), np.uint8, 0, 255)
CELLS = ArraySpec((4, 5, 3), np.float32, 0, 1)


@pytest.mark.parametrize("leading", [(), (2,), (6, 2)])
def test_pixels_are_divided_by_255_after_any_leading_axes(leading):
    pixels = np.random.default_rng(0).integers(0, 256, (*leading, 4, 5, 3), np.uint8)
    got = prepare(jnp.asarray(pixels), PIXELS, flat=False)
    np.testing.assert_allclose(got, pixels / 255.0, rtol=1e-6)
    assert got.dtype == jnp.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, bool, np.float32])
def test_zeros_and_ones_are_only_cast_whatever_they_are_stored_as(dtype):
    cells = np.random.default_rng(0).integers(0, 2, (2, 4, 5, 3)).astype(dtype)
    got = prepare(jnp.asarray(cells), CELLS, flat=True)
    np.testing.assert_array_equal(got, cells.reshape(2, 60))
    assert got.dtype == jnp.float32


def test_unsigned_bytes_of_unknown_range_are_pixels():
    got = prepare(
        jnp.full((4, 5, 3), 255, jnp.uint8), PIXELS._replace(high=None), flat=False
    )
    np.testing.assert_allclose(got, 1.0, rtol=1e-6)


def test_flat_integers_are_quantities_and_keep_their_size():
    got = prepare(jnp.array([3, 200]), ArraySpec((2,), np.int32, 0, 255), flat=True)
    np.testing.assert_array_equal(got, [3.0, 200.0])


def test_a_single_integer_with_a_range_is_a_choice_and_becomes_one_hot():
    spec = ArraySpec((), np.int32, 2, 5)
    got = prepare(jnp.array([2, 5]), spec, flat=True)
    np.testing.assert_array_equal(got, np.eye(4)[[0, 3]])
    assert prepared_shape(spec).shape == (4,)


def test_nested_observations_are_flattened_and_concatenated_in_tree_order():
    spec = {"a": ArraySpec((2,), np.float32), "b": (ArraySpec((2, 2), np.float32),)}
    observation = {
        "a": jnp.array([[1.0, 2.0]]),
        "b": (jnp.arange(4.0).reshape(1, 2, 2),),
    }
    got = prepare(observation, spec, flat=True)
    np.testing.assert_array_equal(got, [[1, 2, 0, 1, 2, 3]])
    assert prepared_shape(spec).shape == (6,)


def test_one_image_stays_one_and_an_image_among_others_is_flattened():
    assert prepared_shape(PIXELS).is_image
    assert prepared_shape({"a": PIXELS, "b": CELLS}).shape == (120,)


def test_a_spec_without_arrays_is_refused():
    with pytest.raises(ValueError, match="holds no array"):
        prepared_shape({})


def test_the_example_has_the_shapes_and_types_of_the_spec():
    example = example_observation({"a": PIXELS})
    assert example["a"].shape == (1, 4, 5, 3)
    assert example["a"].dtype == jnp.uint8


def test_an_image_whose_channels_stand_first_is_read_as_any_other():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 4, 5, 3), np.uint8)
    first = ArraySpec((3, 4, 5), np.uint8, 0, 255, channels_first=True)
    assert prepared_shape(first) == prepared_shape(PIXELS)
    np.testing.assert_array_equal(
        prepare(jnp.asarray(np.moveaxis(pixels, -1, -3)), first, flat=False),
        prepare(jnp.asarray(pixels), PIXELS, flat=False),
    )
