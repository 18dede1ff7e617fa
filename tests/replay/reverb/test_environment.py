"""The server's environment: what it consists of, and what is said if it is missing."""

import os
import subprocess
import sys
import time

import pytest

from jaxrl_dist.replay.reverb import environment


def run_python(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        timeout=120,
        check=False,
    )


def test_the_package_does_not_need_the_extra_but_reverb_does_and_says_so():
    program = (
        "import sys; sys.modules['{}'] = None\n"
        "import jaxrl_dist.replay\n"
        "assert 'grpc' not in sys.modules or sys.modules['grpc'] is None\n"
        "import jaxrl_dist.replay.reverb"
    )
    for package in ("grpc", "cramjam", "google.protobuf"):
        done = run_python(program.format(package))
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert "pip install 'jaxrl-dist[reverb]'" in last


def test_every_package_of_the_server_is_pinned():
    requirements = environment.requirements()
    assert "dm-reverb[tensorflow]==0.14.0" in requirements
    assert "tensorflow==2.15.1" in requirements
    assert all("==" in requirement for requirement in requirements)


@pytest.mark.reverb
def test_the_environment_is_made_once_and_has_the_pinned_reverb():
    python = environment.prepare()
    assert environment.is_installed()
    lines: list[str] = []
    assert environment.prepare(lines.append) == python
    assert lines == []
    assert environment.missing() == []
    assert environment.import_fault(python) == ""
    query = "from importlib.metadata import version; print(version('dm-reverb'))"
    answer = subprocess.run(
        [python, "-I", "-c", query], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "0.14.0"


def test_without_network_it_says_what_cannot_be_installed(tmp_path):
    """An empty cache and no network: as on a new machine that is cut off."""
    offline = {"UV_CACHE_DIR": str(tmp_path), "UV_OFFLINE": "1"}
    program = (
        "from jaxrl_dist.replay import reverb\n"
        "import sys\n"
        "server = reverb.Server([reverb.Table('t')], log=print)\n"
        "try:\n"
        "    server.start()\n"
        "except reverb.ServerError as error:\n"
        "    print('error:', error)\n"
    )
    done = run_python(program, **offline)
    assert "installing 46 packages" in done.stdout
    assert "error: uv could not make the Reverb server's environment" in done.stdout
    module = "import runpy, sys; sys.argv = ['reverb', 'check']\n" + (
        "runpy.run_module('jaxrl_dist.replay.reverb', run_name='__main__')"
    )
    done = run_python(module, **offline)
    assert done.returncode == 1
    assert "missing: the server's environment is not installed yet" in done.stdout


@pytest.fixture
def slow_install(tmp_path, monkeypatch):
    """An installation that says one thing and then takes a minute; its process id."""
    program = tmp_path / "uv"
    program.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho resolving >&2\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(environment, "find_uv", lambda: str(program))
    monkeypatch.setattr(environment, "_HEARTBEAT_SECONDS", 0.2)
    return lambda: int((tmp_path / "pid").read_text())


@pytest.mark.parametrize("word", ["resolving", "still installing"])
def test_an_installation_ends_with_the_error_of_whom_it_reports_to(word, slow_install):
    """Said by uv, or by the heart-beat, which is another thread."""

    def report(line):
        if word in line:
            raise BrokenPipeError("nobody reads")

    began = time.monotonic()
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        environment._install(report)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(slow_install(), 0)


def test_this_python_does_not_leak_into_the_server():
    os.environ["PYTHONPATH"] = "/somewhere"
    try:
        variables = environment.server_variables()
    finally:
        del os.environ["PYTHONPATH"]
    assert not [name for name in variables if name.startswith("PYTHON")]
    assert variables["CUDA_VISIBLE_DEVICES"] == "-1"
