"""Server processes: checkpoints, restores, and an end that always comes."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxrl_dist.replay import reverb

pytestmark = pytest.mark.reverb
ROW = {"x": np.int64(0)}
TABLE = reverb.Table("t", signature=reverb.Signature.of_rows(ROW, 1))


def insert(client, numbers):
    config = reverb.WriterConfig(num_environments=len(numbers))
    with client.writer(ROW, config) as writer:
        writer.append({"x": np.array(numbers)})
        writer.create_items("t", 1)


def size(server) -> int:
    with reverb.Client(server.address) as client:
        return client.server_info(10).tables["t"].current_size


def checkpoints(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def wait_until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return "State:\tZ" not in status


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A folder with checkpoints of 1, 2 and 3 items."""
    folder = tmp_path_factory.mktemp("history")
    config = reverb.ServerConfig(checkpoint_dir=folder, keep_checkpoints=3)
    with (
        reverb.Server([TABLE], config) as server,
        reverb.Client(server.address) as client,
    ):
        for number in range(2):
            insert(client, [number])
            client.checkpoint()
            wait_until(lambda count=number + 1: len(checkpoints(folder)) == count)
        insert(client, [2])
    return folder


@pytest.fixture
def copy(history, tmp_path):
    """A copy of that folder, to be damaged."""
    subprocess.run(["cp", "-r", f"{history}/.", tmp_path], check=True)
    return tmp_path


