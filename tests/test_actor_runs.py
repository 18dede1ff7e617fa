"""Runs with actors, as their user meets them, and one line for what is wrong."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl_dist import cli, runs
from jaxrl_dist.agents.dqn import DQNConfig
from jaxrl_dist.agents.impala import IMPALAConfig
from jaxrl_dist.agents.ppo import PPOConfig
from jaxrl_dist.experiment import plan
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.parts import connect
from jaxrl_dist.replay import reverb
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.runtimes import with_actors
from jaxrl_dist.training.actors_config import ActorsConfig
from tests.small_experiments import PRIORITIZED, small
from tests.training.actor_threads import prepare

RUN = (
    *("experiments.cartpole_impala", "--runtime", "actors", "--actors", "2"),
    # The last row of an episode is no step; here, an episode has 200 of them.
    *("--environment.name", "MountainCar-v0"),
    *("--network.hidden", "8", "--environment.num-envs", "4"),
    *("--runtime.rollout-steps", "5", "--budget.eval-episodes", "4"),
    *("--budget.evaluations", "2", "--runtime.num-devices", "2", "--output-dir"),
)


def command(*arguments: str | Path) -> subprocess.CompletedProcess:
    """Runs `python -m ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        env=os.environ | {"CI": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.reverb
def test_processes_train_and_leave_a_folder_that_all_commands_understand(tmp_path):
    folder = tmp_path / "run"
    ended = command(*RUN, folder, "--budget.total-steps", "2000")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "another run of this seed will differ" in ended.stdout
    assert f"everything is in {folder}" in ended.stdout
    made = RunFolder(folder)
    summary = json.loads(made.summary.read_text())
    assert summary["updates"] == 100  # of 4 trajectories with 5 steps each
    assert 1900 < summary["env_steps"] <= 2000
    assert summary["evaluation"]["episodes"] == 4
    assert made.learning_curve.exists()
    rows = read_rows(made.metrics)
    last = rows[-1]
    for name in (
        "actors/policy_lag_mean",
        "actors/policy_lag_max",
        "learning/updates_per_second",
        "learning/waiting_share",
        "tables/experience_size",
        "evaluation/return_mean",
        "learner/value_loss",
    ):
        assert name in last, name
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps)

    more = command("jaxrl_dist", "resume", folder, "--budget.total-steps", "3000")
    assert more.returncode == 0, more.stderr
    resumed = json.loads(made.summary.read_text())
    assert resumed["updates"] == 150
    assert 2900 < resumed["env_steps"] <= 3000
    played = command("jaxrl_dist", "evaluate", folder, "--episodes", "3")
    assert played.returncode == 0, played.stderr
    assert "greedy" in played.stdout


def wrong(capsys, *arguments: str, agent=None, replay=None) -> str:
    """The one line with which a wrong command line ends."""
    with pytest.raises(SystemExit) as stop:
        cli.main(small(agent, replay=replay), arguments, name="small")
    assert stop.value.code == 2
    return capsys.readouterr().err.removeprefix("error: ").rstrip()


def test_settings_that_do_not_fit_are_refused_before_anything_starts(capsys, tmp_path):
    folder = ("--output-dir", str(tmp_path / "run"))
    said = wrong(capsys, "--actors", "3", *folder)
    assert said == (
        "runtime.num_actors is 3, over which 4 environments do not divide; "
        "1, 2, 4 would do"
    )
    said = wrong(capsys, "--actors=2", "--runtime.lock-step", "False", *folder)
    assert said.startswith("runtime.lock_step must be None or True: the agent learns ")
    said = wrong(capsys, "--runtime", "clouds", *folder)
    assert said == "--runtime must be device or actors, got clouds"
    said = wrong(capsys, "--actors", "2", "--num-seeds", "2", *folder)
    assert said.startswith("num_seeds is 2, and a run with actors has one")
    said = wrong(capsys, "--actors", "2", "--runtime.replayed-share", "1", *folder)
    assert said == "runtime.replayed_share must be in [0, 1), got 1.0"
    assert not (tmp_path / "run").exists()


def test_a_port_in_use_is_refused(capsys, tmp_path):
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = wrong(
            capsys,
            *("--actors", "2", "--runtime.port", str(port)),
            *("--output-dir", str(tmp_path / "run")),
        )
    assert said == (
        f"runtime.port {port} cannot be used: Address already in use; name another, "
        "or none to have a free one chosen"
    )
    assert not (tmp_path / "run").exists()


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    capsys, tmp_path, monkeypatch
):
    for name in [*sys.modules]:
        if name.startswith(("jaxrl_dist.actor_runs", "jaxrl_dist.replay.reverb")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("jaxrl_dist.replay.reverb")
    monkeypatch.setitem(sys.modules, "cramjam", None)
    said = wrong(capsys, "--actors", "2", "--output-dir", str(tmp_path / "run"))
    assert said == (
        "jaxrl_dist.replay.reverb needs the extra `reverb` (cramjam is missing): "
        "pip install 'jaxrl-dist[reverb]'"
    )


def test_another_budget_only_changes_a_resumed_run(tmp_path):
    experiment = with_actors(small(IMPALAConfig()))
    _, folder = prepare(experiment, tmp_path / "run")
    with pytest.raises(ValueError, match="keeps its settings except budget"):
        runs.resume(folder, small(IMPALAConfig()))
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        runs.resume(folder, experiment)


def test_who_learns_from_the_newest_policy_goes_in_lock_step():
    kinds = []
    for agent, replay in (
        (PPOConfig(num_minibatches=2), None),
        (IMPALAConfig(), None),
        (DQNConfig(), PRIORITIZED),
    ):
        flow = plan(with_actors(small(agent, replay=replay))).flow
        assert flow is not None
        kinds.append(flow.kind)
    assert kinds == ["rounds", "queue", "replay"]


@pytest.mark.reverb
def test_a_server_of_another_run_or_none_is_refused(tmp_path):
    runtime = ActorsConfig(num_actors=1, rollout_steps=4, timeout_seconds=0.3)
    experiment = dataclasses.replace(small(IMPALAConfig()), runtime=runtime)
    part, _ = prepare(experiment, tmp_path / "run")
    with pytest.raises(reverb.DeadlineError, match="no Reverb server answers at"):
        connect("localhost:1", part, lambda: None)
    other = [reverb.Table("replay"), reverb.queue("experience", 7)]
    with reverb.Server(other) as server:
        with pytest.raises(reverb.TableError, match="no table 'handshake'"):
            connect(server.address, part, lambda: None)
        with pytest.raises(reverb.TablesDifferError, match="'experience' has max_size"):
            connect(server.address, part, lambda: None, learner=True)
