"""Times ways to compute the same, in turns, in one process."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ROUNDS = 100
SECONDS_PER_SAMPLE = 0.001  # shorter than the turns that a busy machine gives
# Other programs only ever add to a sample: the fastest tenth is disturbed least.
QUANTILE = 0.1


class Contest(NamedTuple):
    """One computation, done by both."""

    name: str
    sizes: str
    ours: Callable[..., Any]  # (learnt, *given) to arrays
    theirs: Callable[..., Any]
    arguments: tuple  # the first is what gradients are taken of
    with_gradient: bool = True


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Value and gradient of the mean of the squares of all that a function returns."""

    def mean(learnt: jax.Array, *given: jax.Array) -> jax.Array:
        parts = jax.tree.leaves(function(learnt, *given))
        return sum(jnp.mean(jnp.square(part)) for part in parts)  # type: ignore

    return jax.value_and_grad(mean)


def time_in_turns(
    functions: Sequence[Callable[..., Any]], arguments: tuple, rounds: int = ROUNDS
) -> list[float]:
    """Times compiled functions in turns, so that all see the same machine.

    Args:
        functions: compiled, or to be compiled by the first call.
        arguments: of each.
        rounds: samples of each.

    Returns:
        Of each function, milliseconds per call; a tenth of the samples took less.
    """
    samples: list[list[float]] = [[] for _ in functions]
    calls = [calls_per_sample(function, arguments) for function in functions]
    for _ in range(rounds):
        for function, number, kept in zip(functions, calls, samples, strict=True):
            kept.append(milliseconds_per_call(function, arguments, number))
    return [float(np.quantile(kept, QUANTILE)) for kept in samples]


def calls_per_sample(function: Callable[..., Any], arguments: tuple) -> int:
    """How many calls fill one sample; compiles on the way."""
    jax.block_until_ready(function(*arguments))
    once = milliseconds_per_call(function, arguments, 3) / 1e3
    return max(1, min(1000, int(SECONDS_PER_SAMPLE / once)))


def milliseconds_per_call(
    function: Callable[..., Any], arguments: tuple, number: int
) -> float:
    """Mean time of some calls in a row; the last is waited for, and so all are."""
    start, results = time.perf_counter(), None
    for _ in range(number):
        results = function(*arguments)
    jax.block_until_ready(results)
    return (time.perf_counter() - start) / number * 1e3
