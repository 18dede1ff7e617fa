"""What every loss refuses, before it computes anything."""

import numpy as np
import pytest

from tests.losses.catalogue import (
    ENTRIES,
    OVER_TIME,
)
from tests.losses.entries import (
    call,
    each,
    floating,
)

# Atoms to project on: there may be any number of them.
ANY_NUMBER = {"target_atoms"}


def names_with_own_axis(entry):
    """Arrays [B, A], [B, N] and the like, of functions without time."""
    if entry in OVER_TIME:
        return []
    batched = set(entry.arrays) - entry.shared
    return [name for name in batched if entry.arrays[name].ndim > 1]


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
