"""A server that is killed again and again, under a writer and a sampler at work."""

import logging
import threading
import time
from typing import Any

import numpy as np
import pytest

from jaxrl_dist.replay import reverb

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}
CALL_SECONDS = 120.0  # a server may take half of it to start on a busy machine
TABLE = reverb.Table("t", signature=reverb.Signature.of_rows(ROW, 1))


class Worker(threading.Thread):
    """Calls one function until told to stop; remembers the longest call and errors."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work = work
        self.ended = threading.Event()
        self.longest = 0.0
        self.calls = 0
        self.error: Exception | None = None

    def run(self):
        """Works."""
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                self.work()
            except Exception as error:  # the test looks at it
                self.error = error
                return
            self.longest = max(self.longest, time.monotonic() - began)
            self.calls += 1

    def end(self):
        """Stops, and raises what went wrong."""
        self.ended.set()
        self.join(CALL_SECONDS + 5)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def drain(client) -> dict[int, int]:
    """The table's items, by key: draws, remembers and deletes until it is empty."""
    items: dict[int, int] = {}
    while client.server_info().tables["t"].current_size:
        with client.sampler("t", reverb.SamplerConfig(64, batches_ahead=0)) as sampler:
            sample = sampler.next(10)
        numbers = sample.trajectory["x"][0].tolist()
        items |= dict(zip(sample.slot.tolist(), numbers, strict=True))
        client.mutate_priorities("t", delete_keys=np.unique(sample.slot))
    return items


class Run:
    """A writer and a sampler at work on a server that is killed and started again."""

    def __init__(self, folder):
        config = reverb.ServerConfig(checkpoint_dir=folder)
        self.server = reverb.Server([TABLE], config).start()
        port = int(self.server.address.rpartition(":")[2])
        self.config = reverb.ServerConfig(checkpoint_dir=folder, port=port)
        connection = reverb.ConnectionConfig(longest_pause_seconds=0.5)
        self.client = reverb.Client(self.server.address, connection)
        config = reverb.WriterConfig(num_environments=4, timeout_seconds=CALL_SECONDS)
        self.writer = self.client.writer(ROW, config)
        self.sampler = self.client.sampler("t", reverb.SamplerConfig(16))
        self.lock = threading.Lock()
        self.written = 0  # numbers
        self.began = 0  # the first number that was written in this epoch
        self.saved: set[int] = set()  # numbers that were confirmed before a checkpoint
        self.workers = [Worker(self.write), Worker(self.draw)]
        for worker in self.workers:
            worker.start()

    def write(self):
        """Inserts the next four numbers."""
        with self.lock:
            numbers = np.arange(self.written, self.written + 4)
            self.written += 4
            self.writer.append({"x": numbers})
            self.writer.create_items("t", 1)
        time.sleep(0.005)

    def draw(self):
        """Draws a batch."""
        rows: Any = self.sampler.next(CALL_SECONDS).trajectory
        assert rows["x"].max() < self.written

    def checkpoint(self):
        """Saves what is confirmed."""
        with self.lock:
            self.writer.flush(CALL_SECONDS)
            self.saved |= set(range(self.began, self.written))
            self.client.checkpoint()

    def restart(self):
        """Kills the server, starts it again and waits until both workers go on."""
        self.server.kill()
        self.server = reverb.Server([TABLE], self.config).start()
        with self.lock:
            self.writer.flush(CALL_SECONDS)
            self.began = self.written
        calls = self.workers[1].calls
        deadline = time.monotonic() + CALL_SECONDS
        while self.workers[1].calls < calls + 5 and self.workers[1].is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> dict[int, int]:
        """Stops the workers; all items that are left."""
        for worker in self.workers:
            worker.end()
            assert worker.longest < CALL_SECONDS + 2
        self.sampler.close()
        self.writer.flush(CALL_SECONDS)
        return drain(self.client)

    def close(self):
        """Ends everything."""
        self.client.close()
        self.server.kill()


def kill_and_restart(folder, restarts: int, caplog) -> None:
    run = Run(folder)
    for restart in range(1, restarts + 1):
        time.sleep(0.3)
        if restart % 3 != 2:
            run.checkpoint()
        time.sleep(0.2)
        run.restart()
        assert run.client.epoch == restart
        assert f"epoch {restart}" in caplog.text
    items = run.end()
    values = set(items.values())
    assert len(values) == len(items), "an item is there twice"
    assert values <= set(range(run.written)), "an item was invented"
    assert run.saved <= values, "an item of a checkpoint is gone"
    for metrics in (run.writer.metrics(), run.sampler.metrics()):
        assert metrics.epoch == restarts
        assert metrics.reconnects >= restarts
    run.close()


def test_kills_lose_nothing_that_was_saved(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    kill_and_restart(tmp_path, 2, caplog)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_that_was_saved(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    kill_and_restart(tmp_path, 20, caplog)


def test_unconfirmed_items_may_be_dropped_instead(tmp_path):
    """At most once: what was on its way is counted, not sent again."""
    config = reverb.ServerConfig(checkpoint_dir=tmp_path)
    limited = reverb.queue("t", 5)
    server = reverb.Server([limited], config).start()
    port = int(server.address.rpartition(":")[2])
    connection = reverb.ConnectionConfig(longest_pause_seconds=0.5)
    with reverb.Client(server.address, connection) as client:
        insert = reverb.InsertConfig(unconfirmed="drop")
        writer = client.writer(ROW, reverb.WriterConfig(insert=insert))
        for number in range(9):
            writer.append({"x": np.array([number])})
            writer.create_items("t", 1)
        deadline = time.monotonic() + 10
        while writer.metrics().items_confirmed < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.kill()
        config = reverb.ServerConfig(checkpoint_dir=tmp_path, port=port)
        with reverb.Server([limited], config):
            writer.flush(20)
            metrics = writer.metrics()
            assert (metrics.items_confirmed, metrics.items_dropped) == (5, 4)
            assert metrics.items_resent == 0
            writer.append({"x": np.array([9])})
            writer.create_items("t", 1)
            writer.close(20)
            signature = reverb.Signature.of_rows(ROW, 1)
            config = reverb.SamplerConfig(1, batches_ahead=0)
            with client.sampler("t", config, signature) as sampler:
                rows: Any = sampler.next(10).trajectory
                assert rows["x"].tolist() == [[9]]
