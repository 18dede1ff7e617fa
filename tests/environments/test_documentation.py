"""docs/hosts.md: its program runs as it stands, and its table of presets is true."""

import pathlib
import re

from jaxrl_dist.environments.atari import dqn, impala, machado

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "hosts.md").read_text()


def test_the_program_of_the_documentation_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(program, {})
    assert capsys.readouterr().out.split() == ["[1."] + ["1."] * 6 + ["1.]"] + (
        ["[False"] + ["False"] * 6 + ["False]"]
    )


def test_the_table_of_presets_says_what_they_are():
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]]
        for line in TEXT.splitlines()
        if line.startswith("| ") and line.count("|") == 5
    }
    presets = [preset("pong") for preset in (dqn, impala, machado)]
    assert rows["sticky actions"] == [
        str(p.sticky_action_probability or "no") for p in presets
    ]
    assert rows["frames for which one is held"] == [str(p.frame_skip) for p in presets]
    assert [
        int(re.sub("[^0-9]", "", x)) for x in rows["an episode is cut off after"]
    ] == [p.max_frames for p in presets]
    assert [x == "terminates" for x in rows["a lost life"]] == [
        p.lost_life == "terminate" for p in presets
    ]
