"""The commands and the program of docs/reverb.md do what it says."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from jaxrl_dist.replay.reverb import load_tables

ROOT = pathlib.Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "reverb.md").read_text()


def block(language: str) -> str:
    """The one block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def run(*arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
        **settings,
    )


@pytest.mark.reverb
def test_the_program_prints_what_the_text_says():
    done = run("-c", block("python"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 32, 4) (32,)\n792 items\n"
    assert "`(2, 32, 4) (32,)` and `792 items`" in TEXT


@pytest.mark.reverb
def test_the_commands_serve_ask_and_checkpoint(tmp_path):
    (tmp_path / "tables.json").write_text(block("json"))
    lines = block("sh").replace("\\\n", " ").splitlines()
    check, serve, info, checkpoint = (line.split()[1:] for line in lines)
    assert run(*check).stdout.startswith("ready: dm-reverb 0.14.0")

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    with subprocess.Popen(
        [sys.executable, *(word.replace("8000", port) for word in serve)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as server:
        assert server.stdout and server.stderr
        assert server.stdout.readline() == f"serving localhost:{port}\n"
        answer = run(*(word.replace("8000", port) for word in info)).stdout
        assert answer.startswith("replay: 0 items")
        answer = run(*(word.replace("8000", port) for word in checkpoint))
        assert answer.returncode == 0, answer.stderr
        server.send_signal(signal.SIGTERM)
        log = server.stderr.read()
        assert server.wait(30) == 0
    assert "listens on ALL network interfaces and has NO authentication" in log
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("check*"))
    assert kept[-1] == "checkpoint-000002"


def test_the_tables_of_the_text_are_read(tmp_path):
    (tmp_path / "tables.json").write_text(block("json"))
    (table,) = load_tables(tmp_path / "tables.json")
    assert table.sampler.exponent == 0.6
    assert table.signature is not None
    assert table.signature.paths == ("observation", "reward")


@pytest.mark.reverb
def test_wrong_use_is_one_line_and_an_exit_code(tmp_path):
    module = ("-m", "jaxrl_dist.replay.reverb")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        nobody = f"localhost:{probe.getsockname()[1]}"
    missing = str(tmp_path / "none.json")
    for command in (["info", nobody], ["serve", "--tables", missing]):
        done = run(*module, *command)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
