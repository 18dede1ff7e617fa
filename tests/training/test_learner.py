"""What a learner counts before its first batch comes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.host_loop import Counters, Outcome, Schedule
from jaxrl_dist.training.interruption import Interruption
from jaxrl_dist.training.journal import Journal
from jaxrl_dist.training.learner import Connections, Learner, Plan
from jaxrl_dist.training.telemetry import LIKE

STEPS = 60.0  # that an actor reports


def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


def interrupted_while_waiting(folder: Path, kind: str) -> tuple[Outcome, Checkpoints]:
    """A learner whose actors report once, and whose user then stops it."""
    wish, reports = Interruption(), [LIKE._replace(num_steps=np.float64(STEPS))]

    def take() -> list:
        came, reports[:] = list(reports), []
        return came

    def next_batch(meanwhile: Callable[[], bool], timeout: float) -> None:
        assert not meanwhile()
        wish.signal = 2
        assert meanwhile()

    parts: Any = {
        "client": SimpleNamespace(epoch=0),
        "feed": SimpleNamespace(next=next_batch, waiting_seconds=0.0),
        "publisher": SimpleNamespace(publish=nothing, check=nothing),
        "telemetry": SimpleNamespace(take=take),
        "examiner": SimpleNamespace(take=list, expected={}),
    }
    checkpoints = Checkpoints(folder / "checkpoints")
    plan: Any = Plan(
        config=ActorsConfig(),
        flow=SimpleNamespace(kind=kind),  # pyright: ignore[reportArgumentType]
        schedule=Schedule(total=10, report_every=1, evaluate_every=5),
        beta=(0.0, 0.0),
        metadata={"experiment": "x"},
    )
    learning: Any = SimpleNamespace(zeros=nothing, acting=nothing)
    learner = Learner(
        plan,
        learning,
        Connections(**parts, source=None, priorities=None, greet=nothing, beat=nothing),
        journal=Journal(SimpleNamespace(write=nothing)),  # pyright: ignore[reportArgumentType]
        checkpoints=checkpoints,
    )
    state: Any = {"x": np.int32(1)}
    return learner.run(state, Counters(), wish), checkpoints


@pytest.mark.parametrize(("kind", "steps"), [("replay", 60), ("queue", 0)])
def test_steps_that_fill_a_replay_count_though_nothing_was_learned(
    kind, steps, tmp_path
):
    outcome, checkpoints = interrupted_while_waiting(tmp_path, kind)
    counters = outcome.counters
    assert outcome.interrupted and (counters.updates, counters.env_steps) == (0, steps)
    # So does their time; waiting for the first actor is no training.
    assert (counters.train_seconds > 0) == (steps > 0)
    _, info = checkpoints.restore(like={"x": np.int32(0)})
    assert (info.step, info.metadata["counters"]) == (steps, counters._asdict())
