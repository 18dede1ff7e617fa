"""What a process says of its life, and who hears it."""

import os

import pytest

from jaxrl_dist.training import heartbeat
from jaxrl_dist.training.heartbeat import Beats, beat, pipe_of_this_process


@pytest.fixture
def beats(monkeypatch):
    """This process, as if a launcher had started it."""
    made = Beats()
    for name, value in made.variables().items():
        monkeypatch.setenv(name, value)
    heartbeat._sender.cache_clear()
    yield made
    heartbeat._sender.cache_clear()
    made.close()
    os.close(made.child_end)


def test_a_beat_is_heard_once_and_says_nothing_more(beats):
    assert beats.newest() is None
    beat()
    assert beats.newest() == ""
    assert beats.newest() is None


def test_many_beats_are_few_messages_and_the_newest_counts(beats, monkeypatch):
    written = []
    monkeypatch.setattr(os, "write", lambda pipe, line: written.append(line))
    for _ in range(1_000):
        beat()
    assert len(written) < 1_000
    monkeypatch.undo()


def test_a_longer_time_is_said_at_once_and_taken_back_at_once(beats):
    beat()
    beat(600.0)
    assert beats.newest() == "600"
    beat()
    assert beats.newest() == ""


def test_a_process_that_nobody_listens_to_goes_on(beats):
    for _ in range(100_000):  # more than a pipe holds
        heartbeat._sender().beat(1.0)
    assert beats.newest() == "1"


def test_a_process_without_a_launcher_sends_nothing(monkeypatch):
    monkeypatch.delenv(heartbeat.VARIABLE, raising=False)
    assert pipe_of_this_process() is None
    heartbeat._sender.cache_clear()
    beat()


def test_another_file_under_the_number_of_the_pipe_is_not_written_to(beats, tmp_path):
    """As in a child of a supervised process: it has the variable and not the pipe."""
    number = beats.child_end
    kept = os.dup(number)
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), number)
    assert pipe_of_this_process() is None
    os.close(number)
    assert pipe_of_this_process() is None
    os.dup2(kept, number)
    os.close(kept)
    assert pipe_of_this_process() == number
