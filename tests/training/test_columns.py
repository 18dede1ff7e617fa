"""Trees of arrays that travel as bytes come back as they were."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_dist.training.columns import columns_of


class Pair(NamedTuple):
    """Two things."""

    left: Any
    right: Any


def make_tree(*leading: int) -> Pair:
    random = np.random.default_rng(0)
    return Pair(
        {
            "pixels": random.integers(0, 256, (*leading, 2, 3)).astype(np.uint8),
            "flag": random.random(leading) < 0.5,
        },
        (np.asarray(random.normal(size=(*leading, 5)), np.float32), (), np.int64(7)),
    )


LIKE = make_tree()


def test_rows_come_back_bit_for_bit_with_any_axes_in_front():
    columns = columns_of(LIKE)
    assert columns.num_bytes == 6 + 1 + 20 + 8
    for leading in ((), (4,), (3, 4)):
        tree = make_tree(*leading)
        tree = tree._replace(right=(*tree.right[:2], np.full(leading, 7, np.int64)))
        packed = columns.pack(tree)
        assert packed.shape == (*leading, columns.num_bytes)
        back = columns.unpack(packed)
        assert jax.tree.structure(back) == jax.tree.structure(tree)
        for got, sent in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
            assert got.dtype == sent.dtype
            np.testing.assert_array_equal(got, sent)


def test_half_the_bytes_are_those_of_bfloat16():
    columns = columns_of(LIKE, in_bfloat16="right.0")
    assert columns.num_bytes == 6 + 1 + 10 + 8
    back = columns.unpack(columns.pack(LIKE))
    assert back.right[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(
        back.right[0].astype(np.float32), LIKE.right[0], rtol=1 / 128
    )
    np.testing.assert_array_equal(back.left["pixels"], LIKE.left["pixels"])
    assert columns_of(LIKE, in_bfloat16="left").num_bytes == 6 + 1 + 20 + 8


def test_another_layout_has_another_name_even_if_it_is_as_long():
    first = columns_of({"a": np.zeros(2, np.float32)})
    second = columns_of({"a": np.zeros(2, np.int32)})
    third = columns_of({"b": np.zeros(2, np.float32)})
    assert first.num_bytes == second.num_bytes == third.num_bytes
    assert len({first.key, second.key, third.key}) == 3
