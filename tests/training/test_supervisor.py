"""The supervisor with tiny processes: restarts, hangs, causes, and an end of all."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxrl_dist.training.interruption import Interruption
from jaxrl_dist.training.kept_process import Event
from jaxrl_dist.training.launchers import LocalLauncher, ProcessSpec
from jaxrl_dist.training.supervisor import Outcome, Supervisor
from tests.processes.living import note_pid, pids_in, session_of, wait_until

SLEEP = "import time; time.sleep(600)"
HEART = "from jaxrl_dist.training.heartbeat import beat; beat()"
QUICK = {"backoff_seconds": 0.0, "heartbeat_timeout_seconds": None}


def spec(name: str, *lines: str, **settings) -> ProcessSpec:
    return ProcessSpec(name, ("-c", "\n".join(lines)), **QUICK | settings)


def wait_for(path: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"


def learner(*lines: str, **settings) -> ProcessSpec:
    return spec("learner", *lines, finishes_run=True, saves=True, **settings)


def run(
    folder: Path,
    *specs: ProcessSpec,
    on_event: Callable[[Event], None] = lambda event: None,
    wish: Interruption | None = None,
) -> Outcome:
    return Supervisor(specs, LocalLauncher(folder / "logs"), on_event).run(wish)


def nothing_lives(folder: Path) -> bool:
    return not any(session_of(pid) for pid in pids_in(folder))


def test_a_run_ends_with_its_learner_and_nothing_outlives_it(tmp_path):
    others = [spec(f"actor-{i}", note_pid(tmp_path), SLEEP) for i in range(2)]
    ready = f"import os, time\nwhile len(os.listdir({str(tmp_path)!r})) < 3: pass"
    outcome = run(tmp_path, *others, learner(ready))
    assert outcome.ended == "finished"
    assert outcome.restarts == {"actor-0": 0, "actor-1": 0, "learner": 0}
    assert len(pids_in(tmp_path)) == 2
    wait_until(lambda: nothing_lives(tmp_path))


def test_what_dies_is_started_again_and_said_and_counted(tmp_path):
    """Three actors' lives: two deaths, and one that lets the learner finish."""
    events: list[Event] = []
    lives = (
        f"import os; n = len([x for x in os.listdir({str(tmp_path)!r}) if x[0] < 'a'])"
    )
    end = f"n < 3 and os._exit(4)\nopen({str(tmp_path / 'done')!r}, 'w')"
    actor = spec("actor", note_pid(tmp_path), lives, end, SLEEP)
    outcome = run(
        tmp_path, actor, learner(wait_for(tmp_path / "done")), on_event=events.append
    )
    assert outcome.restarts == {"actor": 2, "learner": 0}
    assert [x.kind for x in events if x.name == "actor"] == [
        *("started", "died", "started", "died", "started")
    ]
    assert events[-1].restarts == 2
    assert "actor exited with status 4; it is started again in 0 s" in [
        event.message for event in events
    ]


def test_a_process_other_than_the_learner_is_started_again_whatever_its_status(
    tmp_path,
):
    twice = f"import os; len(os.listdir({str(tmp_path)!r})) < 3 and os._exit(0)"
    done = f"open({str(tmp_path / 'done')!r}, 'w')"
    actor = spec("actor", note_pid(tmp_path), twice, done, SLEEP)
    outcome = run(tmp_path, actor, learner(wait_for(tmp_path / "done")))
    assert outcome.ended == "finished"
    assert outcome.restarts["actor"] == 1


def test_the_first_cause_is_kept_when_the_budget_is_used_up(tmp_path):
    """The first death says what is wrong; the later ones only that it still is."""
    first = f"n = len(os.listdir({str(tmp_path)!r}))"
    say = "sys.exit('error: no such game' if n < 3 else 'error: the folder is locked')"
    actor = spec("actor", note_pid(tmp_path), "import sys", first, say, max_restarts=2)
    outcome = run(tmp_path, actor, learner(SLEEP))
    assert outcome.ended == "failed" and outcome.cause is not None
    assert outcome.cause.status == 1
    assert outcome.cause.last_lines == ("error: no such game",)
    log = tmp_path / "logs" / "actor.log"
    assert str(outcome) == (
        "actor ended 3 times within 600 s, first it exited with status 1: "
        f"no such game (see {log})"
    )
    assert outcome.restarts == {"actor": 2, "learner": 0}
    assert log.read_text().count("the folder is locked") == 2


def test_what_cannot_begin_is_not_tried_for_long(tmp_path):
    actor = spec(
        "actor",
        "import os; os._exit(1)",
        max_early_restarts=1,
        heartbeat_timeout_seconds=60.0,
    )
    outcome = run(tmp_path, actor, learner(SLEEP))
    assert outcome.ended == "failed"
    assert outcome.restarts["actor"] == 1


