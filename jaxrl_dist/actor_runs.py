"""Running an experiment with actors: its folder, its tables, and its processes."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import jax

from jaxrl_dist.exit_status import REFUSED
from jaxrl_dist.experiment import Experiment, Plan, plan
from jaxrl_dist.processes.ports import free_port
from jaxrl_dist.replay import reverb
from jaxrl_dist.replay.reverb import environment
from jaxrl_dist.run_folder import (
    EvaluationSummary,
    RunFolder,
    Summary,
    naming_the_folder,
)
from jaxrl_dist.saved_runs import NamedExperiment, checkpoints_of, read
from jaxrl_dist.training import actor_learner
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.interruption import (
    Interrupted,
    going_on,
    interruptible,
    saved_and_interrupted,
)
from jaxrl_dist.training.kept_process import Event
from jaxrl_dist.training.launchers import LocalLauncher
from jaxrl_dist.training.wiring import Wiring, wire

TABLES, LOGS = "tables.json", "logs"  # in the run's folder
NOT_REPRODUCIBLE = (
    "actors and learner run side by side: another run of this seed will differ "
    "(--runtime.lock-step makes one that can be repeated)"
)


def wire_of(name: str, experiment: Experiment, built: Plan) -> Wiring:
    """The tables and columns of a run."""
    assert built.flow is not None and isinstance(experiment.runtime, ActorsConfig)
    return wire(
        built.setting,
        built.flow,
        experiment.runtime,
        experiment.replay,
        name=name,
        num_episodes=experiment.budget.eval_episodes,
    )


def leave_accelerators_alone() -> None:
    """Keeps this process, which only starts others, off what the learner needs."""
    jax.config.update("jax_platforms", "cpu")


def start(
    experiment: Experiment, *, name: str, output_dir: str | Path | None, began: float
) -> tuple[Summary, Path]:
    """Runs an experiment with actors from its start; see `runs.start`."""
    leave_accelerators_alone()
    built = plan(experiment)
    wiring = wire_of(name, experiment, built)
    named = NamedExperiment(name, experiment)
    with RunFolder.prepared(output_dir, name, experiment.seed) as folder:
        place = _place(folder, named, built, began)
        folder.write_config(named)
        reverb.save_tables(wiring.tables, place.tables)
    with naming_the_folder(folder.path):
        return _run(folder, named, built, place), folder.path


def resume(
    folder: RunFolder, experiment: Experiment, *, began: float
) -> Summary | None:
    """Goes on with such a run from its last good checkpoint; see `runs.resume`.

    The tables are as the Reverb server last saved them, and environments begin anew.
    """
    leave_accelerators_alone()
    named = NamedExperiment(read(folder).name, experiment)
    built = plan(experiment)
    if checkpoints_of(folder, experiment).latest() is None:
        raise FileNotFoundError(f"there is no checkpoint in {folder.checkpoints}")
    summary = _read_summary(folder)
    steps = experiment.budget.total_steps
    if summary is not None and summary.evaluation is not None:
        before = read(folder).experiment.budget.total_steps
        if steps <= before:
            return None
    place = _place(folder, named, built, began)
    tables = wire_of(named.name, experiment, built).tables
    with naming_the_folder(folder.path):
        folder.write_config(named)
        folder.summary.unlink(missing_ok=True)
        reverb.save_tables(tables, place.tables)
        return _run(folder, named, built, place)


def _place(
    folder: RunFolder, named: NamedExperiment, built: Plan, began: float
) -> actor_learner.Place:
    runtime = named.experiment.runtime
    assert isinstance(runtime, ActorsConfig)
    if runtime.port is not None:
        actor_learner.check_port(runtime.port)
    return actor_learner.Place(
        folder=folder.path,
        config=folder.config,
        tables=folder.path / TABLES,
        port=runtime.port or free_port(),
        num_actors=runtime.num_actors,
        began=began,
        checkpoint_seconds=runtime.server_checkpoint_seconds,
        heartbeat_seconds=runtime.heartbeat_seconds,
        keeps_replay=built.flow is not None and built.flow.kind == "replay",
    )


def _run(
    folder: RunFolder, named: NamedExperiment, built: Plan, place: actor_learner.Place
) -> Summary:
    runtime = named.experiment.runtime
    assert isinstance(runtime, ActorsConfig) and built.flow is not None
    if built.flow.kind != "rounds":
        print(NOT_REPRODUCIBLE, flush=True)
    install_server()
    number = runtime.num_actors
    actors = "1 actor" if number == 1 else f"{number} actors"
    print(
        f"{named.name}: starting a Reverb server, a learner, an evaluator and "
        f"{actors}, which compile first; what they say stands in {folder.path / LOGS}",
        flush=True,
    )
    launcher = LocalLauncher(folder.path / LOGS)
    with interruptible() as wish:
        try:
            actor_learner.run(place, launcher, wish, tell)
        except actor_learner.ProcessFailedError as error:
            step = checkpoints_of(folder, named.experiment).latest()
            if not wish or step is None:
                raise
            message = f"{error}; step {step:,} is saved, {going_on(folder.path)}"
            raise actor_learner.ProcessFailedError(message, error.status) from None
    if wish:
        step = checkpoints_of(folder, named.experiment).latest()
        if step is None:
            message = (
                "interrupted before there was anything to save; to start again there, "
                f"remove {folder.path}"
            )
            raise Interrupted(message, wish.signal or 0)
        steps = named.experiment.budget.total_steps
        raise saved_and_interrupted(folder.path, step, steps, wish.signal or 0)
    summary = _read_summary(folder)
    if summary is None:
        raise actor_learner.ProcessFailedError("the learner left no summary", 1)
    return dataclasses.replace(summary, wall_seconds=time.time() - place.began)


def install_server() -> None:
    """Makes the Reverb server's environment where that has not been done yet.

    Raises:
        ProcessFailedError: it cannot be made.
    """
    try:
        if not environment.is_installed():
            environment.prepare()
    except reverb.ServerError as error:
        raise actor_learner.ProcessFailedError(str(error), REFUSED) from None


def tell(event: Event) -> None:
    """Says on standard error what the user should know of a process."""
    if event.kind != "started":
        print(event.message, file=sys.stderr, flush=True)


def _read_summary(folder: RunFolder) -> Summary | None:
    if not folder.summary.is_file():
        return None
    data = json.loads(folder.summary.read_text(encoding="utf-8"))
    if data["evaluation"] is not None:
        data["evaluation"] = EvaluationSummary(**data["evaluation"])
    return Summary(**data)
