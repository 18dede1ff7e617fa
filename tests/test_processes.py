"""Runs of processes of their own: killed, interrupted, and gone on with by others."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.run_folder import RunFolder
from tests.small_experiments import assert_equal_bit_for_bit, saved_leaves

TOTAL_STEPS = 200_000  # a second or two: time enough to be stopped
TRAIN = (
    "experiments.cartpole_ppo --environment.num-envs 4 --network.hidden 8 "
    "--agent.num-epochs 1 --budget.eval-episodes 4 --runtime.num-devices 2 "
    f"--budget.total-steps {TOTAL_STEPS} --budget.evaluations 20 --output-dir"
).split()


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> Callable[..., subprocess.Popen]:
    """Starts `python -m ...` with two devices, and programs compiled but once."""
    cache = tmp_path_factory.mktemp("cache")
    environ = os.environ | {"XDG_CACHE_HOME": str(cache), "JAX_NUM_CPU_DEVICES": "2"}

    def start(*arguments: str | Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = command(*TRAIN, folder)
    _, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    return folder


def stop_after_first_checkpoint(
    process: subprocess.Popen, folder: Path, number: signal.Signals
) -> tuple[str, str]:
    """Sends a signal once a run has saved something; answers what it said."""
    checkpoints = Checkpoints(folder / "checkpoints")
    while not checkpoints.steps():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    return process.communicate(timeout=200)


def test_a_killed_run_resumed_by_another_process_equals_the_whole(
    command, whole, tmp_path
):
    folder = tmp_path / "run"
    killed = command(*TRAIN, folder)
    stop_after_first_checkpoint(killed, folder, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert not RunFolder(folder).summary.exists()

    resumed = command("jaxrl_dist", "resume", folder)
    said, errors = resumed.communicate(timeout=200)
    assert (resumed.returncode, errors) == (0, "")
    assert f"everything is in {folder}" in said
    assert_equal_bit_for_bit(saved_leaves(folder), saved_leaves(whole))
    steps = [row["step"] for row in read_rows(RunFolder(folder).metrics)]
    assert steps == sorted(set(steps))
    assert steps == [row["step"] for row in read_rows(RunFolder(whole).metrics)]


def test_an_interrupted_run_says_how_to_go_on_and_does(command, whole, tmp_path):
    folder = tmp_path / "run"
    process = command(*TRAIN, folder)
    said, errors = stop_after_first_checkpoint(process, folder, signal.SIGINT)
    assert (process.returncode, errors) == (130, "")
    last = said.splitlines()[-1]
    match = re.fullmatch(
        rf"interrupted at environment step ([\d,]+) of {TOTAL_STEPS:,}, and saved; "
        r"go on with: python -m (jaxrl_dist resume \S+)",
        last,
    )
    assert match is not None, last
    step = int(match[1].replace(",", ""))
    assert Checkpoints(folder / "checkpoints").latest() == step
    assert RunFolder(folder).learning_curve.exists()

    resumed = command(*match[2].split())
    _, errors = resumed.communicate(timeout=200)
    assert (resumed.returncode, errors) == (0, "")
    assert_equal_bit_for_bit(saved_leaves(folder), saved_leaves(whole))


def test_a_run_stopped_while_it_compiles_says_so_and_leaves_nothing(command, tmp_path):
    number = signal.SIGTERM  # where tests run in the background, SIGINT is ignored
    folder = tmp_path / "run"
    # Not compiled before, with a network of this width.
    process = command(*TRAIN, folder, "--network.hidden", "9")
    assert process.stdout is not None
    assert process.stdout.readline() == "cartpole_ppo: compiling for 2 devices\n"
    process.send_signal(number)
    said, errors = process.communicate(timeout=200)
    assert (process.returncode, said) == (128 + number, "")
    assert errors == "stopped at once; nothing more was saved\n"
    assert not folder.exists()
