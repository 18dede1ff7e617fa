"""Signatures: nested structures in Reverb's order, and how two of them differ."""

import json
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from jaxrl_dist.replay.reverb import ColumnSpec, Signature, SignatureError
from jaxrl_dist.types import ArraySpec


class Pair(NamedTuple):
    """A structure of the user's."""

    second: Any
    first: Any


NESTED = {
    "b": Pair(np.zeros(2, np.int8), (np.float32(0), [])),
    "a": [np.zeros((3, 1), ml_dtypes.bfloat16), {"z": np.True_, "y": np.uint64(1)}],
}


def test_columns_are_dicts_by_sorted_key_and_all_else_as_it_stands():
    signature = Signature.of_rows(NESTED, 4)
    assert signature.paths == ("a/0", "a/1/y", "a/1/z", "b/second", "b/first/0")
    shapes = [spec.shape for spec in signature.specs]
    assert shapes == [(4, 3, 1), (4,), (4,), (4, 2), (4,)]


def test_what_is_flattened_is_nested_again():
    signature = Signature.of_rows(NESTED, None)
    again = signature.unflatten(signature.flatten(NESTED))
    assert type(again["b"]) is Pair
    assert again["b"].first[1] == []
    assert signature.flatten(again) == signature.flatten(NESTED)


def test_a_description_survives_json():
    signature = Signature.of_rows(NESTED, None)
    described = json.loads(json.dumps(signature.describe()))
    again = Signature.from_description(described)
    assert signature.difference(again) == again.difference(signature) == ""
    assert again.describe() == signature.describe()


@pytest.mark.parametrize(
    "values",
    [
        {"a": NESTED["a"]},
        NESTED | {"c": 1},
        NESTED | {"b": (1, 2, 3)},
        NESTED | {"b": {"second": 1, "first": 2}},
        [1, 2],
        3,
    ],
)
def test_another_structure_is_refused(values):
    with pytest.raises(SignatureError, match=r"should be a (dict|namedtuple)"):
        Signature.of_rows(NESTED, 1).flatten(values)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"x": 3}, "no ArraySpec"),
        ({"x": None}, "no ArraySpec"),
        ((), "1 to 4096 arrays"),
        (ArraySpec((2,), np.dtype("U5")), "cannot hold dtype <U5"),
        (ArraySpec((2,), np.dtype(object)), "cannot hold dtype object"),
        (ArraySpec((-1,), np.float32), "length -1"),
    ],
)
def test_what_reverb_cannot_hold_is_refused(structure, message):
    with pytest.raises(SignatureError, match=message):
        Signature(structure)


def test_differences_are_named():
    mine = Signature({"x": ArraySpec((2, 3), np.float32)})
    for theirs, message in (
        (Signature({"x": ArraySpec((2, 3), np.float64)}), "float32[2, 3] against"),
        (Signature({"x": ArraySpec((2, 4), np.float32)}), "against float32[2, 4]"),
        (Signature({"y": ArraySpec((2, 3), np.float32)}), "columns ['x'] against"),
    ):
        assert message in mine.difference(theirs)
    assert mine.difference(Signature({"x": ColumnSpec((None, 3), np.float32)})) == ""


@pytest.mark.parametrize(
    "described",
    [3, {}, {"array": {}}, {"set": []}, {"array": {"shape": [1], "dtype": "str"}}],
)
def test_what_is_no_description_is_refused(described):
    with pytest.raises(SignatureError):
        Signature.from_description(described)
