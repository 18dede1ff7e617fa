"""Runs: resumed ones equal those that were never stopped, and end in good order."""

import dataclasses
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import (
    compilation_cache as jax_compilation_cache,
)

from jaxrl_dist import runs
from jaxrl_dist.agents.a2c import A2CConfig
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.agents.r2d2 import R2D2Config
from jaxrl_dist.agents.rainbow import RainbowConfig
from jaxrl_dist.agents.sac import SACConfig
from jaxrl_dist.agents.value import ValueConfig
from jaxrl_dist.compilation_cache import use_compilation_cache
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.networks.recurrent import CoreConfig
from jaxrl_dist.plots import EVALUATION
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.saved_runs import NamedExperiment, checkpoints_of, read
from jaxrl_dist.training.host_loop import NotFiniteError
from jaxrl_dist.training.interruption import Interrupted
from tests.small_experiments import (
    PRIORITIZED,
    assert_equal_bit_for_bit,
    saved_leaves,
    small,
    with_budget,
    without_annealing,
)

PPO = PPOConfig(num_epochs=2, num_minibatches=2)
CASES = {
    "ppo on 1 device": small(PPO),
    "ppo on 2 devices": small(PPO, num_devices=2),
    "ppo, normalised, on 2 devices": small(
        PPO, num_devices=2, normalise_observations=True
    ),
    "recurrent ppo on 1 device": small(PPO, core=CoreConfig("lstm", 4)),
    "recurrent ppo on 2 devices": small(
        PPO, core=CoreConfig("min_gru", 4), num_devices=2
    ),
    "a2c on 1 device": small(A2CConfig(), num_seeds=2),
    "a2c on 2 devices": small(A2CConfig(), num_devices=2),
    "impala behind by 3 on 1 device": small(IMPALAConfig(), policy_lag_updates=3),
    "impala behind by 3 on 2 devices": small(
        IMPALAConfig(), policy_lag_updates=3, num_devices=2
    ),
}
REPLAYED = {
    "dqn": small(DQNConfig(), replay=PRIORITIZED, num_seeds=2),
    "rainbow": small(RainbowConfig(), replay=PRIORITIZED, dueling=True, noisy=True),
    "sac": small(SACConfig(), environment="Pendulum-v1", replay=PRIORITIZED),
    "r2d2": small(
        R2D2Config(ValueConfig(n_step=2, double=True), burn_in=2, trace=4),
        replay=dataclasses.replace(PRIORITIZED, warmup_steps=48),
        core=CoreConfig("lstm", 4),
    ),
}
for name, experiment in REPLAYED.items():
    CASES[f"{name} with replay on 1 device"] = experiment
    CASES[f"{name} with replay on 2 devices"] = dataclasses.replace(
        experiment, runtime=dataclasses.replace(experiment.runtime, num_devices=2)
    )
SLOW = {  # each compiles for long, and shows little that the others do not
    "ppo on 2 devices",
    "a2c on 1 device",
    "a2c on 2 devices",
    "impala behind by 3 on 1 device",
    "dqn with replay on 1 device",
    "dqn with replay on 2 devices",
    "recurrent ppo on 1 device",
    "rainbow with replay on 2 devices",
    "sac with replay on 1 device",
    "r2d2 with replay on 1 device",
}


def killed_after_first_checkpoint(folder: RunFolder, copy) -> RunFolder:
    """The run as a kill would have left it, some time after its first checkpoint."""
    shutil.copytree(folder.path, copy)
    killed = RunFolder(copy)
    killed.summary.unlink()
    checkpoints = checkpoints_of(killed, read(killed).experiment)
    checkpoints.discard_after(checkpoints.steps()[0])
    return killed


def assert_equal_but_for_speed(rows: list[dict], expected: list[dict]) -> None:
    """Metrics are means over chunks, whose rounding differs with their sizes."""
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row:
            if "speed" not in name:
                np.testing.assert_allclose(row[name], other[name], 1e-5, 1e-6)


@pytest.fixture(scope="module", autouse=True)
def compilation_cache(tmp_path_factory) -> Iterator[None]:
    """Keeps compiled programs, as the command line does; compiling takes longest."""
    folder = tmp_path_factory.mktemp("cache")
    use_compilation_cache({"XDG_CACHE_HOME": str(folder)})
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    jax_compilation_cache.reset_cache()


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(
            experiment, id=name, marks=[pytest.mark.slow] if name in SLOW else []
        )
        for name, experiment in CASES.items()
    ],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(experiment, tmp_path):
    _, path = runs.start(experiment, name="x", output_dir=tmp_path / "whole")
    whole = RunFolder(path)
    killed = killed_after_first_checkpoint(whole, tmp_path / "killed")
    summary = runs.resume(killed, read(killed).experiment)
    assert_equal_bit_for_bit(saved_leaves(killed.path), saved_leaves(whole.path))
    rows = read_rows(killed.metrics)
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps))
    assert_equal_but_for_speed(rows, read_rows(whole.metrics))
    assert summary is not None
    assert summary.env_steps // experiment.num_seeds == steps[-1]
    assert summary.evaluation is not None


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> RunFolder:
    """A run at the end of its budget."""
    path = tmp_path_factory.mktemp("finished") / "run"
    runs.start(small(without_annealing()), name="x", output_dir=path)
    return RunFolder(path)


