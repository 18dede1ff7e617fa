"""Priorities sent in the background arrive, in order, and within bounds."""

import time

import numpy as np
import pytest

from jaxrl_dist.replay import reverb

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}


def write_numbers(client, table, count):
    with client.writer(ROW, reverb.WriterConfig(num_environments=count)) as writer:
        writer.append({"x": np.arange(count)})
        return np.array(writer.create_items(table, 1), np.uint64)


def test_the_last_priorities_win(client, empty):
    table = empty("max_heap")
    keys = write_numbers(client, table, 20)
    with client.priority_updater(table) as updater:
        priorities = np.zeros(20)
        for round_ in range(50):
            priorities[:] = np.arange(20) + round_
            updater.update(keys, priorities)
            priorities[:] = -1  # the caller's arrays are its own
        updater.update(keys[:1], [1000.0])
        updater.flush(10)
        metrics = updater.metrics()
    assert (metrics.keys_sent, metrics.keys_waiting) == (1001, 0)
    assert metrics.calls <= 51
    with client.sampler(table, reverb.SamplerConfig(1, batches_ahead=0)) as sampler:
        _, info = sampler.draw(10)
        assert (info.key[0], info.priority[0]) == (keys[0], 1000.0)
        client.mutate_priorities(table, delete_keys=keys[:1])
        _, info = sampler.draw(10)
        assert (info.key[0], info.priority[0]) == (keys[19], 19.0 + 49.0)


def test_wrong_priorities_and_tables_are_errors(client):
    with client.priority_updater("uniform") as updater:
        for wrong in ([-1.0], [np.nan], [1.0, 2.0]):
            with pytest.raises(ValueError, match="priorities"):
                updater.update([1], wrong)
    with pytest.raises(reverb.ClosedError):
        updater.update([1], [1.0])
    updater = client.priority_updater("nowhere")
    updater.update([1], [1.0])
    with pytest.raises(reverb.TableError):
        updater.flush(10)
    updater.close()


def test_without_server_updates_are_dropped_and_bounded():
    with reverb.Server([reverb.Table("t")]) as server:
        client = reverb.Client(server.address)
        updater = client.priority_updater("t", max_waiting_keys=10, timeout_seconds=0.5)
        updater.update(np.arange(10), np.ones(10))
        updater.flush(10)
        server.kill()
        began = time.monotonic()
        with pytest.raises(reverb.DeadlineError, match="10 keys are queued"):
            for _ in range(5):
                updater.update(np.arange(10), np.ones(10))
        assert time.monotonic() - began < 3
        assert updater.metrics().keys_dropped == 10
        client.close()