def test_a_status_after_which_no_start_helps_ends_the_run_at_once(tmp_path):
    actor = spec("actor", "import sys; print('error: bad'); sys.exit(2)")
    outcome = run(tmp_path, actor, learner(SLEEP))
    assert outcome.cause is not None and outcome.cause.status == 2
    assert str(outcome).startswith("actor exited with status 2: bad (see ")
    assert outcome.restarts["actor"] == 0


def test_a_run_goes_on_without_what_is_not_essential_and_says_so(tmp_path):
    events: list[Event] = []
    evaluator = spec("evaluator", "import sys; sys.exit(2)", is_essential=False)

    def note(event: Event) -> None:
        events.append(event)
        if event.kind == "given up":
            (tmp_path / "done").touch()

    outcome = run(
        tmp_path, evaluator, learner(wait_for(tmp_path / "done")), on_event=note
    )
    assert outcome.ended == "finished"
    assert [death.name for death in outcome.given_up] == ["evaluator"]
    assert "evaluator exited with status 2" in str(outcome)


def test_a_process_without_heartbeats_is_killed_with_its_children_and_replaced(
    tmp_path,
):
    """The first life hangs after its first beat, in spite of SIGTERM."""
    hang = f"""
{HEART}
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len([x for x in os.listdir({str(tmp_path)!r}) if x.isdigit()]) == 1:
    subprocess.Popen([sys.executable, '-c', {SLEEP!r}])
    {SLEEP}
open({str(tmp_path / "done")!r}, 'w')
while True:
    beat()
"""
    first: list[int] = []

    def note(event: Event) -> None:
        if event.kind == "hung":
            first.extend(pids_in(tmp_path))
            wait_until(lambda: not session_of(first[0]))

    settings = {"heartbeat_timeout_seconds": 1.0, "stop_timeout_seconds": 0.0}
    actor = spec("actor", note_pid(tmp_path), hang, **settings)
    outcome = run(tmp_path, actor, learner(wait_for(tmp_path / "done")), on_event=note)
    assert outcome.ended == "finished"
    assert outcome.restarts["actor"] == 1
    assert len(first) == 1
    wait_until(lambda: nothing_lives(tmp_path))


def test_a_start_may_take_longer_than_a_heartbeat_and_so_may_what_is_said_to(tmp_path):
    slow = f"import time; time.sleep(1.5)\n{HEART}; beat(60.0); time.sleep(1.5)"
    outcome = run(tmp_path, learner(slow, heartbeat_timeout_seconds=0.3))
    assert outcome.restarts["learner"] == 0


def test_a_process_that_never_beats_has_its_start_limited(tmp_path):
    settings = {"heartbeat_timeout_seconds": 60.0, "start_timeout_seconds": 0.3}
    outcome = run(tmp_path, learner(SLEEP, max_restarts=0, **settings))
    assert outcome.cause is not None
    assert outcome.cause.reason == (
        "sent no heartbeat within 0.3 s after its start and was killed"
    )


def note_end(folder: Path, name: str) -> str:
    """Writes a line when asked to end, and takes its time to."""
    return f"""
import signal, sys, time
def end(*_):
    time.sleep(0.2)
    with open({str(folder / "order")!r}, 'a') as file:
        file.write({name + " "!r})
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open({str(folder / ("ready-" + name))!r}, 'w')
time.sleep(600)
"""


def test_a_wish_to_stop_reaches_the_learner_first_and_the_server_last(tmp_path):
    names = ("server", "learner", "actor")
    specs = [
        spec("server", note_end(tmp_path, "server"), ends_last=True),
        learner(note_end(tmp_path, "learner")),
        spec("actor", note_end(tmp_path, "actor")),
    ]
    wish = Interruption()

    def stop() -> None:
        wait_until(lambda: all((tmp_path / f"ready-{x}").exists() for x in names))
        wish.signal = signal.SIGINT

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = run(tmp_path, *specs, wish=wish)
    thread.join()
    assert outcome.ended == "interrupted"
    assert (tmp_path / "order").read_text() == "learner actor server "


def ends_with(folder: Path, name: str, action: str) -> tuple[str, ...]:
    """Lines of a process that does something when it is asked to end."""
    return (
        "import signal, sys, time",
        "def end(*_):",
        "    print('error: No space left on device')",
        f"    {action}",
        "signal.signal(signal.SIGTERM, end)",
        f"open({str(folder / name)!r}, 'w')",
        SLEEP,
    )


