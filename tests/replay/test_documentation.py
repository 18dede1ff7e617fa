"""The program of docs/replay.md runs as it stands."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_the_program_of_the_documentation_runs():
    text = (ROOT / "docs" / "replay.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    number, weight = done.stdout.split()
    assert int(number) == 8 * (100 * 16 - 1)
    assert 0 < float(weight) <= 1
