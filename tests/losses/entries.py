"""A loss with arrays to call it with, and what tests of all losses do with both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from jaxrl_dist import losses
from tests.losses.arrays import B, T, make_arrays


class Entry(NamedTuple):
    """A function and how to call it."""

    function: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    batch_axis: int | None  # of most arrays and of the result; None: one for the batch
    flows_into: set[str]  # arrays that receive a gradient
    settings: dict[str, Any]
    shared: set[str]  # arrays without batch axis
    batch_axes: dict[str, int]  # of arrays whose batch axis is another


def entry(
    function: Callable[..., Any],
    names: str,
    flows_into: str = "",
    *,
    over_time: bool = False,
    whole_batch: bool = False,
    shared: str = "",
    batch_axes: dict[str, int] | None = None,
    **settings: Any,
) -> Entry:
    """Describes a function by the names of its arrays; `a=b` passes array b as a."""
    source = make_arrays((T, B) if over_time else (B,))
    pairs = [pair.split("=") for pair in names.split()]
    arrays = {pair[0]: source[pair[-1]] for pair in pairs}
    return Entry(
        function=function,
        arrays=arrays,
        batch_axis=None if whole_batch else int(over_time),
        flows_into=set(flows_into.split()),
        settings=settings,
        shared=set(shared.split()),
        batch_axes=batch_axes or {},
    )


def call(entry: Entry, arrays: dict[str, Any]) -> Any:
    """Calls a function by its names, the rescalings by position."""
    if entry.function in {losses.signed_hyperbolic, losses.signed_parabolic}:
        return entry.function(*arrays.values(), **entry.settings)
    return entry.function(**arrays, **entry.settings)


def each(entries: list[Entry]) -> Any:
    """Runs a test with each entry, under the name of its function."""
    return pytest.mark.parametrize("entry", entries, ids=lambda e: e.function.__name__)


def floating(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays that hold no indices and no flags."""
    return {name: a for name, a in arrays.items() if a.dtype == np.float64}


def at_batch_index(
    entry: Entry, arrays: dict[str, Any], change: Callable[..., Any]
) -> dict[str, Any]:
    """Changes the arrays that have a batch axis, along it."""
    return {
        name: array
        if name in entry.shared
        else change(array, axis=entry.batch_axes.get(name, entry.batch_axis))
        for name, array in arrays.items()
    }


def batch_axis_of_result(entry: Entry, result: np.ndarray) -> int:
    """Of time and batch, results without time keep the batch."""
    assert entry.batch_axis is not None
    return min(entry.batch_axis, result.ndim - 1)
