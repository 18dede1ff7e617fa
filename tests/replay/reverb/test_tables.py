"""Tables described by data."""

import json

import numpy as np
import pytest

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb.tables import table_from_description

SIGNATURE = reverb.Signature.of_rows({"x": np.float32(0)}, 3)


def test_tables_survive_their_file(tmp_path):
    tables = (
        reverb.Table(
            "a",
            reverb.Selector("prioritized", 0.7),
            reverb.Selector("min_heap"),
            max_size=5,
            rate_limiter=reverb.samples_per_insert(
                3.0, min_size_to_sample=2, error_buffer=9.0
            ),
        ),
        reverb.queue("b", 10),
        reverb.stack("c", 10),
    )
    path = tmp_path / "tables.json"
    reverb.save_tables(tables, path)
    assert reverb.load_tables(path) == tables
    reverb.save_tables([reverb.Table("s", signature=SIGNATURE)], path)
    (again,) = reverb.load_tables(path)
    assert again.signature is not None
    assert again.signature.difference(SIGNATURE) == ""


def test_what_is_left_out_has_its_default():
    table = table_from_description({"name": "t", "sampler": "lifo"})
    assert table == reverb.Table("t", reverb.Selector("lifo"))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"name": "t", "max_size": 0}, "max_size"),
        ({"name": "t", "max_times_sampled": -1}, "max_times_sampled"),
        ({"name": "t", "sampler": "best"}, "kind must be one of"),
        ({"name": "t", "sampler": {"kind": "prioritized", "exponent": -1}}, "exponent"),
        ({"name": "t", "colour": "red"}, "table 't' has a wrong setting"),
        ({"name": "t", "rate_limiter": {"min_size_to_sample": 0}}, "min_size_to"),
        ({"name": "t", "rate_limiter": {"min_diff": 2, "max_diff": 1}}, "min_diff"),
        ({"name": "t", "signature": {"set": []}}, "unknown kind of container"),
    ],
)
def test_a_wrong_setting_is_named(described, message):
    with pytest.raises(ValueError, match=message):
        table_from_description(described)


def test_tables_need_names_of_their_own(tmp_path):
    path = tmp_path / "tables.json"
    for names in ([], ["a", "a"]):
        path.write_text(json.dumps([{"name": name} for name in names]))
        with pytest.raises(ValueError, match="names of their own"):
            reverb.load_tables(path)


def test_a_rate_limiter_that_would_block_everything_is_refused():
    with pytest.raises(ValueError, match="error_buffer"):
        reverb.samples_per_insert(4.0, min_size_to_sample=1, error_buffer=2.0)
