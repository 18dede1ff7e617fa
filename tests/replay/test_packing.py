"""Rows survive packing bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.replay import packing
from jaxrl_dist.types import Trajectory
from tests.replay.model import make_rows

KINDS = ["bool_", "int8", "uint8", "int16", "float16", "bfloat16", "int32", "float32"]


def through_words(rows: Trajectory, observation_dtype: str | None = None) -> Trajectory:
    """Packs rows [T, B, ...] and unpacks them."""
    words = packing.pack(rows, observation_dtype)
    blank = packing.blank_row(jax.tree.map(lambda x: x[0], rows))
    layout = packing.layout_of(blank, observation_dtype)
    assert words.shape[-1] == layout.word_units * layout.num_words
    return packing.unpack(
        lambda a, b, convert: convert(words[..., a:b]),
        blank,
        observation_dtype,
    )


def assert_same_bits(got: Trajectory, expected: Trajectory) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(), (3,), (40, 4)])
def test_every_type_comes_back_bit_for_bit(kind, size):
    dtype = getattr(jnp, kind)
    rows = jax.tree.map(jnp.asarray, make_rows(3, 2))
    raw = np.random.default_rng(0).integers(0, 256, (3, 2, *size, 4)).astype(np.uint8)
    if kind == "bool_":
        column = jnp.asarray(raw[..., 0] > 127)
    else:
        units = raw[..., : jnp.dtype(dtype).itemsize]
        column = jnp.asarray(np.ascontiguousarray(units).view(dtype)[..., 0])
    rows = rows._replace(extras=(column, rows.extras))
    assert_same_bits(through_words(rows), rows)


def test_columns_without_numbers_come_back():
    rows = make_rows(3, 2)._replace(extras=np.zeros((3, 2, 0), np.float32), memory=())
    rows = jax.tree.map(jnp.asarray, rows)
    assert_same_bits(through_words(rows), rows)


@pytest.mark.parametrize("kind", ["uint8", "float16", "bfloat16"])
def test_observations_are_stored_smaller_and_come_back_in_their_type(kind):
    rows = jax.tree.map(jnp.asarray, make_rows(3, 2))
    whole = jnp.broadcast_to(jnp.arange(100.0), (3, 2, 100))
    rows = rows._replace(observation=whole)
    assert_same_bits(through_words(rows, kind), rows)
    saved = packing.pack(rows, None).nbytes - packing.pack(rows, kind).nbytes
    assert saved >= 50 * 4 * 3 * 2


@pytest.mark.parametrize(
    ("kind", "extra", "expected"),
    [
        ("uint8", (), jnp.uint8),
        ("bool_", (), jnp.uint8),
        ("uint8", np.zeros((3, 2, 100), np.float32), jnp.uint32),
        ("float16", (), jnp.uint32),
    ],
)
def test_rows_are_bytes_where_all_large_columns_are(kind, extra, expected):
    rows = make_rows(3, 2)._replace(
        observation=np.zeros((3, 2, 100), jnp.dtype(kind)), extras=extra, memory=()
    )
    rows = jax.tree.map(jnp.asarray, rows)
    assert packing.pack(rows, None).dtype == expected
    assert_same_bits(through_words(rows), rows)


def test_a_cartpole_row_takes_seven_words():
    rows = make_rows(1, 1)._replace(
        observation=np.zeros((1, 1, 4), np.float32), extras=(), memory=()
    )
    assert packing.pack(jax.tree.map(jnp.asarray, rows), None).shape[-1] == 7
