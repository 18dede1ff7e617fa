"""The processes of a run with actors, and how they are kept running."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxrl_dist.exit_status import NOT_FINITE, REFUSED
from jaxrl_dist.processes.ports import check_port_is_free
from jaxrl_dist.training import supervision_record
from jaxrl_dist.training.interruption import SAVING_SECONDS, Interruption
from jaxrl_dist.training.kept_process import Event
from jaxrl_dist.training.launchers import Launcher, ProcessSpec
from jaxrl_dist.training.supervisor import Supervisor

LOG = logging.getLogger(__name__)
WORKER = ("-m", "jaxrl_dist.worker")
STOP_SECONDS = SAVING_SECONDS + 10.0  # for a last checkpoint
SERVER_STOP_SECONDS = 70.0  # longer than the server itself takes at most
ACTOR_RESTARTS = 200  # an environment that fails now and then is no end of a run


class Place(NamedTuple):
    """What the processes must be told."""

    folder: Path  # of the run
    config: Path
    tables: Path
    port: int
    num_actors: int
    began: float  # time.time() when the user's process started
    checkpoint_seconds: float  # between two of the server
    heartbeat_seconds: float  # a process that is silent for longer hangs
    keeps_replay: bool  # the server has what a run that goes on learns from


class ProcessFailedError(RuntimeError):
    """A process of a run has ended, and starting it again would not help.

    Attributes:
        status: its exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check_port(port: int) -> None:
    """Checks that nobody listens on a port.

    Raises:
        ValueError: somebody does.
    """
    try:
        check_port_is_free(port)
    except OSError as error:
        raise ValueError(
            f"runtime.port {port} cannot be used: {error.strerror}; name another, or "
            "none to have a free one chosen"
        ) from None


def specs(place: Place) -> list[ProcessSpec]:
    """The processes of a run: server, learner, evaluator, actors."""
    address = f"localhost:{place.port}"

    def worker(role: str, *more: str) -> tuple[str, ...]:
        common = ("--config", str(place.config), "--server", address)
        return (*WORKER, role, *common, *more)

    run = ("--run", str(place.folder))
    seconds = ("--checkpoint-seconds", str(place.checkpoint_seconds))
    server = ProcessSpec(
        "server",
        worker("server", *run, *seconds, "--tables", str(place.tables)),
        ends_last=True,
        saves=place.keeps_replay,
        start_timeout_seconds=None,  # it may have to be installed
        heartbeat_timeout_seconds=place.heartbeat_seconds,
        stop_timeout_seconds=SERVER_STOP_SECONDS,
    )
    learner = ProcessSpec(
        "learner",
        worker("learner", *run, "--began", str(place.began)),
        shows_output=True,
        finishes_run=True,
        saves=True,
        # After these another start would not help.
        lasting_statuses=(REFUSED, NOT_FINITE),
        heartbeat_timeout_seconds=place.heartbeat_seconds,
        stop_timeout_seconds=STOP_SECONDS,
    )
    actors = [
        ProcessSpec(
            f"actor-{index}",
            worker("actor", "--index", str(index)),
            max_restarts=ACTOR_RESTARTS,
            heartbeat_timeout_seconds=place.heartbeat_seconds,
            stop_timeout_seconds=1.0,  # it has nothing to save
        )
        for index in range(place.num_actors)
    ]
    evaluator = ProcessSpec(
        "evaluator",
        worker("evaluator"),
        is_essential=False,
        heartbeat_timeout_seconds=10 * place.heartbeat_seconds,
        stop_timeout_seconds=1.0,
    )
    return [server, learner, *actors, evaluator]


def run(
    place: Place,
    launcher: Launcher,
    wish: Interruption,
    on_event: Callable[[Event], None],
) -> None:
    """Runs the processes until the learner is done, or the user wishes to stop.

    Args:
        place: what they must be told.
        launcher: starts them.
        wish: of the user; the learner then saves and ends first.
        on_event: is told what happens to them.

    Raises:
        ProcessFailedError: one cannot be kept running. Nothing runs any more.
    """
    processes = specs(place)
    path = place.folder / supervision_record.NAME
    record = supervision_record.Record(path, [each.name for each in processes])

    def note(event: Event) -> None:
        on_event(event)
        try:
            record.note(event)
        except OSError as error:  # what happened is what counts, and was said
            LOG.warning("%s cannot be written: %s", path, error)

    outcome = Supervisor(processes, launcher, note).run(wish)
    if outcome.ended == "failed":
        status = outcome.cause.status if outcome.cause is not None else None
        raise ProcessFailedError(str(outcome), max(1, status or 1))
