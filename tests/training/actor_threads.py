"""Runs with actors in which every process is a thread, beside a real Reverb server."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jaxrl_dist import learner_process, worker
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.parts import Part, build
from jaxrl_dist.replay import reverb
from jaxrl_dist.run_folder import RunFolder
from jaxrl_dist.saved_runs import NamedExperiment
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.host_loop import Outcome
from jaxrl_dist.training.interruption import Interruption


class EndedError(Exception):
    """The run is over."""


def prepare(experiment: Experiment, path: Path) -> tuple[Part, RunFolder]:
    """Makes the folder of a run, and what its processes know."""
    folder = RunFolder.create(path, "small", experiment.seed)
    folder.write_config(NamedExperiment("small", experiment))
    return build(folder.config), folder


class Threads:
    """Runs actions that take `beat` in threads, until the block is left."""

    def __init__(self, *actions: Callable[[Callable[..., None]], None]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(x,)) for x in actions]

    def beat(self, within_seconds: float | None = None) -> None:
        """Ends the thread that calls it, when the block has been left."""
        if self._over.is_set():
            raise EndedError

    def _run(self, action: Callable) -> None:
        try:
            action(self.beat)
        except EndedError:
            pass
        except BaseException:
            if not self._over.is_set():
                raise  # which pytest makes a failure of the test

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30.0)


def run(experiment: Experiment, path: Path) -> tuple[Outcome, RunFolder]:
    """Runs an experiment with actors to its end."""
    part, folder = prepare(experiment, path)
    runtime = experiment.runtime
    assert isinstance(runtime, ActorsConfig)
    with reverb.Server(part.wiring.tables) as server:
        actors = [
            lambda beat, i=index: worker.act(part, server.address, i, beat)
            for index in range(runtime.num_actors)
        ]
        with Threads(*actors, lambda beat: worker.evaluate(part, server.address, beat)):
            outcome = learner_process.learn(
                part,
                folder,
                server.address,
                nullcontext(Interruption()),
                began=time.time(),
            )
    return outcome, folder
