"""What our client writes Reverb's own reads, and the other way round, item by item."""

import numpy as np
import pytest

from jaxrl_dist.replay import reverb
from tests.replay.reverb.rows import (
    ALL_DTYPES,
    BFLOAT16,
    NUMBER,
    NUMPY_DTYPES,
    SEQUENCE,
    TRANSITION,
    describe_values,
    make_bfloat16_row,
    make_dtypes_row,
    make_numpy_row,
    make_step,
)

pytestmark = pytest.mark.reverb

CASES = {
    # name: (table, signature, row, rows, rows per item, period, chunk length)
    "transitions": ("transitions", TRANSITION, make_step, 12, 1, 1, 1),
    "items that share a chunk": ("sequences", SEQUENCE, make_step, 24, 5, 1, 8),
    "items that span chunks": ("sequences", SEQUENCE, make_step, 23, 5, 2, 2),
    "overlapping sequences": ("sequences", SEQUENCE, make_step, 25, 5, 4, 3),
    "every dtype": ("dtypes", ALL_DTYPES, make_dtypes_row, 9, 3, 2, 2),
}


def expected_items(signature, make_row, num_rows, item_rows, period):
    """The columns of each item, [T, ...] each."""
    items = []
    for end in range(item_rows, num_rows + 1, period):
        rows = [signature.flatten(make_row(i)) for i in range(end - item_rows, end)]
        items.append([np.stack(column) for column in zip(*rows, strict=True)])
    return items


def assert_columns_equal(got, expected, paths):
    for have, want, path in zip(got, expected, paths, strict=True):
        assert have.dtype == want.dtype, path
        assert have.shape == want.shape, path
        assert have.tobytes() == want.tobytes(), path


def with_batch_axis(row, signature):
    return signature.unflatten(
        [np.asarray(leaf)[None] for leaf in signature.flatten(row)]
    )


@pytest.mark.parametrize("delta_encoded", [False, True], ids=["plain", "delta"])
@pytest.mark.parametrize("case", CASES)
def test_reverb_reads_what_we_write(case, delta_encoded, client, peer, empty):
    table, signature, make_row, num_rows, item_rows, period, chunk = CASES[case]
    empty(table)
    config = reverb.WriterConfig(
        max_item_rows=item_rows, chunk_length=chunk, delta_encoded=delta_encoded
    )
    keys = []
    with client.writer(make_row(0), config) as writer:
        for step in range(1, num_rows + 1):
            writer.append(with_batch_axis(make_row(step - 1), signature))
            if step >= item_rows and (step - item_rows) % period == 0:
                keys += writer.create_items(table, item_rows, priorities=1.0 + step)
    expected = expected_items(signature, make_row, num_rows, item_rows, period)
    items = peer.read(table, len(expected))
    assert [item["key"] for item in items] == keys
    for item, columns in zip(items, expected, strict=True):
        assert_columns_equal(item["columns"], columns, signature.paths)


@pytest.mark.parametrize("delta_encoded", [False, True], ids=["plain", "delta"])
@pytest.mark.parametrize("case", CASES)
def test_we_read_what_reverb_writes(case, delta_encoded, client, peer, empty):
    table, signature, make_row, num_rows, item_rows, period, chunk = CASES[case]
    if case == "every dtype":
        table, signature, make_row = "numpy_dtypes", NUMPY_DTYPES, make_numpy_row
    empty(table)
    peer.write(
        table,
        signature,
        [make_row(index) for index in range(num_rows)],
        item_rows=item_rows,
        period=period,
        chunk_length=min(chunk, item_rows),
        delta_encoded=delta_encoded,
    )
    expected = expected_items(signature, make_row, num_rows, item_rows, period)
    config = reverb.SamplerConfig(batch_size=1, batches_ahead=0)
    with client.sampler(table, config, signature) as sampler:
        for columns in expected:
            sample = sampler.next(10)
            got = signature.flatten(sample.trajectory)
            assert type(sample.trajectory) is type(make_row(0))
            squeezed = [column[:, 0] for column in got]
            assert_columns_equal(squeezed, columns, signature.paths)


