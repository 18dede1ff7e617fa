"""A run says what it was made with."""

import importlib.metadata
import json
import platform
import subprocess

import jax

from jaxrl_dist.versions import devices, git_commit, hardware, versions


def test_versions_are_those_that_run():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["jax"] == jax.__version__
    for name in ("jaxlib", "flax", "optax", "gymnax", "orbax-checkpoint", "numpy"):
        assert found[name] == importlib.metadata.version(name)
    assert "jaxrl-dist" in found
    json.dumps(found)


def test_a_commit_is_given_and_changes_are_told(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    assert git_commit(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--message", "first")
    git("tag", "--annotate", "v1", "--message", "a tag")
    commit = git("rev-parse", "HEAD").strip()
    assert git_commit(tmp_path) == commit[:12]
    (tmp_path / "file").write_text("2")
    assert git_commit(tmp_path) == commit[:12] + "-dirty"


def test_a_folder_that_only_looks_like_a_checkout_has_no_commit(tmp_path):
    (tmp_path / ".git").mkdir()
    assert git_commit(tmp_path) is None


def test_each_device_is_named():
    assert devices() == ["cpu:0", "cpu:1", "cpu:2", "cpu:3"]


def test_the_hardware_begins_with_the_number_of_cores():
    count, _, model = hardware().partition(" × ")
    assert int(count) >= 1
    assert model
