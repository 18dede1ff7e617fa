"""The terminal shows where a run is, costs little, and never stops it."""

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from jaxrl_dist.loggers import Terminal
from jaxrl_dist.loggers.terminal import can_be_live, show_seconds

REPORT = {
    "losses/policy": -0.0132,
    "losses/value": 12.5,
    "losses/entropy": 0.5,
    "training/return_mean": [400.0, 424.0],
    "speed/steps_per_second": 123_456.0,
}


def plain_lines(*reports: tuple[int, dict], **settings) -> list[str]:
    stream = io.StringIO()
    terminal = Terminal("title", 100_000, stream=stream, live=False, **settings)
    for step, metrics in reports:
        terminal.write(step, metrics)
    terminal.close()
    return stream.getvalue().splitlines()


def test_a_plain_line_says_steps_speed_time_left_and_metrics():
    title, line, end = plain_lines((50_000, REPORT), (100_000, {}))
    assert title == "title"
    assert re.fullmatch(
        r"50,000 / 100,000 steps \| 123,456 steps/s \| 0 s left \| "
        r"training: return_mean 412 ± 12 \| losses: policy -0\.0132, value 12\.5",
        line,
    )
    assert end == "100,000 / 100,000 steps | 123,456 steps/s | in 0 s"


def test_lines_come_at_intervals_but_evaluations_always():
    reports = [(step, {"losses/value": 1.0}) for step in range(1, 100)]
    reports.insert(50, (51, {"evaluation/return_mean": 475.0}))
    lines = plain_lines(*reports)
    assert len(lines) == 4  # title, the first, the evaluation, the last
    assert "51 / 100,000 steps" in lines[2]
    assert "evaluation: return_mean 475" in lines[2]
    assert "evaluation" not in lines[3]  # it is no news any more


def test_without_reports_there_is_nothing_to_say():
    assert plain_lines() == []


def test_speed_is_estimated_where_none_is_reported():
    terminal = Terminal("", 1_000, 400, stream=io.StringIO(), live=False)
    time.sleep(0.05)
    terminal.write(500, {})
    assert 0 < (terminal.steps_per_second() or 0) <= 100 / 0.05
    # The 500 steps to go take five times as long as the 100 since it began.
    assert 0.25 <= (terminal.seconds_left() or 0) < 10


def test_notes_have_lines_of_their_own():
    stream = io.StringIO()
    Terminal("title", 10, stream=stream, live=False).note("compiled in 2.3 s")
    assert stream.getvalue() == "compiled in 2.3 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7_500, "2 h 5 min")],
)
def test_durations_are_said_as_people_do(seconds, text):
    assert show_seconds(seconds) == text


def test_a_display_needs_a_terminal_that_is_watched():
    main, other = pty.openpty()
    with os.fdopen(main), os.fdopen(other, "w") as terminal:
        assert can_be_live(terminal, {"TERM": "xterm"})
        assert not can_be_live(terminal, {"TERM": "xterm", "NO_COLOR": "1"})
        assert not can_be_live(terminal, {"TERM": "xterm", "CI": "true"})
        assert not can_be_live(terminal, {"TERM": "dumb"})
        assert not can_be_live(terminal, {})
    assert not can_be_live(io.StringIO(), {"TERM": "xterm"})


def shown_on_a_terminal(body: str, columns: int = 100) -> str:
    """What a run leaves on a terminal, escape sequences removed."""
    script = f"from jaxrl_dist.loggers import Terminal\nREPORT = {REPORT}\n{body}"
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")}
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=other,
        stderr=other,
        env=environment | {"TERM": "xterm-256color", "COLUMNS": str(columns)},
    )
    os.close(other)
    output = b""
    try:
        while chunk := os.read(main, 65_536):
            output += chunk
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    os.close(main)
    assert process.wait(timeout=60) == 0, output.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode())


SHOW = """
terminal = Terminal("cartpole_ppo", 100_000)
terminal.write(25_000, REPORT | {"evaluation/return_mean": 300.0})
terminal.note("checkpoint saved")
terminal.write(50_000, REPORT)
terminal.close()
print("after", terminal.live)
"""


def test_the_display_says_all_that_was_reported():
    text = shown_on_a_terminal(SHOW)
    last = text[text.rindex("cartpole_ppo") :]
    for part in ("50%", "50,000 / 100,000 steps", "123,456 steps/s", "in 0 s"):
        assert part in last
    header, return_mean, value = (
        next(line for line in last.splitlines() if word in line)
        for word in ("evaluation", "return mean", "value")
    )
    assert header.split() == ["evaluation", "at", "25,000", "training", "losses"]
    assert return_mean.split()[:3] == ["return", "mean", "300"]
    assert "412 ± 12" in return_mean
    assert "12.5" in value
    assert "checkpoint saved" in text
    assert last.rstrip().endswith("after True")


def test_a_narrow_terminal_shows_what_fits():
    text = shown_on_a_terminal(SHOW, columns=45)
    last = text[text.rindex("cartpole_ppo") :]
    assert "evaluation" in last
    assert "losses" not in last
    assert max(len(line) for line in last.splitlines()) <= 45


@pytest.mark.parametrize("reader", ["head -c 10", "true"])
def test_a_closed_pipe_does_not_stop_the_run(reader, tmp_path):
    script = f"""
import time
from jaxrl_dist.loggers import Terminal
terminal = Terminal("title", 10**9)
for step in range(200):
    terminal.write(step, {{"evaluation/return_mean": 1.0}})
    terminal.note("x" * 1000)
    time.sleep(0.001)
terminal.close()
print("the run's own last word")
open({str(tmp_path / "survived")!r}, "w").close()
"""
    command = f'set -o pipefail; "$0" -c "$1" | {reader} > /dev/null'
    # Buffered, as it is by default: Python then writes once more as it ends.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    run = subprocess.run(
        ["bash", "-c", command, sys.executable, script],
        env=environ,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "survived").exists()


def test_plain_lines_do_not_import_rich():
    script = (
        "import sys; from jaxrl_dist.loggers import Terminal;"
        "t = Terminal('', 10, live=False); t.write(1, {}); t.close();"
        "sys.exit(any(x in sys.modules for x in ('rich', 'tensorboardX')))"
    )
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_a_report_that_is_not_shown_costs_little():
    terminal = Terminal("", 10**9, stream=io.StringIO(), live=False)
    terminal.write(0, REPORT)
    start = time.perf_counter()
    for step in range(1_000):
        terminal.write(step, REPORT)
    # 0.01 s here; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 0.2
