"""The linear recurrence: both methods against a loop, and against each other."""

# Losses take NumPy arrays as well, and here settings come in dictionaries.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist import losses
from jaxrl_dist.losses import recurrence

METHODS = ("scan", "associative")


def draw(num_steps, batch_size=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "increments": rng.normal(size=(num_steps, batch_size)),
        "factors": rng.uniform(-1, 1, size=(num_steps, batch_size)),
        "initial": rng.normal(size=batch_size),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_steps", [1, 2, 7, 200])
def test_both_methods_match_a_loop(method, num_steps):
    arrays = draw(num_steps)
    with jax.enable_x64(True):
        got = losses.linear_recurrence(**arrays, scale=0.9, method=method)
    expected, later = np.zeros_like(got), arrays["initial"]
    for t in reversed(range(num_steps)):
        later = arrays["increments"][t] + 0.9 * arrays["factors"][t] * later
        expected[t] = later
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_both_methods_answer_in_the_type_of_the_arrays(method):
    arrays = jax.tree.map(lambda array: jnp.asarray(array, jnp.bfloat16), draw(3))
    assert losses.linear_recurrence(**arrays, method=method).dtype == jnp.bfloat16


def test_the_scale_is_1_unless_said():
    arrays = draw(3)
    np.testing.assert_array_equal(
        losses.linear_recurrence(**arrays),
        losses.linear_recurrence(**arrays, scale=1.0),
    )


@pytest.mark.parametrize("num_steps", [1, 33])
def test_both_methods_have_the_same_gradient(num_steps):
    arrays = jax.tree.map(jnp.asarray, draw(num_steps))
    weights = np.random.default_rng(1).normal(size=(num_steps, 3))

    def total(arrays, scale, method):
        solved = losses.linear_recurrence(**arrays, scale=scale, method=method)
        return jnp.sum(weights * solved)

    by_scan, by_association = (
        jax.grad(total, argnums=(0, 1))(arrays, 0.9, method) for method in METHODS
    )
    assert all(jnp.any(each) for each in jax.tree.leaves(by_scan))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        by_scan,
        by_association,
    )


def test_a_method_can_be_forced_and_is_seen_in_the_program():
    arrays = jax.tree.map(jnp.asarray, draw(5))
    for method, loops in (("scan", True), ("associative", False)):
        program = jax.make_jaxpr(
            lambda arrays, method=method: losses.linear_recurrence(
                **arrays, method=method
            )
        )(arrays)
        assert ("scan" in str(program)) == loops


@pytest.mark.parametrize("num_steps", [1, 16, 1000])
@pytest.mark.parametrize(
    ("backend", "method"),
    [("cpu", "scan"), ("gpu", "associative"), ("tpu", "associative")],
)
def test_the_default_method_suits_the_backend(monkeypatch, backend, num_steps, method):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert recurrence.default_method() == method
    program = jax.make_jaxpr(lambda arrays: losses.linear_recurrence(**arrays))(
        jax.tree.map(jnp.asarray, draw(num_steps))
    )
    assert ("scan" in str(program)) == (method == "scan")


def test_an_unknown_method_is_refused():
    with pytest.raises(
        ValueError, match="method must be 'scan', 'associative' or None"
    ):
        losses.linear_recurrence(**draw(3), method="fast")


def test_an_initial_value_of_another_shape_is_refused():
    arrays = draw(3) | {"initial": np.zeros(2)}
    with pytest.raises(ValueError, match=r"initial has shape \(2,\)"):
        losses.linear_recurrence(**arrays)


def test_a_scale_must_be_one_number():
    with pytest.raises(ValueError, match=r"scale has shape \(3,\), expected \(\)"):
        losses.linear_recurrence(**draw(3), scale=np.ones(3))


def test_windows_longer_than_one_pass_are_solved_too():
    num_steps, n = 50, 40
    rng = np.random.default_rng(0)
    increments, factors, beyond = rng.uniform(-1, 1, size=(3, num_steps))
    got = recurrence.fold_windows(
        increments=jnp.asarray(increments),
        factors=jnp.asarray(factors),
        beyond=jnp.asarray(beyond),
        n=n,
    )
    for start in range(num_steps):
        last = start + n - 1
        later = beyond[last] if last < num_steps else 0.0
        for t in reversed(range(start, min(last + 1, num_steps))):
            later = increments[t] + factors[t] * later
        np.testing.assert_allclose(got[start], later, rtol=1e-4, atol=1e-5)
