"""What holds of every loss: batches, types, methods and ends of episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.catalogue import (
    BY_ELEMENT,
    ENTRIES,
    OVER_TIME,
    RECURRENT,
    WITHOUT_ARRAYS,
)
from tests.losses.entries import (
    at_batch_index,
    batch_axis_of_result,
    call,
    each,
    floating,
)


def test_every_public_function_is_in_the_catalogue():
    names = {entry.function.__name__ for entry in ENTRIES}
    assert names | WITHOUT_ARRAYS == set(losses.__all__)


@each(BY_ELEMENT)
def test_one_element_alone_gives_what_it_gives_within_the_batch(entry):
    together = call(entry, entry.arrays)
    alone = call(
        entry,
        at_batch_index(entry, entry.arrays, lambda a, axis: np.take(a, 1, axis=axis)),
    )
    jax.tree.map(
        lambda whole, one: np.testing.assert_allclose(
            np.take(np.asarray(whole), 1, axis=batch_axis_of_result(entry, whole)),
            one,
            rtol=1e-4,
            atol=1e-5,
        ),
        together,
        alone,
    )


@each(BY_ELEMENT)
def test_permuting_the_batch_permutes_the_results(entry):
    order = np.array([2, 0, 1])
    moved = at_batch_index(
        entry, entry.arrays, lambda a, axis: np.take(a, order, axis=axis)
    )
    jax.tree.map(
        lambda whole, permuted: np.testing.assert_allclose(
            np.take(np.asarray(whole), order, axis=batch_axis_of_result(entry, whole)),
            permuted,
            rtol=1e-5,
            atol=1e-6,
        ),
        call(entry, entry.arrays),
        call(entry, moved),
    )


@each(BY_ELEMENT)
def test_vmap_and_jit_give_what_a_plain_call_gives(entry):
    axes = {
        name: None
        if name in entry.shared
        else entry.batch_axes.get(name, entry.batch_axis)
        for name in entry.arrays
    }
    plain = call(entry, entry.arrays)
    out_axes = jax.tree.map(lambda x: batch_axis_of_result(entry, x), plain)
    mapped = jax.vmap(
        lambda arrays: call(entry, arrays), in_axes=(axes,), out_axes=out_axes
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        plain,
        jax.jit(mapped)(entry.arrays),
    )


@each(ENTRIES)
def test_the_answer_has_the_type_of_the_arrays_and_bfloat16_is_near(entry):
    exact = call(entry, entry.arrays)
    for dtype in (jnp.bfloat16, jnp.float32):
        arrays = entry.arrays | {
            name: jnp.asarray(array, dtype)
            for name, array in floating(entry.arrays).items()
        }
        got = call(entry, arrays)
        assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype(dtype)}
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(
                np.float32(a), np.float32(b), rtol=0.1, atol=0.15
            ),
            exact,
            got,
        )
    with jax.enable_x64(True):
        got = call(entry, entry.arrays)
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype("float64")}


@each(ENTRIES)
def test_the_widest_of_the_types_is_answered_in(entry):
    """One array of float32 among bfloat16 makes float32, whichever it is."""
    names = list(floating(entry.arrays))
    for name in names:
        if entry.function is losses.masked_mean or name in entry.shared:
            continue  # answers in the type of one argument
        if "selector" in name:
            continue  # only its order counts
        if entry.batch_axis is None:
            continue
        arrays = entry.arrays | {
            other: jnp.asarray(
                entry.arrays[other], jnp.float32 if other == name else jnp.bfloat16
            )
            for other in names
        }
        results = jax.eval_shape(lambda given: call(entry, given), arrays)
        assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {
            np.dtype("float32")
        }, name


@each(RECURRENT)
def test_both_methods_give_the_same(entry):
    by_scan, by_association = (
        entry.function(**entry.arrays, **entry.settings, method=method)
        for method in ("scan", "associative")
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        by_scan,
        by_association,
    )
    with pytest.raises(ValueError, match="method must be"):
        entry.function(**entry.arrays, **entry.settings, method="neither")


@each([entry for entry in OVER_TIME if "ends" in entry.arrays])
def test_nothing_crosses_an_end(entry):
    """The first trajectory ends with step 2: steps 0 to 2 see none of 3 and 4."""
    changed = {
        name: array if name == "ends" else np.concatenate([array[:3], array[3:] * 0.5])
        for name, array in entry.arrays.items()
    }
    before, after = (
        jax.tree.leaves(call(entry, arrays)) for arrays in (entry.arrays, changed)
    )
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a[:3, 0], b[:3, 0])
        assert (a[3:] != b[3:]).all()
        # The other trajectories have no end there.
        if entry.function is not losses.gae:
            assert (a[2, 1:] != b[2, 1:]).any()
