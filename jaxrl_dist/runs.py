"""Running an experiment in a folder: from its start, or resumed."""

import dataclasses
import importlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_dist import configuration, plots
from jaxrl_dist.compiling import Compiled, compile_plan, state_shapes
from jaxrl_dist.experiment import Experiment, Plan, plan
from jaxrl_dist.loggers import JsonLines, Many, TensorBoard, Terminal
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.run_folder import (
    EvaluationSummary,
    RunFolder,
    Summary,
    naming_the_folder,
)
from jaxrl_dist.saved_runs import NamedExperiment, checkpoints_of, read
from jaxrl_dist.training.actors_config import ActorsConfig
from jaxrl_dist.training.host_loop import (
    Counters,
    HostLoop,
    Outcome,
    steps_per_second,
)
from jaxrl_dist.training.interruption import (
    interruptible,
    saved_and_interrupted,
)
from jaxrl_dist.training.on_device import TrainState
from jaxrl_dist.versions import devices, versions

# Used once the run is under way, and imported while XLA compiles.
USED_LATER = (
    "orbax.checkpoint",
    "tensorboardX",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)


class Session(NamedTuple):
    """One process's part of a run."""

    named: NamedExperiment
    plan: Plan
    folder: RunFolder
    counters: Counters  # at its beginning
    began: float  # time.time() when the process started


def start(
    experiment: Experiment,
    *,
    name: str,
    output_dir: str | Path | None = None,
    began: float | None = None,
) -> tuple[Summary, Path]:
    """Runs an experiment from its start.

    Args:
        experiment: what to run.
        name: of the experiment, for its folder and summary.
        output_dir: an empty folder, or one to be made; None for `runs/...`.
        began: `time.time()` when the process started; None for now.

    Returns:
        What came out, as it stands in `summary.json`, and the run's folder.

    Raises:
        ValueError: settings that do not fit each other or the machine.
        NotFiniteError: a loss or a parameter became NaN or infinite.
        Interrupted: by SIGINT or SIGTERM, after saving.
    """
    began = time.time() if began is None else began
    if isinstance(experiment.runtime, ActorsConfig):
        return _actor_runs().start(
            experiment, name=name, output_dir=output_dir, began=began
        )
    built = plan(experiment)
    # A resumed run needs as many devices as this one takes, wherever it goes on.
    runtime = dataclasses.replace(experiment.runtime, num_devices=built.num_devices)
    experiment = dataclasses.replace(experiment, runtime=runtime)
    named = NamedExperiment(name, experiment)
    with RunFolder.prepared(output_dir, name, experiment.seed) as folder:
        _say_what_takes_long(named, built)
        compiled = compile_plan(experiment, built, meanwhile=_import_the_rest)
        folder.write_config(named)
    session = Session(named, built, folder, Counters(), began)
    with naming_the_folder(folder.path):
        return _drive(session, compiled, compiled.first_state), folder.path


def resume(
    folder: RunFolder, experiment: Experiment, *, began: float | None = None
) -> Summary | None:
    """Goes on with a run from its last good checkpoint, bit for bit.

    Args:
        folder: of the run.
        experiment: as `read` gives it; the budget may be a larger one. What anneals
            over a run (step sizes, epsilons, the exponent of importance weights) then
            goes on as in a run of that budget, from where such a run would stand.
        began: `time.time()` when the process started; None for now.

    Returns:
        What came out, over the whole run; None if nothing was left to do.

    Raises:
        ValueError: settings other than the budget differ from the run's own, or the
            checkpoint is of another experiment.
        FileNotFoundError: the run has no checkpoint.
        DamagedCheckpointError: every checkpoint is damaged.
        NotFiniteError: a loss or a parameter became NaN or infinite.
        Interrupted: by SIGINT or SIGTERM, after saving.
    """
    began = time.time() if began is None else began
    named = read(folder)
    check_only_budget_differs(named.experiment, experiment)
    if isinstance(experiment.runtime, ActorsConfig):
        return _actor_runs().resume(folder, experiment, began=began)
    built = plan(experiment)
    checkpoints = checkpoints_of(folder, experiment)
    state, info = checkpoints.restore(like=state_shapes(experiment, built))
    if info.metadata["experiment"] != named.name:
        raise ValueError(
            f"the checkpoints in {folder.checkpoints} are of "
            f"{info.metadata['experiment']}, and the run is of {named.name}"
        )
    counters = Counters(**info.metadata["counters"])
    if counters.updates >= built.schedule.total:
        return None
    _say_what_takes_long(named, built)
    compiled = compile_plan(
        experiment, built, first_state=False, meanwhile=_import_the_rest
    )
    named = NamedExperiment(named.name, experiment)
    session = Session(named, built, folder, counters, began)
    with naming_the_folder(folder.path):
        folder.write_config(named)
        return _drive(session, compiled, state)


