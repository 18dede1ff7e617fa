"""A guarded command ends with its starter, and its children end with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl_dist.processes import guard
from tests.processes.living import is_alive, session_of, wait_until

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', {SLEEP!r}])
print('ready', flush=True)
{SLEEP}
"""


def start(program: str, grace_seconds: float = 0.0, **options) -> subprocess.Popen:
    command = [sys.executable, "-I", "-c", program]
    return subprocess.Popen(
        guard.guarded(command, interpreter=sys.executable, grace_seconds=grace_seconds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        **options,
    )


def say_goodbye(to: Path) -> str:
    """A program that writes a file when it gets SIGTERM, and ends."""
    return f"""
import signal, sys, time
def end(*_):
    open({str(to)!r}, 'w').write('goodbye')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(600)
"""


def release(process: subprocess.Popen) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize("status", [0, 7, -signal.SIGKILL])
def test_the_exit_status_is_that_of_the_command(status):
    end = f"os.kill(os.getpid(), {-status})" if status < 0 else f"os._exit({status})"
    process = start(f"import os; {end}")
    assert process.wait(60) == status
    release(process)


def test_the_command_has_the_id_of_the_process_and_reads_nothing():
    process = start("import os, sys; print(os.getpid(), repr(sys.stdin.read()))")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{process.pid} ''\n"
    assert process.wait(60) == 0
    release(process)


def test_children_of_a_command_end_with_it():
    process = start(STUBBORN)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert len(session_of(process.pid)) == 3  # the command, its child, the watcher
    process.kill()
    wait_until(lambda: not session_of(process.pid))
    process.wait()
    release(process)


def test_the_end_of_the_pipe_is_a_wish_to_end(tmp_path):
    process = start(say_goodbye(tmp_path / "said"), grace_seconds=60.0)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    release(process)
    assert process.wait(60) == 0
    assert (tmp_path / "said").read_text() == "goodbye"
    wait_until(lambda: not session_of(process.pid))


def test_what_ignores_the_wish_is_killed_with_its_children_after_the_grace():
    process = start(STUBBORN, grace_seconds=0.2)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    release(process)
    assert process.wait(60) == -signal.SIGKILL
    wait_until(lambda: not session_of(process.pid))


def test_a_killed_starter_takes_the_command_with_it_though_others_hold_the_pipe():
    """As where a process was forked that has inherited the starter's end of it."""
    program = f"""
import os, subprocess, sys, time
from jaxrl_dist.processes import guard
process = subprocess.Popen(
    guard.guarded([sys.executable, '-c', {SLEEP!r}], interpreter=sys.executable,
                  grace_seconds=0.0),
    stdin=subprocess.PIPE, start_new_session=True,
)
if (other := os.fork()) == 0:
    time.sleep(600)
print(process.pid, other, flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid, other = map(int, starter.stdout.readline().split())
    try:
        assert is_alive(pid)
        starter.kill()
        starter.wait()
        wait_until(lambda: not session_of(pid))
    finally:
        os.kill(other, signal.SIGKILL)
        starter.stdout.close()


def test_a_command_that_does_not_exist_is_named():
    command = guard.guarded(["/no/such"], interpreter=sys.executable, grace_seconds=0.0)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert said == "cannot run /no/such: No such file or directory\n"


def test_a_command_whose_starter_has_ended_before_is_not_run():
    command = guard.guarded(
        [sys.executable, "-c", "print('ran')"],
        interpreter=sys.executable,
        grace_seconds=0.0,
    )
    script = command.index(str(guard.SCRIPT))
    command[script + 1] = "1"  # as if that one had started it
    answer = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "whoever started this has ended\n"
