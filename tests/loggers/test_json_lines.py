"""Rows are there at once, are JSON, and no step is there twice."""

import json

import numpy as np
import pytest

from jaxrl_dist.loggers import JsonLines
from jaxrl_dist.loggers.json_lines import read_rows


def test_each_report_is_a_row_that_can_be_read_while_the_run_goes_on(tmp_path):
    logger = JsonLines(tmp_path / "metrics.jsonl")
    logger.write(10, {"losses/value": 0.5, "training/return_mean": np.float32(2)})
    logger.write(20, {"evaluation/return_mean": np.array([1.0, 3.0])})
    assert read_rows(tmp_path / "metrics.jsonl") == [
        {"step": 10, "losses/value": 0.5, "training/return_mean": 2.0},
        {"step": 20, "evaluation/return_mean": [1.0, 3.0]},
    ]
    logger.close()


def test_what_is_not_finite_is_null(tmp_path):
    logger = JsonLines(tmp_path / "metrics.jsonl")
    logger.write(np.int32(1), {"a": float("nan"), "b": [float("inf"), 1.0]})  # pyright: ignore[reportArgumentType]
    logger.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 1, "a": null, "b": [null, 1.0]}\n'


def test_rows_after_the_restored_step_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path)
    for step in (10, 20, 30):
        first.write(step, {"a": float(step)})
    first.close()
    with path.open("a") as stream:
        stream.write('{"step": 40, "a"')  # killed while writing
    second = JsonLines(path, last_step=20)
    second.write(30, {"a": -1.0})
    second.close()
    assert [row["step"] for row in read_rows(path)] == [10, 20, 30]
    assert read_rows(path)[-1]["a"] == -1.0
    assert [x.name for x in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_resumed_run_without_rows_begins_with_none(tmp_path):
    logger = JsonLines(tmp_path / "metrics.jsonl", last_step=5)
    logger.write(6, {})
    logger.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 6}


def test_a_row_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2, is not JSON"):
        read_rows(path)
