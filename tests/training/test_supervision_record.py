"""What a run's folder says of its processes."""

import json

from jaxrl_dist.training.kept_process import Death, Event
from jaxrl_dist.training.supervision_record import Record, read_restarts

FIRST = Death("actor", 1, "exited with status 1", ("error: no game",), "actor.log")
LATER = FIRST._replace(name="learner")


def test_restarts_are_counted_and_the_first_death_is_kept(tmp_path):
    record = Record(tmp_path / "supervision.json", ["actor", "learner"])
    assert read_restarts(record.path) == {"actor": 0, "learner": 0}
    assert json.loads(record.path.read_text())["first_death"] is None
    record.note(Event("died", "actor", 0, "", FIRST))
    record.note(Event("started", "actor", 1, "", None))
    record.note(Event("died", "learner", 0, "", LATER))
    assert read_restarts(record.path) == {"actor": 1, "learner": 0}
    assert json.loads(record.path.read_text())["first_death"] == {
        "name": "actor",
        "status": 1,
        "reason": "exited with status 1",
        "last_lines": ["error: no game"],
        "where": "actor.log",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["supervision.json"]


def test_a_run_without_a_supervisor_counts_no_restarts(tmp_path):
    assert read_restarts(tmp_path / "supervision.json") == {}