def test_a_finished_run_has_nothing_left_to_do(finished):
    assert runs.resume(finished, read(finished).experiment) is None


def test_a_finished_run_goes_on_with_a_larger_budget(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "longer")
    longer = RunFolder(tmp_path / "longer")
    experiment = read(longer).experiment
    twice = with_budget(experiment, 2 * experiment.budget.total_steps)
    assert runs.resume(longer, twice) is not None
    runs.start(twice, name="x", output_dir=tmp_path / "at once")
    assert_equal_bit_for_bit(
        saved_leaves(longer.path), saved_leaves(tmp_path / "at once")
    )
    assert read(longer).experiment == twice


def test_a_damaged_checkpoint_gives_way_to_the_one_before(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "damaged")
    damaged = RunFolder(tmp_path / "damaged")
    first, last = checkpoints_of(damaged, read(damaged).experiment).steps()
    victim = next((damaged.checkpoints / f"{last:012d}").glob("state/**/d/*"))
    victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    assert runs.resume(damaged, read(damaged).experiment) is not None
    assert_equal_bit_for_bit(saved_leaves(damaged.path), saved_leaves(finished.path))
    steps = [row["step"] for row in read_rows(damaged.metrics)]
    assert steps == sorted(set(steps))
    assert steps[-1] == last > first


def test_a_run_keeps_its_settings_except_the_budget(finished):
    other = small(without_annealing(), num_seeds=2)
    with pytest.raises(ValueError, match=r"except budget.\*, got num_seeds: 1 -> 2"):
        runs.resume(finished, other)


@pytest.mark.parametrize(
    ("name", "agent", "message"),
    [
        ("y", without_annealing(), "are of x, and the run is of y"),
        ("x", PPO, r"has no agent.opt_state\S* expected .* another experiment"),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(
    finished, tmp_path, name, agent, message
):
    shutil.copytree(finished.path, tmp_path / "other")
    other = RunFolder(tmp_path / "other")
    other.write_config(NamedExperiment(name, small(agent)))
    with pytest.raises(ValueError, match=message):
        runs.resume(other, small(agent))


def test_a_signal_saves_the_very_step_at_which_the_run_stops(tmp_path):
    whole = small(without_annealing(), updates=40_000)
    folder = RunFolder(tmp_path / "run")

    def interrupt() -> None:
        while not (folder.metrics.exists() and read_rows(folder.metrics)):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match="and saved; go on with: python") as stop:
        runs.start(whole, name="x", output_dir=folder.path)
    assert stop.value.signal == signal.SIGTERM
    said = re.search(r"environment step ([\d,]+) of 640,000", str(stop.value))
    assert said is not None
    step = int(said[1].replace(",", ""))
    assert 0 < step < 600_000
    assert checkpoints_of(folder, whole).latest() == step
    assert read_rows(folder.metrics)[-1]["step"] == step
    # An evaluation of an earlier policy does not pass for one of the last.
    evaluated = EVALUATION in read_rows(folder.metrics)[-1]
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    assert (summary["evaluation"] is not None) == evaluated
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    # It goes on from there, to just where an uninterrupted run of that length comes.
    updates = int(saved_leaves(folder.path)["agent.num_updates"].max()) + 8
    short = with_budget(read(folder).experiment, updates * 16)
    assert runs.resume(folder, short) is not None
    runs.start(short, name="x", output_dir=tmp_path / "at once")
    assert_equal_bit_for_bit(
        saved_leaves(folder.path), saved_leaves(tmp_path / "at once")
    )


def test_a_nan_stops_the_run_and_is_never_saved(tmp_path):
    experiment = small(environment="tests.environments.failing:failing")
    with pytest.raises(NotFiniteError) as error:
        runs.start(experiment, name="x", output_dir=tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    (good,) = checkpoints_of(folder, experiment).steps()
    assert re.fullmatch(
        r"learner/value_loss and learner/policy_loss and learner/gradient_norm became "
        rf"NaN or infinite by environment step \d+ \(update [5-7]\); the last good "
        rf"checkpoint: step {good} in {folder.checkpoints}",
        str(error.value),
    ), str(error.value)
    for leaf in saved_leaves(folder.path).values():
        assert np.isfinite(leaf).all() or leaf.dtype.kind != "f"
    assert read_rows(folder.metrics)[-1]["step"] >= good


def test_metrics_of_several_seeds_are_lists_and_speed_counts_all(tmp_path):
    summary, path = runs.start(
        small(num_seeds=2), name="x", output_dir=tmp_path / "run"
    )
    rows = read_rows(RunFolder(path).metrics)
    last = rows[-1]
    assert all(len(last[f"evaluation/return_{x}"]) == 2 for x in ("mean", "std"))
    assert len(last["learner/entropy"]) == 2
    assert isinstance(last["speed/steps_per_second"], float)
    assert summary.num_seeds == 2
    assert summary.env_steps // 2 == last["step"]
    expected = summary.env_steps / summary.train_seconds
    assert summary.steps_per_second == pytest.approx(expected)
    assert summary.evaluation is not None
    assert summary.evaluation.episodes == 2 * 4
    assert summary.compile_seconds + summary.train_seconds < summary.wall_seconds


def test_what_fails_before_training_leaves_no_folder(tmp_path):
    too_small = with_budget(small(), 15)
    with pytest.raises(ValueError, match=r"budget.total_steps is 15, and one update"):
        runs.start(too_small, name="x", output_dir=tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == []
