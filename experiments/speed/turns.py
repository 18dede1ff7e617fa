"""Times two ways to compute the same, in turns, in one process."""

import time
from collections.abc import Callable
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


class Figures(NamedTuple):
    """What a contest took, in milliseconds per call; a tenth of samples took less."""

    ours: float
    theirs: float


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Value and gradient of the mean of the squares of all that a function returns."""

    def mean(learnt: jax.Array, *given: jax.Array) -> jax.Array:
        parts = jax.tree.leaves(function(learnt, *given))
        return sum(jnp.mean(jnp.square(part)) for part in parts)  # type: ignore

    return jax.value_and_grad(mean)


def time_in_turns(
    ours: Callable[..., Any], theirs: Callable[..., Any], arguments: tuple
) -> Figures:
    """Times two functions in turns, so that both see the same machine."""
    samples: tuple[list[float], list[float]] = ([], [])
    functions = (jax.jit(ours), jax.jit(theirs))
    calls = [calls_per_sample(function, arguments) for function in functions]
    for _ in range(ROUNDS):
        for function, number, kept in zip(functions, calls, samples, strict=True):
            kept.append(milliseconds_per_call(function, arguments, number))
    return Figures(*(float(np.quantile(kept, QUANTILE)) for kept in samples))


def calls_per_sample(function: Callable[..., Any], arguments: tuple) -> int:
    """How many calls fill one sample; compiles on the way."""
    jax.block_until_ready(function(*arguments))
    once = milliseconds_per_call(function, arguments, 3) / 1e3
    return max(1, min(1000, int(SECONDS_PER_SAMPLE / once)))


def milliseconds_per_call(
    function: Callable[..., Any], arguments: tuple, number: int
) -> float:
    """Mean time of some calls in a row, each waited for."""
    start = time.perf_counter()
    for _ in range(number):
        jax.block_until_ready(function(*arguments))
    return (time.perf_counter() - start) / number * 1e3
