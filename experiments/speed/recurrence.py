"""Times both ways to solve the recurrence over time: by `scan`, and in parallel.

    python -m experiments.speed.recurrence
    python -m experiments.speed.recurrence --num-steps 1024 --batch-sizes 64

One row for each loss and size: milliseconds per call, taken in turns, which a tenth of
the samples stayed below; "ratio" is the time of `scan` over that of `associative`, so
above 1 the latter is faster. Calls are queued and the last is waited for, as in a
learner's program, so that on an accelerator they hide what it takes to start them. With
"gradient", value and gradient of the mean of squares are timed together. The last
column is rlax under `vmap`, where it is installed.

`losses.recurrence.default_method` is chosen from this. Results: RESULTS.md.
"""

import argparse
import concurrent.futures
import functools
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.speed.turns import time_in_turns, with_gradient
from jaxrl_dist import losses

ROUNDS = 20
METHODS = ("scan", "associative")
LOSSES = ("vtrace", "gae", "lambda_returns")


class Case(NamedTuple):
    """One loss at one size, as each of the ways computes it."""

    name: str
    sizes: str
    functions: list[Callable[..., Any]]  # scan, associative, and rlax if it is there
    arguments: tuple


def estimate(values: jax.Array, steps: dict, *, name: str, method: str) -> Any:
    """What a loss makes of values [T + 1, B] and of arrays [T, B]."""
    given = steps | {"next_values": values[1:], "method": method}
    if name == "lambda_returns":
        del given["log_ratios"]
        return losses.lambda_returns(**given, lambda_=0.95)
    given["values"] = values[:-1]
    if name == "vtrace":
        got = losses.vtrace(**given)
    else:
        del given["log_ratios"]
        got = losses.gae(**given, lambda_=0.95)
    return got.targets - values[:-1], got.advantages


def rlax_functions(num_steps: int, batch_size: int) -> dict[str, Callable[..., Any]]:
    """What rlax has, by the same names; nothing where it cannot be imported."""
    try:
        from experiments.speed import loss_contests
    except ImportError:
        return {}

    def with_steps(function: Callable[..., Any], number: int) -> Callable[..., Any]:
        def call(values: jax.Array, steps: dict) -> Any:
            return function(values, *list(steps.values())[:number])

        return call

    return {
        contest.name: with_steps(contest.theirs, len(contest.arguments) - 1)
        for contest in loss_contests.trajectory_contests_at(num_steps, batch_size)
    }


def cases_at(num_steps: int, batch_size: int, names: Sequence[str]) -> list[Case]:
    """Some losses on [T, B] arrays of one size."""
    rng = np.random.default_rng(0)
    shape = (num_steps, batch_size)
    values = jnp.asarray(rng.normal(size=(num_steps + 1, batch_size)), jnp.float32)
    steps = {
        "rewards": jnp.asarray(rng.normal(size=shape), jnp.float32),
        "discounts": jnp.full(shape, 0.99),
        "log_ratios": jnp.asarray(rng.normal(size=shape), jnp.float32),
    }
    theirs = rlax_functions(num_steps, batch_size)
    cases = []
    for name in names:
        functions: list[Callable[..., Any]] = [
            functools.partial(estimate, name=name, method=method) for method in METHODS
        ]
        functions += [theirs[name]] if name in theirs else []
        sizes = f"T={num_steps} B={batch_size}"
        cases.append(Case(name, sizes, functions, (values, steps)))
    return cases


def compiled(case: Case, pool: concurrent.futures.Executor) -> list[list]:
    """Compiles a case in the background: futures, those of the gradients apart."""

    def compile_one(function: Callable[..., Any]) -> Any:
        return jax.jit(function).lower(*case.arguments).compile()

    return [
        [pool.submit(compile_one, change(function)) for function in case.functions]
        for change in (lambda function: function, with_gradient)
    ]


def main() -> None:
    """Prints the table."""
    # Otherwise handing a small program to another thread takes longer than it runs.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    parser = argparse.ArgumentParser(description="Times scan against associative.")
    steps = [8, 16, 32, 64, 128, 256, 1024]
    parser.add_argument("--num-steps", type=int, nargs="+", default=steps)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    arguments = parser.parse_args()
    began, device = time.monotonic(), jax.devices()[0]
    print(
        f"jax {jax.__version__}, {device.device_kind}, {platform.machine()}, "
        f"Python {platform.python_version()}\n"
    )
    columns = "scan, ms | associative, ms | ratio | rlax, ms"
    print(f"| loss | sizes | {columns} | with gradient: {columns} |")
    print("| --- | --- " + "| --- " * 8 + "|", flush=True)
    cases = [
        case
        for batch_size in arguments.batch_sizes
        for num_steps in arguments.num_steps
        for case in cases_at(num_steps, batch_size, arguments.losses)
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = [compiled(case, pool) for case in cases]
        concurrent.futures.wait(
            [future for case in programs for group in case for future in group]
        )
    print(f"compiled after {time.monotonic() - began:.0f} s", flush=True)
    for case, groups in zip(cases, programs, strict=True):
        cells = [case.name, case.sizes]
        for group in groups:
            functions = [future.result() for future in group]
            times = time_in_turns(functions, case.arguments, ROUNDS)
            cells += [f"{times[0]:.4f}", f"{times[1]:.4f}"]
            cells.append(f"{times[0] / times[1]:.2f}")
            cells.append(f"{times[2]:.4f}" if len(times) > 2 else "")
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"finished after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
