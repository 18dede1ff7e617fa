"""The dense layer equals flax's own in value and gradient, whatever the shapes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxrl_dist.networks.dense import Dense, dense_dot_general

SIZES = [(1, 1), (4, 64), (64, 64), (64, 3), (33, 7)]
LEADING = [(), (5,), (3, 4), (2, 30, 2)]


def value_and_gradients(layer, inputs: jax.Array):
    """Outputs, and gradients of a loss to parameters and inputs."""
    params = nn.Dense(layer.features).init(jax.random.key(0), inputs)
    params = jax.tree.map(lambda x: x + 0.1, params)

    @jax.jit
    def loss(params, inputs):
        outputs = layer.apply(params, inputs)
        return jnp.sum(jnp.sin(outputs)), outputs

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, inputs)


def assert_close(got, expected, rtol=1e-4, atol=1e-5):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol),
        got,
        expected,
    )


@pytest.mark.parametrize(("features", "units"), SIZES)
@pytest.mark.parametrize("leading", LEADING)
def test_value_and_gradients_equal_those_of_flax(features, units, leading):
    inputs = jax.random.normal(jax.random.key(1), (*leading, features))
    got = value_and_gradients(Dense(units), inputs)
    assert_close(got, value_and_gradients(nn.Dense(units), inputs))


@pytest.mark.parametrize("units", [3, 24])
def test_vmap_over_inputs_and_kernels_equals_a_loop(units):
    inputs = jax.random.normal(jax.random.key(1), (3, 6, 5))
    kernels = jax.random.normal(jax.random.key(2), (3, 5, units))

    def gradient(inputs, kernel):
        dimensions = (((1,), (0,)), ((), ()))
        return jax.grad(
            lambda k: jnp.sum(dense_dot_general(inputs, k, dimensions) ** 3)
        )(kernel)

    got = jax.jit(jax.vmap(gradient))(inputs, kernels)
    expected = [gradient(i, k) for i, k in zip(inputs, kernels, strict=True)]
    assert_close(got, jnp.stack(expected), atol=1e-3)


@pytest.mark.parametrize("units", [3, 24])
def test_second_derivatives_equal_those_of_flax(units):
    inputs = jax.random.normal(jax.random.key(1), (6, 5))
    kernel = jax.random.normal(jax.random.key(2), (5, units))
    dimensions = (((1,), (0,)), ((), ()))

    def penalty(dot_general, kernel):
        def loss(kernel):
            return jnp.mean(jnp.tanh(dot_general(inputs, kernel, dimensions)) ** 2)

        return jnp.sum(jax.grad(loss)(kernel) ** 2)

    got = jax.grad(lambda k: penalty(dense_dot_general, k))(kernel)
    assert_close(got, jax.grad(lambda k: penalty(lax.dot_general, k))(kernel))


def test_the_gradient_is_the_same_inside_a_compiled_loop():
    inputs = jax.random.normal(jax.random.key(1), (10, 8, 5))
    kernel = jax.random.normal(jax.random.key(2), (5, 16))
    dimensions = (((1,), (0,)), ((), ()))

    def train(dot_general):
        def loss(kernel, rows):
            return jnp.mean(dot_general(rows, kernel, dimensions) ** 2)

        def step(kernel, rows):
            return kernel - 0.01 * jax.grad(loss)(kernel, rows), None

        return jax.jit(lambda k: lax.scan(step, k, inputs)[0])(kernel)

    assert_close(train(dense_dot_general), train(lax.dot_general))


def test_products_of_other_forms_are_passed_on():
    left, right = jnp.arange(6.0).reshape(2, 3), jnp.arange(8.0).reshape(2, 4)
    got = dense_dot_general(left, right, (((0,), (0,)), ((), ())))
    np.testing.assert_allclose(got, left.T @ right)


def test_the_result_has_the_element_type_asked_for():
    left, right = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)
    dimensions = (((1,), (0,)), ((), ()))
    assert dense_dot_general(left, right, dimensions).dtype == jnp.bfloat16
    wide = dense_dot_general(
        left, right, dimensions, preferred_element_type=jnp.float32
    )
    assert wide.dtype == jnp.float32


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_only_programs_for_a_cpu_transpose_explicitly(platform):
    def gradient(rows, kernel):
        return jax.grad(
            lambda k: dense_dot_general(rows, k, (((1,), (0,)), ((), ()))).sum()
        )(kernel)

    traced = jax.jit(gradient).trace(jnp.ones((8, 4)), jnp.ones((4, 32)))
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("optimization_barrier" in program) == (platform == "cpu")
