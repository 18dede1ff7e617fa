"""Writers check what they are given, share chunks, and hold a bounded amount."""

import socket
import time

import numpy as np
import pytest

from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb import insert_stream
from jaxrl_dist.replay.reverb.in_flight import Item

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}
FRAME = {"frame": np.zeros((64, 64), np.uint8), "step": np.int32(0)}
BATCH = 3


def frames(step: int) -> dict[str, np.ndarray]:
    """Rows of 3 environments, told apart by every value."""
    image = np.full((BATCH, 64, 64), step % 200, np.uint8)
    image += np.arange(BATCH, dtype=np.uint8)[:, None, None]
    return {"frame": image, "step": np.arange(BATCH, dtype=np.int32) * 1000 + step}


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("chunk_length", [1, 3, 8, 20])
def test_items_are_the_last_rows_of_each_environment(
    chunk_length, num_threads, client, empty
):
    table = empty("unsigned")
    signature = reverb.Signature.of_rows(FRAME, 5)
    config = reverb.WriterConfig(
        num_environments=BATCH,
        max_item_rows=5,
        chunk_length=chunk_length,
        num_threads=num_threads,
    )
    expected = {}
    with client.writer(FRAME, config) as writer:
        for step in range(17):
            writer.append(frames(step))
            if step in (4, 5, 9, 14, 16):
                keys = writer.create_items(table, 5)
                expected |= {key: (env, step) for env, key in enumerate(keys)}
            if step == 9:
                writer.flush(10)  # in the middle of a chunk
    sampler_config = reverb.SamplerConfig(15)
    with client.sampler(table, sampler_config, signature) as sampler:
        for _ in range(5):
            sample = sampler.next(10)
            for index, key in enumerate(sample.slot.tolist()):
                environment, step = expected[key]
                steps = np.arange(step - 4, step + 1)
                np.testing.assert_array_equal(
                    sample.trajectory["step"][:, index], environment * 1000 + steps
                )
                np.testing.assert_array_equal(
                    sample.trajectory["frame"][:, index, 7, 9], steps + environment
                )


def test_chunks_that_items_share_are_sent_once(client, empty):
    table = empty("unsigned")
    noise = np.random.default_rng(0).integers(0, 255, (40, 1, 64, 64)).astype(np.uint8)
    config = reverb.WriterConfig(max_item_rows=20, chunk_length=10)
    with client.writer({"frame": noise[0, 0]}, config) as writer:
        for step in range(40):
            writer.append({"frame": noise[step]})
            if step >= 19:
                writer.create_items(table, 20)
        writer.flush(10)
        sent = writer.metrics().bytes_sent
    assert noise.nbytes < sent < 1.1 * noise.nbytes


def test_rows_given_before_may_be_overwritten(client, empty):
    """Vector environments reuse the arrays they return."""
    table = empty("numbers")
    row = {"x": np.zeros(1, np.int64)}
    config = reverb.WriterConfig(chunk_length=4)
    with client.writer(ROW, config) as writer:
        for number in range(8):
            row["x"][0] = number
            writer.append(row)
            writer.create_items(table, 1)
    with client.sampler(table, reverb.SamplerConfig(8, batches_ahead=0)) as sampler:
        assert sampler.next(10).trajectory["x"][0].tolist() == list(range(8))


def test_priorities_are_computed_from_the_rows(client, empty):
    table = empty("max_heap")
    config = reverb.WriterConfig(num_environments=3, computed_priorities=True)
    with client.writer(ROW, config) as writer:
        writer.append({"x": np.array([4, 9, 1])})
        writer.create_items(table, 1, priorities=lambda rows: rows["x"][-1] * 2.0)
    with client.sampler(table, reverb.SamplerConfig(1, batches_ahead=0)) as sampler:
        sample, info = sampler.draw(10)
    assert (sample.trajectory["x"][0, 0], info.priority[0]) == (9, 18.0)


def test_items_of_some_environments_only(client, empty):
    table = empty("numbers")
    with client.writer(ROW, reverb.WriterConfig(num_environments=4)) as writer:
        writer.append({"x": np.arange(4)})
        writer.create_items(table, 1, environments=[3, 1])
    with client.sampler(table, reverb.SamplerConfig(2, batches_ahead=0)) as sampler:
        assert sampler.next(10).trajectory["x"][0].tolist() == [3, 1]


def test_no_item_reaches_back_to_forgotten_rows(client, empty):
    config = reverb.WriterConfig(max_item_rows=3)
    with client.writer(ROW, config) as writer:
        for _ in range(3):
            writer.append({"x": np.array([1])})
        writer.forget_rows()
        writer.append({"x": np.array([1])})
        with pytest.raises(ValueError, match=r"num_rows must be in \[1, 1\]"):
            writer.create_items("unsigned", 2)