def test_an_item_of_eight_megabytes_arrives_whole(client, peer, empty):
    table = empty("unsigned")
    row = {"x": np.random.default_rng(0).integers(0, 255, (1 << 20,), np.uint8)}
    signature = reverb.Signature.of_rows(row, 8)
    config = reverb.WriterConfig(max_item_rows=8, chunk_length=4)
    with client.writer(row, config) as writer:
        for step in range(8):
            writer.append({"x": np.roll(row["x"], step)[None]})
        writer.create_items(table, 8)
    config = reverb.SamplerConfig(batch_size=2, batches_ahead=0)
    with client.sampler(table, config, signature) as sampler:
        got = sampler.next(20).trajectory["x"]
    for step in range(8):
        assert np.array_equal(
            got[step], np.broadcast_to(np.roll(row["x"], step), (2, 1 << 20))
        )


def test_bfloat16_from_tensorflow_is_read(client, peer, empty):
    table = empty("bfloat16")
    rows = [make_bfloat16_row(index) for index in range(3)]
    described = [describe_values(BFLOAT16, row) for row in rows]
    peer.run("write_tensors", table=table, rows=described)
    with client.sampler(table, reverb.SamplerConfig(3, batches_ahead=0)) as sampler:
        got = sampler.next(10).trajectory["x"]
    np.testing.assert_array_equal(got[0], [row["x"] for row in rows])


def test_priorities_set_by_one_are_seen_by_the_other(client, peer, empty):
    table = empty("max_heap")
    with client.writer({"x": np.int64(0)}) as writer:
        keys = []
        for index in range(6):
            writer.append({"x": np.array([index])})
            keys += writer.create_items(table, 1, priorities=float(index))
    (top,) = peer.read(table, 1)
    assert (top["key"], top["priority"]) == (keys[5], 5.0)

    client.mutate_priorities(table, keys=keys[2:4], priorities=[7.5, 6.5])
    (top,) = peer.read(table, 1)
    assert (top["key"], top["priority"]) == (keys[2], 7.5)

    peer.run("mutate", table=table, updates=[(keys[0], 9.0)], deletes=[keys[2]])
    with client.sampler(table, reverb.SamplerConfig(1, batches_ahead=0)) as sampler:
        _, info = sampler.draw(10)
    assert (info.key[0], info.priority[0]) == (keys[0], 9.0)

    client.mutate_priorities(table, delete_keys=[keys[0]])
    (top,) = peer.read(table, 1)
    assert (top["key"], top["table_size"]) == (keys[3], 4)


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = probabilities * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def test_prioritized_frequencies_match_for_both(client, peer, empty):
    table = empty("prioritized")
    priorities = np.arange(1.0, 21.0)
    config = reverb.WriterConfig(num_environments=20)
    with client.writer({"x": np.int64(0)}, config) as writer:
        writer.append({"x": np.arange(20)})
        keys = writer.create_items(table, 1, priorities=np.ones(20))
    client.mutate_priorities(table, keys=keys, priorities=priorities)
    probabilities = priorities**0.5 / (priorities**0.5).sum()
    place = {key: index for index, key in enumerate(keys)}

    theirs = [place[item["key"]] for item in peer.read(table, 4_000)]
    ours = []
    with client.sampler(table, reverb.SamplerConfig(400)) as sampler:
        for _ in range(10):
            sample, info = sampler.draw(10)
            drawn = sample.trajectory["x"][0]
            np.testing.assert_allclose(info.probability, probabilities[drawn])
            np.testing.assert_array_equal(info.table_size, 20)
            ours += drawn.tolist()
    for drawn in (ours, theirs):
        counts = np.bincount(drawn, minlength=20)
        # 99.99 % of chi-square with 19 degrees of freedom lies below.
        assert chi_square(counts, probabilities) < 52.4


def test_both_count_samples_of_an_item(client, peer, empty):
    table = empty("uniform")
    with client.writer({"x": np.int64(0)}) as writer:
        writer.append({"x": np.array([3])})
        writer.create_items(table, 1)
    (item,) = peer.read(table, 1)
    assert item["times_sampled"] == 1
    with client.sampler(table, reverb.SamplerConfig(2, batches_ahead=0)) as sampler:
        _, info = sampler.draw(10)
    assert info.times_sampled.tolist() == [2, 3]


def test_the_order_of_a_queue_and_of_a_stack_is_theirs(client, peer, empty):
    for table, order in (("numbers", [0, 1, 2, 3]), ("stack", [3, 2, 1, 0])):
        empty(table)
        peer.write(
            table, NUMBER, [{"x": np.int64(index)} for index in range(4)], item_rows=1
        )
        config = reverb.SamplerConfig(4, batches_ahead=0)
        with client.sampler(table, config) as sampler:
            assert sampler.next(10).trajectory["x"][0].tolist() == order
