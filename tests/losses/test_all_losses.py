"""What holds of every loss: batches, types, gradients, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.catalogue import (
    ENTRIES,
    OVER_TIME,
    RECURRENT,
    WITHOUT_ARRAYS,
    call,
)


def each(entries):
    return pytest.mark.parametrize("entry", entries, ids=lambda e: e.function.__name__)


BY_ELEMENT = [entry for entry in ENTRIES if entry.batch_axis is not None]


# One factor of each product is fixed, so the slope is not that of the value; what it is
# is tested with the function.
PARTLY_STOPPED = {
    (losses.kl_constraint_loss, "kl"),
    (losses.kl_constraint_loss, "multiplier"),
}


# Atoms to project on: there may be any number of them.
ANY_NUMBER = {"target_atoms"}


def floating(arrays):
    return {name: a for name, a in arrays.items() if a.dtype == np.float64}


def at_batch_index(entry, arrays, change):
    """Changes the arrays that have a batch axis, along it."""
    return {
        name: array
        if name in entry.shared
        else change(array, axis=entry.batch_axes.get(name, entry.batch_axis))
        for name, array in arrays.items()
    }


def names_with_own_axis(entry):
    """Arrays [B, A], [B, N] and the like, of functions without time."""
    if entry in OVER_TIME:
        return []
    batched = set(entry.arrays) - entry.shared
    return [name for name in batched if entry.arrays[name].ndim > 1]


def batch_axis_of_result(entry, result):
    """Of time and batch, results without time keep the batch."""
    return min(entry.batch_axis, result.ndim - 1)


def weighed_sum(results):
    """A number that every entry of every result changes in its own way."""
    leaves = jax.tree.leaves(results)
    return sum(
        jnp.sum(leaf * (1.0 + 0.1 * np.arange(leaf.size)).reshape(leaf.shape))
        for leaf in leaves
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


@each(ENTRIES)
def test_gradients_flow_where_they_should_and_are_those_of_finite_differences(entry):
    names = list(floating(entry.arrays))
    fixed = {n: a for n, a in entry.arrays.items() if n not in names}

    @jax.jit
    def total(arrays):
        return weighed_sum(call(entry, fixed | arrays))

    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(entry.arrays[name]) for name in names}
        slopes = jax.grad(total)(arrays)
        flows_into = {name for name in names if jnp.any(slopes[name] != 0)}
        assert flows_into == entry.flows_into
        for name in flows_into:
            direction = np.random.default_rng(3).normal(size=arrays[name].shape)
            step = 1e-6 * direction
            rise = total(arrays | {name: arrays[name] + step}) - total(
                arrays | {name: arrays[name] - step}
            )
            slope = jnp.sum(slopes[name] * direction)
            if (entry.function, name) in PARTLY_STOPPED:
                continue
            np.testing.assert_allclose(slope, rise / 2e-6, rtol=1e-4, atol=1e-6)


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


@each(ENTRIES)
def test_integers_are_refused_by_name_wherever_numbers_are_expected(entry):
    for name in floating(entry.arrays):
        if entry.arrays[name].ndim == 0 and name not in {"log_temperature", "kl"}:
            continue  # a setting: 1 is as good as 1.0
        arrays = entry.arrays | {name: np.ones(entry.arrays[name].shape, np.int32)}
        shown = "values" if name == "values" else name
        with pytest.raises(
            ValueError, match=f"^{shown} must be of a floating type, got"
        ):
            call(entry, arrays)


@each(ENTRIES)
def test_an_array_of_another_shape_is_refused_and_some_name_is_told(entry):
    batched = set(entry.arrays) - entry.shared
    for name, array in entry.arrays.items():
        # A batch may have any size, if no other array says which; a setting has none.
        if array.ndim == 0 or batched == {name} or name in ANY_NUMBER:
            continue
        # Twice as long along the first axis: never a broadcast.
        arrays = entry.arrays | {name: np.concatenate([array, array])}
        with pytest.raises(ValueError, match="has shape|must be|must have"):
            call(entry, arrays)


@each(OVER_TIME)
def test_an_empty_time_axis_and_none_at_all_are_refused(entry):
    for shorten in (lambda a: a[:0], lambda a: a[0, 0]):
        arrays = {
            name: array
            if name in entry.shared or name in entry.batch_axes
            else shorten(array)
            for name, array in entry.arrays.items()
        }
        with pytest.raises(ValueError, match="needs at least one step|at least 2 axes"):
            call(entry, arrays)


@each([entry for entry in ENTRIES if names_with_own_axis(entry)])
def test_an_array_without_the_axis_it_needs_is_refused_by_name(entry):
    """All arrays without axes: actions, atoms, quantiles, critics are then missing."""
    needing = names_with_own_axis(entry)
    arrays = {
        name: array if name in entry.shared else array.ravel()[0]
        for name, array in entry.arrays.items()
    }
    with pytest.raises(ValueError, match="|".join(f"^{name} must" for name in needing)):
        call(entry, arrays)


@each([entry for entry in ENTRIES if "ends" in entry.arrays])
def test_ends_that_are_not_bool_are_refused(entry):
    arrays = entry.arrays | {"ends": entry.arrays["ends"].astype(np.float32)}
    with pytest.raises(ValueError, match="ends must be of type bool, got float32"):
        call(entry, arrays)


EXTREMES = {
    "logits": 1e4,
    "other_logits": 1e4,
    "next_logits": 1e4,
    "next_selector": 1e6,
    "log_ratios": 50.0,
}


@each(ENTRIES)
def test_values_and_gradients_are_finite_at_extremes(entry):
    """Logits of +-1e4, ratios of exp(+-50), everything in reward units at 1e6."""
    by_name = {
        "rewards": 1e6, "values": 1e6, "next_values": 1e6, "targets": 1e6,
        "old_values": 1e6, "advantages": 1e6, "q_values": 1e6, "next_q_values": 1e6,
        "next_state_values": 1e6, "quantiles": 1e6, "target_quantiles": 1e6,
        "next_quantiles": 1e6, "errors": 1e6, "next_q_selector": 1e6,
        "target_q_values": 1e6, "action_gradients": 1e6, "bootstrap_value": 1e6,
        **EXTREMES,
    }  # fmt: skip
    arrays = {
        name: np.sign(array) * by_name[name] if name in by_name else array
        for name, array in entry.arrays.items()
    }
    names = list(floating(arrays))

    @jax.jit
    def total(given):
        results = call(entry, arrays | given)
        return weighed_sum(results), results

    given = {name: jnp.asarray(arrays[name], jnp.float32) for name in names}
    slopes, results = jax.grad(total, has_aux=True)(given)
    products = {losses.importance_corrected_n_step_returns, losses.leaky_vtrace}
    if entry.function in products:
        # Uncapped ratios multiply: that is what capping is for.
        given["log_ratios"] = given["log_ratios"] / 5
        slopes, results = jax.grad(total, has_aux=True)(given)
    for leaf in jax.tree.leaves((slopes, results)):
        assert jnp.isfinite(leaf).all()
