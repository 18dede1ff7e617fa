"""Reports come in the order of their steps, though evaluations are late."""

from jaxrl_dist.training import journal as module
from jaxrl_dist.training.journal import Journal


class Kept:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict]] = []

    def write(self, step: int, metrics) -> None:
        """Keeps a report."""
        self.rows.append((step, dict(metrics)))

    def close(self) -> None:
        """Does nothing."""


def test_later_reports_wait_for_an_evaluation_and_share_its_row():
    kept = Kept()
    journal = Journal(kept)
    journal.write(10, {"a": 1.0})
    journal.expect(20)
    journal.write(20, {"a": 2.0})
    journal.write(30, {"a": 3.0})
    journal.release()
    assert kept.rows == [(10, {"a": 1.0})]
    journal.write(20, {"evaluation": 0.5})
    journal.arrived(20)
    journal.release()
    assert kept.rows[1:] == [(20, {"a": 2.0, "evaluation": 0.5}), (30, {"a": 3.0})]


def test_nothing_waits_for_an_evaluation_that_does_not_come(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_HELD_SECONDS", 0.0)
    kept = Kept()
    journal = Journal(kept)
    journal.expect(20)
    journal.write(30, {"a": 3.0})
    journal.release()
    journal.write(20, {"evaluation": 0.5})  # shown where the run is by then
    journal.release()
    assert kept.rows == [(30, {"a": 3.0}), (30, {"evaluation": 0.5})]


def test_at_the_end_everything_is_written():
    kept = Kept()
    journal = Journal(kept)
    journal.expect(20)
    journal.write(20, {"a": 2.0})
    journal.release(everything=True)
    assert kept.rows == [(20, {"a": 2.0})]