def interrupt_once(*ready: Path) -> Interruption:
    """A wish to stop, that comes when all files are there."""
    wish = Interruption()

    def stop() -> None:
        wait_until(lambda: all(path.exists() for path in ready))
        wish.signal = signal.SIGINT

    threading.Thread(target=stop).start()
    return wish


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("sys.exit(0)", None),
        ("sys.exit(130)", None),
        ("sys.exit(2)", "exited with status 2 when it was to save: No space left"),
        ("time.sleep(600)", "was ended by SIGKILL when it was to save"),
    ],
)
def test_an_interrupted_run_has_failed_if_its_learner_could_not_save(
    action, reason, tmp_path
):
    kept = learner(*ends_with(tmp_path, "on", action), stop_timeout_seconds=1.0)
    events: list[Event] = []
    wish = interrupt_once(tmp_path / "on")
    outcome = run(tmp_path, kept, wish=wish, on_event=events.append)
    assert outcome.ended == ("interrupted" if reason is None else "failed")
    deaths = [event.message for event in events if event.death is not None]
    if reason is None:
        assert deaths == []
    else:
        assert reason in str(outcome)
        assert len(deaths) == 1 and reason in deaths[0]


@pytest.mark.parametrize("saves", [False, True])
def test_a_server_that_fails_in_the_end_matters_where_it_saves(saves, tmp_path):
    lines = ends_with(tmp_path, "server", "sys.exit(1)")
    server = spec("server", *lines, ends_last=True, saves=saves)
    kept = learner(*ends_with(tmp_path, "learner", "sys.exit(130)"))
    wish = interrupt_once(tmp_path / "server", tmp_path / "learner")
    outcome = run(tmp_path, server, kept, wish=wish)
    assert outcome.ended == ("failed" if saves else "interrupted")


def test_what_does_not_end_in_time_is_killed(tmp_path):
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    actor = spec("actor", ignore, note_pid(tmp_path), SLEEP, stop_timeout_seconds=0.1)
    ready = f"import os, time\nwhile len(os.listdir({str(tmp_path)!r})) < 2: pass"
    assert run(tmp_path, actor, learner(ready)).ended == "finished"
    wait_until(lambda: nothing_lives(tmp_path))


PROGRAM = """
import pathlib, sys
from jaxrl_dist.training.launchers import LocalLauncher, ProcessSpec
from jaxrl_dist.training.supervisor import Supervisor
folder, *programs = sys.argv[1:]
specs = [
    ProcessSpec(f"p{n}", ("-c", program), finishes_run=n == 0,
                heartbeat_timeout_seconds=None, stop_timeout_seconds=1.0)
    for n, program in enumerate(programs)
]
outcome = Supervisor(specs, LocalLauncher(pathlib.Path(folder) / "logs")).run()
assert "jax" not in sys.modules
print(outcome.ended)
"""
STUBBORN = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, '-c', {SLEEP!r}])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_supervisor_however_it_ends(number, tmp_path):
    """Not even a child of a process that does not listen."""
    before = set(Path("/tmp").iterdir())
    programs = [
        f"{note_pid(tmp_path)}\n{SLEEP}",
        f"{STUBBORN}\n{note_pid(tmp_path)}\n{SLEEP}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path, *programs],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    wait_until(lambda: len(pids_in(tmp_path)) == 2)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert (process.returncode, said) == (0, "interrupted\n")
    wait_until(lambda: nothing_lives(tmp_path))
    own = os.getpid()
    assert not [x for x in set(Path("/tmp").iterdir()) - before if str(own) in x.name]


def test_a_second_signal_ends_all_at_once(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", PROGRAM.replace("=1.0", "=600.0"), tmp_path),
            f"{STUBBORN}\n{note_pid(tmp_path)}\n{SLEEP}",
        ],
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(pids_in(tmp_path)) == 1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    wait_until(lambda: nothing_lives(tmp_path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a"], "two processes have the name 'a'"),
        (["a", "b"], "exactly one process must have finishes_run, got \\['a', 'b'\\]"),
    ],
)
def test_processes_that_do_not_make_a_run_are_refused(names, message, tmp_path):
    specs = [spec(name, finishes_run=True) for name in names]
    with pytest.raises(ValueError, match=message):
        Supervisor(specs, LocalLauncher(tmp_path))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_restarts": -1}, "max_restarts must be at least 0, got -1"),
        (
            {"start_timeout_seconds": 0.0},
            "start_timeout_seconds must be above 0, got 0",
        ),
        ({"name": "a/b"}, "name must be that of a file, got 'a/b'"),
    ],
)
def test_a_wrong_setting_of_a_process_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        ProcessSpec(**{"name": "a", "arguments": ()} | setting)


def test_what_somebody_else_kills_while_it_starts_is_tried_on(tmp_path):
    """Four lives, three of which end before a heartbeat."""
    count = f"n = len([x for x in os.listdir({str(tmp_path)!r}) if x.isdigit()])"
    end = f"n < 4 and os.kill(os.getpid(), {int(signal.SIGKILL)})"
    done = f"open({str(tmp_path / 'done')!r}, 'w')"
    actor = spec(
        *("actor", note_pid(tmp_path), count, end, done, SLEEP),
        max_early_restarts=1,
        heartbeat_timeout_seconds=60.0,
    )
    outcome = run(tmp_path, actor, learner(wait_for(tmp_path / "done")))
    assert outcome.ended == "finished"
    assert outcome.restarts["actor"] == 3
