"""Cores: episodes within a sequence, gradients, initial memories."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_dist.networks import recurrent, through_time
from jaxrl_dist.networks.recurrent import CORES, CoreConfig

T, B, FEATURES, SIZE = 7, 3, 4, 8
INPUTS = jax.random.normal(jax.random.key(0), (T, B, FEATURES))
# Ends in the middle, at different rows, also one right after another.
IS_FIRST = np.zeros((T, B), bool)
IS_FIRST[[3, 4], 0] = IS_FIRST[0, 1] = IS_FIRST[4, 1] = True
KINDS = tuple(CORES)
# Compiled once and run for moments, so what counts is the compiling.
quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@functools.cache
def make(kind: Any) -> tuple[Any, Any]:
    """A core and its parameters."""
    core = CoreConfig(kind, SIZE, longest_memory=10).build()
    assert core is not None
    memory = core.initial_memory(B)
    return core, quick(core.init)(jax.random.key(1), memory, INPUTS, IS_FIRST)


def some_memory(kind: str) -> Any:
    """Memory that is not the initial one."""
    zeros = make(kind)[0].initial_memory(B)
    return jax.tree.map(lambda x: x + jnp.linspace(-1.0, 1.0, SIZE)[None], zeros)


def assert_close(got: Any, wanted: Any) -> None:
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_of_episodes_is_read_as_each_episode_by_itself(kind):
    core, params = make(kind)
    read = quick(core.apply)
    memory = some_memory(kind)
    last, outputs = read(params, memory, INPUTS, jnp.asarray(IS_FIRST))
    for column in range(B):
        of_column = jax.tree.map(lambda x, b=column: x[b : b + 1], memory)
        starts = [0, *(t for t in range(1, T) if IS_FIRST[t, column]), T]
        for start, stop in zip(starts, starts[1:], strict=False):
            now = of_column
            if IS_FIRST[start, column]:
                now = core.initial_memory(1)
            rows = INPUTS[start:stop, column : column + 1]
            no_reset = jnp.zeros(rows.shape[:2], bool)
            end, alone = read(params, now, rows, no_reset)
            assert_close(outputs[start:stop, column : column + 1], alone)
            of_column = end
        assert_close(jax.tree.map(lambda x, b=column: x[b : b + 1], last), of_column)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_read_one_at_a_time_are_the_rows_of_a_sequence(kind):
    core, params = make(kind)
    memory = some_memory(kind)
    last, outputs = quick(core.apply)(params, memory, INPUTS, IS_FIRST)
    one_row = quick(core.apply)
    for t in range(T):
        memory, output = one_row(params, memory, INPUTS[t : t + 1], IS_FIRST[t : t + 1])
        assert_close(output[0], outputs[t])
    assert_close(memory, last)


def total(memory: Any, outputs: jax.Array) -> jax.Array:
    """A number in which every output and the last memory count differently."""
    weights = jnp.arange(outputs.size).reshape(outputs.shape) / outputs.size
    last = sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(memory))
    return jnp.sum(weights * outputs**2) + last


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_the_loop_are_those_of_the_rows_one_by_one(kind):
    core, params = make(kind)

    def whole(params: Any, memory: Any, inputs: jax.Array) -> jax.Array:
        return total(*core.apply(params, memory, inputs, jnp.asarray(IS_FIRST)))

    def by_row(params: Any, memory: Any, inputs: jax.Array) -> jax.Array:
        def one_row(memory: Any, row: tuple) -> tuple[Any, jax.Array]:
            memory, output = core.apply(params, memory, row[0][None], row[1][None])
            return memory, output[0]

        return total(*jax.lax.scan(one_row, memory, (inputs, jnp.asarray(IS_FIRST))))

    arguments = params, some_memory(kind), INPUTS
    got, expected = (
        quick(jax.grad(loss, argnums=(0, 1, 2)))(*arguments) for loss in (whole, by_row)
    )
    assert_close(got, expected)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_flows_across_the_beginning_of_an_episode(kind):
    core, params = make(kind)

    def after(inputs: jax.Array, memory: Any) -> jax.Array:
        return core.apply(params, memory, inputs, IS_FIRST)[1][4:, 1].sum()

    gradient, of_memory = quick(jax.grad(after, argnums=(0, 1)))(
        INPUTS, some_memory(kind)
    )
    assert not gradient[:4].any() and gradient[4:, 1].any()
    assert not any(x.any() for x in jax.tree.leaves(of_memory))


def test_the_parallel_recurrence_is_the_one_row_by_row(monkeypatch):
    factors, terms = jax.random.uniform(jax.random.key(0), (2, 40, B, SIZE))
    factors = factors.at[7, 1].set(0.0)
    initial = jnp.ones((B, SIZE))
    by_row = through_time.linear_recurrence(factors, terms, initial)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    in_parallel = through_time.linear_recurrence(factors, terms, initial)
    np.testing.assert_allclose(in_parallel, by_row, rtol=1e-5)
    np.testing.assert_array_equal(in_parallel[7, 1], terms[7, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_before_an_episode_leaves_no_trace_even_if_it_is_not_finite(kind):
    core, params = make(kind)
    spoilt = jax.tree.map(lambda x: x + jnp.inf, core.initial_memory(B))
    is_first = jnp.ones((1, B), bool)
    got = quick(core.apply)(params, spoilt, INPUTS[:1], is_first)
    fresh = quick(core.apply)(params, core.initial_memory(B), INPUTS[:1], ~is_first)
    assert_close(got, fresh)


@pytest.mark.parametrize("kind", KINDS)
def test_units_start_with_memories_of_two_rows_up_to_the_longest(kind):
    _, params = make(kind)
    bias = np.asarray(params["params"]["Dense_0"]["bias"])
    gate = {"lstm": 1, "gru": 1, "min_gru": 0}[kind]
    kept = bias[gate * SIZE : (gate + 1) * SIZE]
    kept = 1 / (1 + np.exp(kept if kind == "min_gru" else -kept))
    np.testing.assert_allclose(1 / (1 - kept[[0, -1]]), [2.0, 10.0], rtol=1e-4)


def test_no_core_is_built_where_none_is_wanted():
    assert CoreConfig("none").build() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"longest_memory": 1}, "longest_memory must be at least 2, got 1"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(settings, message):
    with pytest.raises(ValueError, match=message):
        CoreConfig("gru", **settings)


def test_ends_of_another_shape_than_the_rows_are_refused():
    core = recurrent.GRU(SIZE)
    with pytest.raises(ValueError, match=r"is_first has shape \(6, 3\), expected"):
        core.init(jax.random.key(0), core.initial_memory(B), INPUTS, IS_FIRST[1:])
