"""Samplers give what the on-device replay gives, ahead of time and within limits."""

import time
from typing import Any

import numpy as np
import pytest

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb.batches import DrawInfo
from jaxrl_dist.types import Sample
from tests.replay.reverb.rows import SEQUENCE, Step, make_step

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}


def write_numbers(client, table, count, priorities: Any = 1.0):
    with client.writer(ROW, reverb.WriterConfig(num_environments=count)) as writer:
        writer.append({"x": np.arange(count)})
        return writer.create_items(table, 1, priorities=priorities)


def test_weights_correct_for_the_draw_and_the_largest_is_one():
    probability = np.array([0.5, 0.25, 0.25, 0.125])
    rest = np.zeros(4)
    info = DrawInfo(rest, probability, rest, np.full(4, 8), rest, rest)
    weights = reverb.importance_weights(info, 0.4)
    expected = (8 * probability) ** -0.4
    np.testing.assert_allclose(weights, expected / expected.max(), rtol=1e-6)
    assert weights.dtype == np.float32
    assert reverb.importance_weights(info, 0.0).tolist() == [1.0] * 4


@pytest.mark.parametrize("num_streams", [1, 3])
def test_a_sample_has_time_batch_weights_and_keys(num_streams, client, empty):
    table = empty("prioritized")
    keys = write_numbers(client, table, 30, np.arange(1.0, 31.0))
    config = reverb.SamplerConfig(16, num_streams=num_streams, importance_exponent=0.6)
    with client.sampler(table, config) as sampler:
        for _, sample in zip(range(6), sampler, strict=False):
            assert isinstance(sample, Sample)
            rows: Any = sample.trajectory
            assert rows["x"].shape == (1, 16)
            assert sample.slot.dtype == np.uint64
            assert [keys[x] for x in rows["x"][0]] == sample.slot.tolist()
            assert sample.weight.max() == 1 and sample.weight.min() > 0
        metrics = sampler.metrics()
    assert metrics.batches_taken == 6
    assert metrics.items_received >= 96
    assert metrics.bytes_received > 0


def test_no_more_is_asked_for_than_batches_ahead(client, empty):
    table = empty("uniform")
    write_numbers(client, table, 10)
    with client.sampler(table, reverb.SamplerConfig(8, batches_ahead=3)) as sampler:
        sampler.next(10)
        time.sleep(0.5)
        assert sampler.metrics().items_received == 8 * 4
        assert client.server_info().tables[table].num_samples == 8 * 4


def test_named_tuples_come_back_as_given_or_as_named(client, empty):
    table = empty("sequences")
    config = reverb.WriterConfig(max_item_rows=5)
    with client.writer(make_step(0), config) as writer:
        for index in range(6):
            row = make_step(index)
            writer.append(
                Step(
                    {k: np.asarray(v)[None] for k, v in row.observation.items()},
                    np.array([row.reward]),
                    [np.asarray(row.extras[0])[None], {"b": row.extras[1]["b"][None]}],
                    (row.memory[0][None],),
                )
            )
            if index >= 4:
                writer.create_items(table, 5)
    config = reverb.SamplerConfig(1, batches_ahead=0)
    with client.sampler(table, config, SEQUENCE) as sampler:
        given = sampler.next(10).trajectory
    with client.sampler(table, config) as sampler:
        named = sampler.next(10).trajectory
    assert type(given) is Step
    assert type(named).__name__ == "Step" and named._fields == Step._fields
    assert given.observation["goal"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert named.extras[1]["b"][:, 0, 1].tolist() == [-1, -2, -3, -4, -5]


def test_wrong_tables_and_signatures_are_refused(client):
    config = reverb.SamplerConfig(4)
    with pytest.raises(reverb.TableError, match="no table 'nowhere'"):
        client.sampler("nowhere", config)
    with pytest.raises(reverb.SignatureError, match="has no signature"):
        client.sampler("unsigned", config)
    other = reverb.Signature.of_rows({"x": np.int32(0)}, 1)
    with pytest.raises(reverb.SignatureError, match=r"x: int32\[1\] against int64"):
        client.sampler("uniform", config, other)


def test_items_of_another_length_or_kind_are_refused(client, empty):
    table = empty("unsigned")
    with client.writer(ROW, reverb.WriterConfig(max_item_rows=2)) as writer:
        for length in (1, 2):
            writer.append({"x": np.array([1])})
            writer.create_items(table, length)
    loose = reverb.Signature({"x": reverb.ColumnSpec((None,), np.int64)})
    config = reverb.SamplerConfig(32)
    with (
        client.sampler(table, config, loose) as sampler,
        pytest.raises(reverb.SignatureError, match="room for|rows, but"),
    ):
        sampler.next(10)
    other = reverb.Signature({"x": reverb.ColumnSpec((None,), np.float64)})
    with (
        client.sampler(table, config, other) as sampler,
        pytest.raises(reverb.SignatureError, match="the signature says float64"),
    ):
        sampler.next(10)


def test_a_batch_beyond_the_limit_is_refused(client, empty):
    table = empty("uniform")
    write_numbers(client, table, 2)
    config = reverb.SamplerConfig(10, max_batch_bytes=79)
    with (
        client.sampler(table, config) as sampler,
        pytest.raises(reverb.ProtocolError, match="take 80 bytes"),
    ):
        sampler.next(10)


def test_a_message_beyond_the_limit_is_refused(server, client, empty):
    table = empty("unsigned")
    noise = np.random.default_rng(0).integers(0, 255, 3 << 20).astype(np.uint8)
    with client.writer({"x": noise}) as writer:
        writer.append({"x": noise[None]})
        writer.create_items(table, 1)
    connection = reverb.ConnectionConfig(max_message_bytes=2 << 20)
    signature = reverb.Signature.of_rows({"x": noise}, 1)
    with (
        reverb.Client(server.address, connection) as small,
        small.sampler(table, reverb.SamplerConfig(1), signature) as sampler,
        pytest.raises(reverb.ProtocolError, match="larger than max"),
    ):
        sampler.next(10)


def test_a_closed_sampler_says_so(client, empty):
    table = empty("uniform")
    sampler = client.sampler(table, reverb.SamplerConfig(1))
    sampler.close()
    with pytest.raises(reverb.ClosedError):
        sampler.next(5)


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 0},
        {"batches_ahead": -1},
        {"num_streams": 0},
        {"importance_exponent": 1.5},
        {"max_batch_bytes": 0},
        {"request_seconds": 0.0},
    ],
)
def test_a_wrong_setting_is_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        reverb.SamplerConfig(**({"batch_size": 1} | setting))
