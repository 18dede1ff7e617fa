"""The learner's checkpoints: saved and rated beside it, and what goes wrong is told."""

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.training.host_loop import Counters
from jaxrl_dist.training.saving import Saver


class Disk(NamedTuple):
    """Checkpoints whose writer answers what it is told to."""

    folder: Path
    answer: Future

    def save_in_background(self, *_: Any, **__: Any) -> Future:
        """Writes nothing."""
        return self.answer


def saver_of(folder: Path, answer: Future) -> Saver:
    disk: Any = Disk(folder / "checkpoints", answer)
    return Saver(disk, {})


def state(number: int) -> Any:
    return {"x": np.int32(number)}


def test_states_wait_for_their_evaluations_which_may_come_in_any_order(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep_last=1)
    saver = Saver(checkpoints, {"experiment": "x"})
    for steps in (10, 20, 30):
        saver.save(state(steps), Counters(1, steps, 0.5), to_be_rated=True)
    saver.rate(20, 1.0)
    saver.rate(10, 9.0)
    saver.rate(30, 2.0)
    beats: list[int] = []
    saver.finish(lambda: beats.append(1), 60.0)
    assert (checkpoints.steps(), checkpoints.best()) == ([10, 30], 10)
    restored, info = checkpoints.restore(10, like=state(0))
    assert restored["x"] == 10
    assert info.metadata == {
        "experiment": "x",
        "counters": Counters(1, 10, 0.5)._asdict(),
    }


def test_what_went_wrong_with_a_checkpoint_is_told_by_the_next_one(tmp_path):
    answer: Future = Future()
    answer.set_exception(RuntimeError("something of orbax"))
    saver = saver_of(tmp_path, answer)
    saver.save(state(1), Counters())
    with pytest.raises(RuntimeError, match="something of orbax"):
        saver.save(state(2), Counters())
    saver.save(state(3), Counters())
    with pytest.raises(RuntimeError, match="something of orbax"):
        saver.finish(lambda: None, 60.0)


def test_a_disk_that_never_answers_is_given_up(tmp_path):
    saver = saver_of(tmp_path, Future())
    saver.save(state(1), Counters())
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="not every checkpoint was written"):
        saver.finish(lambda: None, 0.2)
    saver.save(state(2), Counters())
    saver.abandon(lambda: None, 0.1)
    assert time.monotonic() - began < 60