def test_a_stopped_server_leaves_a_checkpoint_and_goes_on_from_it(history, copy):
    assert checkpoints(history) == [f"checkpoint-{n:06d}" for n in (1, 2, 3)]
    config = reverb.ServerConfig(checkpoint_dir=copy, keep_checkpoints=2)
    with reverb.Server([TABLE], config) as server:
        assert size(server) == 3
        with reverb.Client(server.address) as client:
            insert(client, [3, 4])
    assert checkpoints(copy) == ["checkpoint-000003", "checkpoint-000004"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_checkpoint_is_passed_over_and_that_is_said(damage, copy):
    file = copy / "checkpoint-000003" / "items.tfrecord"
    content = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        file.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    lines: list[str] = []
    config = reverb.ServerConfig(checkpoint_dir=copy)
    with reverb.Server([TABLE], config, lines.append) as server:
        assert size(server) == 2
        (event,) = (each for each in server.events if each["event"] == "fallback")
    assert event["checkpoint"] == "checkpoint-000003"
    assert "items.tfrecord is" in event["fault"]
    assert any("checkpoint-000003 does not load, falling back" in x for x in lines)


def test_a_half_written_checkpoint_is_dropped_and_a_whole_one_is_kept(copy):
    """What a server leaves that is killed while it writes, or just after."""
    incoming = copy / "incoming"
    (whole,) = incoming.iterdir()
    for name in (copy / "checkpoint-000003").iterdir():
        if name.name != "manifest.json":
            (whole / name.name).write_bytes(name.read_bytes())
    half, unfinished = incoming / "9999-01-01", incoming / "9999-01-02"
    subprocess.run(["cp", "-r", whole, half], check=True)
    subprocess.run(["cp", "-r", whole, unfinished], check=True)
    chunks = half / "chunks.tfrecord"
    chunks.write_bytes(chunks.read_bytes()[:-9])
    (unfinished / "DONE").unlink()
    for name in ("checkpoint-000002", "checkpoint-000003"):
        subprocess.run(["rm", "-r", copy / name], check=True)
    lines: list[str] = []
    config = reverb.ServerConfig(checkpoint_dir=copy)
    with reverb.Server([TABLE], config, lines.append) as server:
        assert size(server) == 3
    dropped = [line for line in lines if "was not written to its end" in line]
    assert len(dropped) == 2


def test_a_server_without_any_sound_checkpoint_does_not_start_empty(copy):
    for name in checkpoints(copy):
        (copy / name / "tables.tfrecord").write_bytes(b"")
    with pytest.raises(reverb.ServerError, match="none of the checkpoints"):
        reverb.Server([TABLE], reverb.ServerConfig(checkpoint_dir=copy)).start()


def test_other_settings_than_the_restored_ones_are_refused(copy):
    tables = [
        reverb.Table(
            "t",
            sampler=reverb.Selector("prioritized", 0.5),
            max_size=7,
            rate_limiter=reverb.min_size(3),
            signature=reverb.Signature.of_rows({"x": np.int32(0)}, 1),
        )
    ]
    server = reverb.Server(tables, reverb.ServerConfig(checkpoint_dir=copy))
    with pytest.raises(reverb.TablesDifferError) as error:
        server.start()
    for setting in ("sampler", "max_size 1000000, not 7", "min_size_to_sample=1", "x:"):
        assert setting in str(error.value)
    assert "checkpoint-000003" in str(error.value)
    with pytest.raises(reverb.ServerError, match="not running"):
        _ = server.pid


def test_a_server_in_use_can_be_checked_for_its_tables(history, copy):
    with reverb.Server([TABLE]) as server, reverb.Client(server.address) as client:
        client.check_tables([TABLE])
        with pytest.raises(reverb.TablesDifferError, match="'u' is missing"):
            client.check_tables([TABLE, reverb.Table("u")])


def test_sigterm_makes_a_checkpoint_and_periods_do(tmp_path):
    config = reverb.ServerConfig(
        checkpoint_dir=tmp_path, checkpoint_every_seconds=0.3, keep_checkpoints=2
    )
    server = reverb.Server([TABLE], config).start()
    wait_until(lambda: len(checkpoints(tmp_path)) == 2)
    with reverb.Client(server.address) as client:
        insert(client, [1, 2])
    server.terminate()
    assert server.wait(20) == 0
    wait_until(lambda: server.events[-1]["event"] == "stopped")
    server.stop()
    with reverb.Server([TABLE], config) as server:
        assert size(server) == 2


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_server(tmp_path):
    config = reverb.ServerConfig(checkpoint_dir=tmp_path, checkpoint_every_seconds=0.3)
    lines = []
    incoming, aside = tmp_path / "incoming", tmp_path / "aside"
    with reverb.Server([TABLE], config, lines.append) as server:
        incoming.rename(aside)
        incoming.write_text("in the way")
        wait_until(lambda: any("no checkpoint could be" in line for line in lines))
        incoming.unlink()
        aside.rename(incoming)
        assert size(server) == 0


def test_the_server_ends_with_a_parent_that_is_killed(tmp_path):
    program = f"""
import sys, time
from jaxrl_dist.replay import reverb
config = reverb.ServerConfig(checkpoint_dir={str(tmp_path)!r})
server = reverb.Server([reverb.Table("t")], config).start()
print(server.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()
    wait_until(lambda: not alive(pid))
    assert checkpoints(tmp_path) == ["checkpoint-000001"]


def test_a_server_that_still_starts_ends_at_once_with_a_parent_that_is_killed(tmp_path):
    program = f"""
from jaxrl_dist.replay import reverb
config = reverb.ServerConfig(checkpoint_dir={str(tmp_path)!r})
reverb.Server([reverb.Table("t")], config).start()
"""
    found: list[int] = []

    def server_begins() -> bool:
        children = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        for pid in children.read_text().split():
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "-B" in command and command[-2].startswith("{") and "-S" not in command:
                found.append(int(pid))
        return bool(found)

    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        wait_until(server_begins, 120.0)
        parent.kill()
    wait_until(lambda: not alive(found[0]), 120.0)
    assert checkpoints(tmp_path) == []


def test_a_port_in_use_is_an_error_and_not_shared():
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        config = reverb.ServerConfig(port=taken.getsockname()[1])
        with pytest.raises(reverb.ServerError, match="Address already in use"):
            reverb.Server([TABLE], config).start()


def test_a_server_that_dies_is_reported(tmp_path):
    server = reverb.Server([TABLE]).start()
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(10) == -signal.SIGKILL
    with pytest.raises(reverb.ServerError, match="ended with -9"):
        server.stop()


@pytest.mark.parametrize(
    "setting",
    [
        {"port": 0},
        {"checkpoint_every_seconds": 0.0},
        {"keep_checkpoints": 0},
        {"start_timeout_seconds": 0.0},
    ],
)
def test_a_wrong_setting_is_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        reverb.ServerConfig(**setting)
