"""A run's folder: never another run's, and every error says what to do."""

import dataclasses
import errno
import json
import re
from pathlib import Path

import pytest

from jaxrl_dist.run_folder import (
    EvaluationSummary,
    RunFolder,
    Summary,
    naming_the_folder,
)


@dataclasses.dataclass(frozen=True)
class Config:
    """A configuration small enough to read."""

    rate: float = 1e-3
    sizes: tuple[int, ...] = (4, 5)


SUMMARY = Summary(
    experiment="cartpole_ppo",
    environment="CartPole-v1",
    agent="ppo",
    seed=3,
    num_seeds=1,
    updates=73,
    env_steps=150_000,
    compile_seconds=2.5,
    train_seconds=1.25,
    wall_seconds=8.0,
    steps_per_second=120_000.0,
    evaluation=EvaluationSummary(100, 499.0, 2.0, 490.0, 500.0),
    versions={"jax": "0.10.2"},
    devices=["cpu:0"],
)


def test_by_default_a_run_lies_under_its_experiment_time_and_seed(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(None, "cartpole_ppo", seed=3)
    assert re.fullmatch(r"runs/cartpole_ppo/\d{8}-\d{6}-3", folder.path.as_posix())
    assert folder.path.is_dir()


def test_runs_of_one_second_and_seed_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {RunFolder.create(None, "x", seed=0).path for _ in range(5)}
    assert len(folders) == 5


def test_an_empty_folder_may_be_used(tmp_path):
    assert RunFolder.create(tmp_path, "x", seed=0).path == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "precious").write_text("do not touch")
    with pytest.raises(ValueError, match=r"--output-dir .* is not empty: .*--resume"):
        RunFolder.create(tmp_path, "x", seed=0)
    assert (tmp_path / "precious").read_text() == "do not touch"


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError, match=r"--output-dir .*file/run cannot be written: N"
    ):
        RunFolder.create(tmp_path / "file" / "run", "x", seed=0)
    with pytest.raises(ValueError, match="cannot be written: File exists"):
        RunFolder.create(tmp_path / "file", "x", seed=0)


def test_a_configuration_can_be_read_back(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "x", seed=0)
    folder.write_config(Config(rate=3e-4, sizes=()))
    again = RunFolder.open(tmp_path / "run")
    assert again.read_config(classes=[Config]) == Config(rate=3e-4, sizes=())


def test_a_configuration_that_cannot_be_read_is_named(tmp_path):
    folder = RunFolder.create(tmp_path, "x", seed=0)
    folder.write_config(Config())
    with pytest.raises(
        ValueError, match=r"config\.json cannot be read: .*unknown type"
    ):
        folder.read_config()
    folder.config.write_text('{"type": ')
    with pytest.raises(ValueError, match=r"config\.json cannot be read: Expecting"):
        folder.read_config()


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="gone does not exist"):
        RunFolder.open(tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file"):
        RunFolder.open(tmp_path / "file")
    with pytest.raises(ValueError, match=r"is no run folder: it has no config\.json$"):
        RunFolder.open(tmp_path)


def test_the_newest_run_inside_is_offered(tmp_path):
    for name in ("20260101-000000-0", "20260102-000000-0"):
        RunFolder.create(tmp_path / "x" / name, "x", seed=0).write_config(Config())
    with pytest.raises(ValueError, match=r"did you mean .*x/20260102-000000-0\?"):
        RunFolder.open(tmp_path)


def test_the_summary_has_the_fields_that_others_rely_on(tmp_path):
    folder = RunFolder.create(tmp_path, "x", seed=0)
    folder.write_summary(SUMMARY)
    folder.write_summary(dataclasses.replace(SUMMARY, evaluation=None))
    assert json.loads(folder.summary.read_text())["evaluation"] is None
    folder.write_summary(SUMMARY)
    data = json.loads(folder.summary.read_text())
    assert list(data) == [
        "experiment",
        "environment",
        "agent",
        "seed",
        "num_seeds",
        "updates",
        "env_steps",
        "compile_seconds",
        "train_seconds",
        "wall_seconds",
        "steps_per_second",
        "evaluation",
        "versions",
        "devices",
    ]
    assert data["evaluation"] == {
        "episodes": 100,
        "return_mean": 499.0,
        "return_std": 2.0,
        "return_min": 490.0,
        "return_max": 500.0,
    }
    assert [x.name for x in tmp_path.iterdir()] == ["summary.json"]


def test_a_summary_that_cannot_be_written_leaves_the_old_one(tmp_path):
    folder = RunFolder.create(tmp_path, "x", seed=0)
    folder.write_summary(SUMMARY)
    with pytest.raises(TypeError, match="not JSON serializable"):
        folder.write_summary(dataclasses.replace(SUMMARY, versions={"x": object()}))  # pyright: ignore[reportArgumentType]
    assert json.loads(folder.summary.read_text())["seed"] == 3


def test_everything_lies_in_the_folder(tmp_path):
    folder = RunFolder(tmp_path)
    names = ["config", "metrics", "events", "checkpoints", "learning_curve", "summary"]
    assert {getattr(folder, name).parent for name in names} == {tmp_path}
    assert len({getattr(folder, name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left"), True),
        (OSError(errno.ENOSPC, "No space left", "elsewhere"), False),
        (OSError(errno.EPIPE, "Broken pipe"), False),
    ],
)
def test_an_error_of_the_disk_that_names_no_file_gets_the_folder(error, named):
    with pytest.raises(OSError) as caught, naming_the_folder(Path("runs/x")):
        raise error
    assert caught.value.errno == error.errno
    assert caught.value.filename == ("runs/x" if named else error.filename)
