"""Rate limiters hold back writers and samplers; no item is drawn too often."""

import collections
import threading
import time

import numpy as np
import pytest

from jaxrl_dist.replay import reverb

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}


def write_numbers(writer, table, numbers):
    for number in numbers:
        writer.append({"x": np.array([number])})
        writer.create_items(table, 1)


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def test_writers_block_for_a_slow_sampler_and_go_on(client, empty):
    """4 samples per insert, 10 items to begin, 40 samples of tolerance: 20 inserts."""
    table = empty("limited")
    insert = reverb.InsertConfig(max_in_flight_items=5, linger_seconds=0.0)
    config = reverb.WriterConfig(insert=insert)
    with client.writer(ROW, config) as writer:
        thread = threading.Thread(target=write_numbers, args=(writer, table, range(40)))
        thread.start()
        wait_until(lambda: writer.metrics().items_confirmed == 20)
        time.sleep(0.3)
        assert writer.metrics().items_confirmed == 20 and thread.is_alive()
        config = reverb.SamplerConfig(batch_size=40, batches_ahead=0)
        with client.sampler(table, config) as sampler:
            sampler.next(10)
            wait_until(lambda: writer.metrics().items_confirmed == 30)
            time.sleep(0.2)
            assert writer.metrics().items_confirmed == 30
            sampler.next(10)
            thread.join(10)
        assert not thread.is_alive()
        writer.flush(10)
        assert writer.metrics().blocked_seconds > 0.3


def test_samplers_block_for_a_slow_writer(client, empty):
    table = empty("limited")
    config = reverb.SamplerConfig(batch_size=10, batches_ahead=0)
    with client.sampler(table, config) as sampler, client.writer(ROW) as writer:
        write_numbers(writer, table, range(9))
        writer.flush(10)
        with pytest.raises(reverb.DeadlineError, match="limited"):
            sampler.next(0.3)
        write_numbers(writer, table, [9])
        assert set(sampler.next(10).trajectory["x"][0].tolist()) <= set(range(10))


def test_each_row_of_a_queue_is_consumed_exactly_once(client, empty):
    """Two writers, and three samplers one after the other."""
    table = empty("numbers")
    with client.writer(ROW) as first, client.writer(ROW) as second:
        threads = [
            threading.Thread(target=write_numbers, args=(writer, table, numbers))
            for writer, numbers in ((first, range(900)), (second, range(900, 1800)))
        ]
        for thread in threads:
            thread.start()
        seen = []
        config = reverb.SamplerConfig(20, batches_ahead=0, request_seconds=0.3)
        for _ in range(3):
            with client.sampler(table, config) as sampler:
                for _ in range(30):
                    seen += sampler.next(20).trajectory["x"][0].tolist()
        for thread in threads:
            thread.join(10)
    assert sorted(seen) == list(range(1800))
    assert client.server_info().tables[table].current_size == 0


def test_a_sampler_that_is_closed_leaves_nobody_to_take_later_rows(client, empty):
    table = empty("numbers")
    config = reverb.SamplerConfig(4, batches_ahead=2, request_seconds=0.3)
    sampler = client.sampler(table, config)
    with pytest.raises(reverb.DeadlineError):
        sampler.next(0.1)
    sampler.close()
    with client.writer(ROW) as writer:
        write_numbers(writer, table, range(10))
    assert client.server_info().tables[table].current_size == 10


def test_a_full_queue_holds_its_writer_back(client, empty):
    table = empty("short_queue")
    insert = reverb.InsertConfig(max_in_flight_items=2)
    config = reverb.WriterConfig(insert=insert, timeout_seconds=0.5)
    with client.writer(ROW, config) as writer:
        with pytest.raises(reverb.DeadlineError, match="unconfirmed"):
            write_numbers(writer, table, range(100))
        metrics = writer.metrics()
        assert metrics.items_confirmed == 10
        assert (metrics.items_in_flight, metrics.items_dropped) == (2, 1)
        config = reverb.SamplerConfig(6, batches_ahead=0)
        with client.sampler(table, config) as sampler:
            drawn = [sampler.next(10).trajectory["x"][0].tolist() for _ in range(2)]
        assert drawn == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_nothing_is_sampled_more_often_than_allowed(client, empty):
    table = empty("thrice")
    config = reverb.WriterConfig(num_environments=50)
    with client.writer(ROW, config) as writer:
        writer.append({"x": np.arange(50)})
        writer.create_items(table, 1)
    counts: collections.Counter[int] = collections.Counter()
    config = reverb.SamplerConfig(10, batches_ahead=0, request_seconds=0.3)
    with client.sampler(table, config) as sampler:
        for _ in range(15):
            sample, info = sampler.draw(10)
            assert info.times_sampled.max() <= 3
            counts.update(sample.trajectory["x"][0].tolist())
        with pytest.raises(reverb.DeadlineError):
            sampler.next(0.2)
    assert counts == dict.fromkeys(range(50), 3)


def test_a_heap_as_remover_drops_the_least(client, empty):
    table = empty("min_heap")
    with client.writer(ROW) as writer:
        for number in range(20):
            writer.append({"x": np.array([number])})
            writer.create_items(table, 1, priorities=float(number % 7))
    with client.sampler(table, reverb.SamplerConfig(1, batches_ahead=0)) as sampler:
        _, info = sampler.draw(10)
    assert info.priority[0] == 5.0
    assert info.table_size[0] == 5
