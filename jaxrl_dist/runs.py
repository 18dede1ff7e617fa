"""Running an experiment in a folder: from its start, resumed, or only evaluated."""

import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxrl_dist import configuration, plots
from jaxrl_dist.checkpoints import Checkpoints
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.experiment import Compiled, Experiment, Plan, compile_plan, plan
from jaxrl_dist.loggers import JsonLines, Many, TensorBoard, Terminal
from jaxrl_dist.loggers.json_lines import read_rows
from jaxrl_dist.run_folder import EvaluationSummary, RunFolder, Summary
from jaxrl_dist.training.host_loop import Counters, HostLoop, Outcome, interruptible
from jaxrl_dist.training.on_device import TrainState, make_evaluate, make_on_device
from jaxrl_dist.versions import devices, versions


class Interrupted(Exception):  # noqa: N818  it is no error
    """The user stopped the run, and it has been saved.

    Attributes:
        signal: number of the signal that stopped it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class Session(NamedTuple):
    """One process's part of a run."""

    name: str
    experiment: Experiment
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
    built = plan(experiment)
    # A resumed run needs as many devices as this one takes, wherever it goes on.
    runtime = dataclasses.replace(experiment.runtime, num_devices=built.num_devices)
    experiment = dataclasses.replace(experiment, runtime=runtime)
    compiled = compile_plan(experiment, built)
    folder = RunFolder.create(output_dir, name, experiment.seed)
    folder.write_config(experiment)
    session = Session(name, experiment, built, folder, Counters(), began)
    return _drive(session, compiled), folder.path


def resume(
    folder: RunFolder, experiment: Experiment, *, began: float | None = None
) -> Summary:
    """Goes on with a run from its last good checkpoint, bit for bit.

    Args:
        folder: of the run.
        experiment: as `folder.read_config()` gives it; the budget may be a larger one.
        began: `time.time()` when the process started; None for now.

    Returns:
        What came out, over the whole run.

    Raises:
        ValueError: settings other than the budget differ from the run's own.
        FileNotFoundError: the run has no checkpoint.
        DamagedCheckpointError: every checkpoint is damaged.
        NotFiniteError: a loss or a parameter became NaN or infinite.
        Interrupted: by SIGINT or SIGTERM, after saving.
    """
    began = time.time() if began is None else began
    check_only_budget_differs(folder.read_config(), experiment)
    built = plan(experiment)
    compiled = compile_plan(experiment, built)
    state, info = checkpoints_of(folder, experiment).restore(like=compiled.state)
    counters = Counters(**info.metadata["counters"])
    folder.write_config(experiment)
    session = Session(
        info.metadata["experiment"], experiment, built, folder, counters, began
    )
    return _drive(session, compiled._replace(state=state))


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


def checkpoints_of(folder: RunFolder, experiment: Experiment) -> Checkpoints:
    """The checkpoints of a run."""
    return Checkpoints(folder.checkpoints, experiment.budget.keep_checkpoints)


def _drive(session: Session, compiled: Compiled) -> Summary:
    """Runs the host loop with everything that listens to it, and sums up."""
    experiment, folder, counters = (
        session.experiment,
        session.folder,
        session.counters,
    )
    step = counters.env_steps // experiment.num_seeds
    resumed = step if counters.updates else None
    total_steps = experiment.budget.total_steps
    terminal = Terminal(f"{session.name} → {folder.path}", total_steps, step)
    logger = Many(
        terminal,
        JsonLines(folder.metrics, resumed),
        TensorBoard(folder.events, resumed),
    )
    loop = HostLoop(
        compiled.functions,
        session.plan.schedule,
        logger=logger,
        checkpoints=checkpoints_of(folder, experiment),
        num_seeds=experiment.num_seeds,
        metadata={"experiment": session.name},
    )
    with interruptible() as wish:
        try:
            outcome = loop.run(compiled.state, counters, wish)
        finally:
            logger.close()
    _draw(session)
    summary = _sum_up(session, compiled, outcome)
    folder.write_summary(summary)
    if outcome.interrupted:
        raise Interrupted(
            f"interrupted at environment step {outcome.counters.env_steps}, and saved; "
            f"go on with: python -m jaxrl_dist resume {folder.path}",
            wish.signal or 0,
        )
    return summary


def _draw(session: Session) -> None:
    plots.learning_curve(
        read_rows(session.folder.metrics),
        session.folder.learning_curve,
        title=f"{session.experiment.environment.name}, {session.name}",
        threshold=session.experiment.threshold,
    )


def _sum_up(session: Session, compiled: Compiled, outcome: Outcome) -> Summary:
    experiment, counters = session.experiment, outcome.counters
    evaluation = None
    if outcome.returns is not None:
        evaluation = evaluation_summary(outcome.returns)
    # A resumed run's first part was timed in another process, with other compilations.
    seconds = max(counters.train_seconds, 1e-9)
    return Summary(
        experiment=session.name,
        environment=experiment.environment.name,
        agent=type(experiment.agent).__name__.removesuffix("Config"),
        seed=experiment.seed,
        num_seeds=experiment.num_seeds,
        env_steps=counters.env_steps,
        compile_seconds=compiled.compile_seconds,
        train_seconds=counters.train_seconds,
        wall_seconds=time.time() - session.began,
        steps_per_second=counters.env_steps / seconds,
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


def evaluate(
    folder: RunFolder, *, step: int | None, episodes: int, greedy: bool, seed: int
) -> tuple[int, np.ndarray]:
    """Plays whole episodes with a run's parameters.

    Args:
        folder: of the run.
        step: of the checkpoint; None for the best, or the latest if none was evaluated.
        episodes: of each seed of the run, at least, from 1.
        greedy: take the most likely action instead of a sample.
        seed: of the evaluation.

    Returns:
        The step, and the returns [S, episodes], environment reward units.

    Raises:
        ValueError: the folder is no run's.
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpointError: the checkpoint is damaged.
    """
    check_at_least(1, episodes=episodes)
    restored = restore(folder, step)
    experiment, built = restored.experiment, restored.plan
    play = make_evaluate(
        built.setting,
        num_devices=built.num_devices,
        num_seeds=experiment.num_seeds,
        num_episodes=episodes,
        greedy=greedy,
    )
    answer = jax.device_get(play(restored.state, jax.random.key(seed)))
    returns = np.moveaxis(answer.returns, 1, 0).reshape(experiment.num_seeds, -1)
    return restored.step, returns


class Restored(NamedTuple):
    """A run as one of its checkpoints has it."""

    experiment: Experiment
    plan: Plan
    state: TrainState  # [D, S, ...]
    step: int  # environment steps of one seed


def restore(folder: RunFolder, step: int | None = None) -> Restored:
    """Reads a run back, to look at it; see `evaluate` for arguments and errors."""
    experiment = folder.read_config()
    built = plan(experiment)
    run = make_on_device(
        built.setting, num_devices=built.num_devices, num_seeds=experiment.num_seeds
    )
    checkpoints = checkpoints_of(folder, experiment)
    step = checkpoints.best() if step is None else step
    like = jax.eval_shape(run.init, experiment.seed)
    state, info = checkpoints.restore(step, like=like)
    return Restored(experiment, built, state, info.step)