def check_only_budget_differs(before: Experiment, after: Experiment) -> None:
    """Checks that a run goes on with the settings it was started with.

    Raises:
        ValueError: a setting outside the budget differs.
    """
    changed = [
        line
        for line in configuration.differences(before, after)
        if not line.startswith("budget.")
    ]
    if changed:
        raise ValueError(
            f"a resumed run keeps its settings except budget.*, got {changed[0]}; "
            "start a new run for that"
        )


def _actor_runs() -> Any:
    """The module that runs actors.

    Raises:
        ValueError: the extra is missing that it needs.
    """
    try:
        return importlib.import_module("jaxrl_dist.actor_runs")
    except ImportError as error:
        raise ValueError(str(error)) from None


def _say_what_takes_long(named: NamedExperiment, built: Plan) -> None:
    number = built.num_devices
    devices = "1 device" if number == 1 else f"{number} devices"
    print(f"{named.name}: compiling for {devices}", flush=True)


def _import_the_rest() -> None:
    for name in USED_LATER:
        importlib.import_module(name)


def _drive(session: Session, compiled: Compiled, state: TrainState | None) -> Summary:
    """Runs the host loop with everything that listens to it, and sums up."""
    name, experiment = session.named.name, session.named.experiment
    folder, counters = session.folder, session.counters
    logger = make_logger(session)
    loop = HostLoop(
        compiled.functions,
        session.plan.schedule,
        logger=logger,
        checkpoints=checkpoints_of(folder, experiment),
        seed=experiment.seed,
        num_seeds=experiment.num_seeds,
        metadata={"experiment": name},
    )
    with interruptible() as wish:
        try:
            outcome = loop.run(state, counters, wish)
        finally:
            logger.close()
    summary = leave_results(session, compiled.seconds, outcome)
    if outcome.interrupted:
        raise saved_and_interrupted(
            folder.path,
            loop.step(outcome.counters),
            experiment.budget.total_steps,
            wish.signal or 0,
        )
    return summary


def make_logger(session: Session) -> Many:
    """Everything that listens to a run."""
    experiment, folder = session.named.experiment, session.folder
    step = session.counters.env_steps // experiment.num_seeds
    # A learner that is started again before its first checkpoint begins anew.
    resumed = step if session.counters.updates or folder.metrics.exists() else None
    title = f"{session.named.name} → {folder.path}"
    return Many(
        Terminal(title, experiment.budget.total_steps, step),
        JsonLines(folder.metrics, resumed),
        TensorBoard(folder.events, resumed),
    )


def leave_results(
    session: Session, compile_seconds: float, outcome: Outcome
) -> Summary:
    """Draws the learning curve and writes the summary."""
    _draw(session)
    summary = _sum_up(session, compile_seconds, outcome)
    session.folder.write_summary(summary)
    return summary


def _draw(session: Session) -> None:
    experiment = session.named.experiment
    plots.learning_curve(
        read_rows(session.folder.metrics),
        session.folder.learning_curve,
        title=f"{experiment.environment.name}, {session.named.name}",
        threshold=experiment.threshold,
    )


def _sum_up(session: Session, compile_seconds: float, outcome: Outcome) -> Summary:
    experiment, counters = session.named.experiment, outcome.counters
    evaluation = None
    if outcome.returns is not None:
        evaluation = evaluation_summary(outcome.returns)
    return Summary(
        experiment=session.named.name,
        environment=experiment.environment.name,
        agent=type(experiment.agent).__name__.removesuffix("Config"),
        seed=experiment.seed,
        num_seeds=experiment.num_seeds,
        updates=counters.updates,
        env_steps=counters.env_steps,
        compile_seconds=compile_seconds,
        train_seconds=counters.train_seconds,
        wall_seconds=time.time() - session.began,
        steps_per_second=steps_per_second(counters),
        evaluation=evaluation,
        versions=versions(),
        devices=devices()[: session.plan.num_devices],
    )


def evaluation_summary(returns: np.ndarray) -> EvaluationSummary:
    """Sums up the returns of an evaluation, of any shape, reward units."""
    return EvaluationSummary(
        episodes=int(returns.size),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        return_min=float(returns.min()),
        return_max=float(returns.max()),
    )