def test_wrong_rows_and_items_are_refused(client):
    with client.writer(ROW, reverb.WriterConfig(num_environments=2)) as writer:
        with pytest.raises(reverb.SignatureError, match=r"x is int64\[3\]"):
            writer.append({"x": np.zeros(3, np.int64)})
        with pytest.raises(reverb.SignatureError, match=r"x is float64\[2\]"):
            writer.append({"x": np.zeros(2)})
        with pytest.raises(reverb.SignatureError, match=r"dict of \['x'\]"):
            writer.append({"y": np.zeros(2, np.int64)})
        with pytest.raises(ValueError, match="num_rows"):
            writer.create_items("numbers", 1)
        writer.append({"x": np.zeros(2, np.int64)})
        with pytest.raises(reverb.TableError, match="no table 'nowhere'"):
            writer.create_items("nowhere", 1)
        with pytest.raises(reverb.SignatureError, match="columns"):
            writer.create_items("transitions", 1)
        with pytest.raises(ValueError, match="priorities must be"):
            writer.create_items("numbers", 1, priorities=np.array([1.0, np.nan]))
        with pytest.raises(ValueError, match="computed_priorities=True"):
            writer.create_items("numbers", 1, priorities=lambda rows: 1.0)
    with pytest.raises(reverb.ClosedError):
        writer.flush()


@pytest.mark.parametrize(
    "setting",
    [
        {"num_environments": 0},
        {"max_item_rows": 0},
        {"chunk_length": 0},
        {"num_threads": -1},
    ],
)
def test_a_wrong_setting_is_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        reverb.WriterConfig(**setting)


def test_a_table_that_vanished_is_a_typed_error_at_the_next_call(client, empty):
    """The server refuses the stream; the writer says so rather than try for ever."""
    with client.writer(ROW) as writer:
        writer._tables["no such table"] = None
        writer.append({"x": np.array([1])})
        writer.create_items("no such table", 1)
        with pytest.raises(reverb.TableError, match="was not found"):
            writer.flush(10)
        with pytest.raises(reverb.TableError):
            writer.create_items("numbers", 1)
        writer.cancel()


def test_what_no_message_can_be_made_of_is_told_to_the_caller(
    client, empty, monkeypatch
):
    """Within gRPC it would be an unknown error, upon which a stream is opened anew."""

    def fail(*_):
        raise MemoryError("no room for a message")

    with client.writer(ROW) as writer:
        fill(writer, 1, empty("numbers"))
        writer.flush(10)
        monkeypatch.setattr(insert_stream, "encode_insert", fail)
        fill(writer, 1, "numbers")
        began = time.monotonic()
        with pytest.raises(reverb.ReverbError, match="no room for a message") as raised:
            writer.flush(20)
        assert isinstance(raised.value.__cause__, MemoryError)
        assert time.monotonic() - began < 5
        with pytest.raises(reverb.ReverbError, match="no room for a message"):
            fill(writer, 1, "numbers")
        assert writer.metrics().reconnects == 0
        writer.cancel()


def test_what_the_server_cannot_read_is_not_sent_for_ever(client):
    """It ends a stream of such bytes without an error."""
    with client.writer(ROW) as writer:
        nonsense = Item(key=1, encoded=b"\xff\xff\xff", chunks=())
        writer._stream.offer([nonsense], timeout_seconds=1.0)
        with pytest.raises(reverb.RefusedError, match="5 streams in a row"):
            writer.flush(20)
        writer.cancel()


@pytest.fixture
def lost():
    """A server that was there when the writer began, and is gone for good."""
    with reverb.Server([reverb.Table("t", max_size=10_000)]) as server:
        client = reverb.Client(server.address)
        yield server, client
        client.close()


def fill(writer, count, table="t"):
    for number in range(count):
        writer.append({"x": np.array([number])})
        writer.create_items(table, 1)


def test_without_server_a_writer_blocks_or_drops(lost):
    server, client = lost
    writers = {}
    for when_full in ("block", "drop"):
        insert = reverb.InsertConfig(max_in_flight_items=20, when_full=when_full)
        config = reverb.WriterConfig(insert=insert, timeout_seconds=0.5)
        writers[when_full] = client.writer(ROW, config)
        fill(writers[when_full], 5)
        writers[when_full].flush(10)
    server.kill()
    began = time.monotonic()
    with pytest.raises(reverb.DeadlineError, match="no room"):
        fill(writers["block"], 100)
    assert 0.4 < time.monotonic() - began < 5
    assert writers["block"].metrics().items_in_flight == 20

    fill(writers["drop"], 100)
    metrics = writers["drop"].metrics()
    assert metrics.items_confirmed == 5
    assert (metrics.items_in_flight, metrics.items_dropped) == (20, 80)
    with pytest.raises(reverb.DeadlineError):
        writers["drop"].flush(0.2)
    began = time.monotonic()
    with pytest.raises(reverb.DeadlineError):
        writers["drop"].close(0.2)
    assert time.monotonic() - began < 6
    assert writers["drop"].metrics().items_dropped == 100


def test_bytes_in_flight_are_bounded_too(lost):
    server, client = lost
    frame = {"x": np.zeros(100_000, np.uint8)}
    insert = reverb.InsertConfig(max_in_flight_bytes=1_000_000, when_full="drop")
    writer = client.writer(frame, reverb.WriterConfig(insert=insert))
    server.kill()
    for _ in range(50):
        writer.append({"x": frame["x"][None]})
        writer.create_items("t", 1)
    metrics = writer.metrics()
    assert metrics.items_in_flight == 10
    assert metrics.bytes_in_flight == 1_000_000


def test_nobody_at_the_address_is_said_at_once():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with (
        reverb.Client(f"localhost:{port}") as client,
        pytest.raises(reverb.UnavailableError, match=str(port)),
    ):
        client.writer(ROW)
