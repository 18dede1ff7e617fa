"""The command line of an experiment's module, and how any command of ours ends.

Exit status: 0 when done, 1 after an unexpected error, 2 after wrong use or settings
that do not fit, 3 when a number stopped being finite, and 128 plus the signal's number
when interrupted (130 by Ctrl-C, 143 by SIGTERM).
"""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxrl_dist import configuration, runs, runtimes
from jaxrl_dist.compilation_cache import use_compilation_cache
from jaxrl_dist.distribution import devices
from jaxrl_dist.exit_status import FAILED, NOT_FINITE, REFUSED, SIGNALLED
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.run_folder import RunFolder, Summary
from jaxrl_dist.saved_runs import NamedExperiment, read
from jaxrl_dist.training.actor_learner import ProcessFailedError
from jaxrl_dist.training.host_loop import NotFiniteError
from jaxrl_dist.training.interruption import Interrupted


@dataclasses.dataclass(frozen=True)
class Command:
    """What an experiment's module can be told.

    Attributes:
        experiment: the settings of the run.
        output_dir: an empty folder, or one to be made, for what the run leaves behind;
            None makes `runs/<experiment>/<time>-<seed>`.
        resume: folder of an earlier run, to go on from its last checkpoint with its own
            settings; of these only `--budget` may be changed.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    output_dir: Path | None = None
    resume: Path | None = None


def main(
    experiment: Experiment,
    arguments: Sequence[str] | None = None,
    *,
    name: str | None = None,
) -> None:
    """Runs an experiment as the command line says.

    Args:
        experiment: the settings where the command line says nothing.
        arguments: of the command line; None for this process's own.
        name: of the experiment; None for that of the module that is being run.

    Raises:
        SystemExit: with the status that this module's docstring says, other than 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    named = NamedExperiment(name or _module_name(), experiment)
    with_one_line(lambda: _run(named, arguments))


def with_one_line(action: Callable[[], None]) -> None:
    """Does something, and turns what may go wrong into one line and an exit status.

    Raises:
        SystemExit: with the status that this module's docstring says, other than 0.
    """
    try:
        with _ended_by_sigterm():
            action()
    except Interrupted as stop:
        print(stop, flush=True)
        raise SystemExit(SIGNALLED + stop.signal) from None
    except KeyboardInterrupt as stop:
        print("stopped at once; nothing more was saved", file=sys.stderr)
        number = stop.args[0] if stop.args else signal.SIGINT
        raise SystemExit(SIGNALLED + number) from None
    except NotFiniteError as error:
        _fail(error, NOT_FINITE)
    except ProcessFailedError as error:
        _fail(error, error.status)
    except (ValueError, FileNotFoundError) as error:
        _fail(error, REFUSED)
    except OSError as error:  # a full disk, or a file that may not be written
        _fail(error, FAILED)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Makes SIGTERM end what runs as Ctrl-C does, where a run does not save first."""

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets nobody else handle signals
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: Exception, status: int) -> None:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    raise SystemExit(status) from None


def parse(command: Any, arguments: Sequence[str], **options: Any) -> Any:
    """Has tyro read a command line, with errors of one line.

    Args:
        command: as `tyro.cli` takes it.
        arguments: of the command line.
        **options: for `tyro.cli`.

    Returns:
        What `tyro.cli` makes of them.

    Raises:
        ValueError: tyro or a configuration refuses an argument.
        SystemExit: help was asked for, and has been printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed, unknown = tyro.cli(
                command,
                args=arguments,
                return_unknown_args=True,
                config=(tyro.conf.AvoidSubcommands,),
                **options,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_one_line(said.getvalue())) from None
    if unknown:
        raise ValueError(_unknown(unknown, parsed))
    return parsed


def _one_line(box: str) -> str:
    """Takes the message out of the box that tyro draws around it, and help below it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colours, on a terminal
    # The first row is a title. Rules, of one sign or another, divide the others.
    rows = [row.strip("│╰╯ ") for row in plain.splitlines()[1:]]
    rules = [i for i, row in enumerate(rows) if not row.strip("─-")]
    first = 1 if rules[:1] == [0] else 0
    rule = next((i for i in rules if i > first), len(rows))
    message = " ".join(rows[first:rule]).removeprefix("Error parsing ")
    # A setting, and not a flag: a configuration refused it, and says what would do.
    message = re.sub(
        r"^(?:experiment\.|__tyro-dummy-inner__\.)?([a-z][\w.]*): ", r"\1.", message
    )
    flag = message.partition(":")[0]
    form = next((row for row in rows[rule:] if row.startswith(f"{flag} ")), "")
    return f"{message}; expected {form}" if form else message


def _unknown(unknown: Sequence[str], command: Any) -> str:
    """Says what is wrong with arguments that no flag takes."""
    given = next((x for x in unknown if x.startswith("-")), unknown[0])
    if not given.startswith("-"):
        return (
            f"nothing takes the argument {given}; flags that are on or off take none, "
            "and are switched off by the --no-... form of theirs that --help lists"
        )
    settings = configuration.leaves(command)
    names = [name.removeprefix("experiment.") for name, _ in settings]
    flags = [f"--{name.replace('_', '-')}" for name in names]
    near = difflib.get_close_matches(given.partition("=")[0], flags, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "--help lists all"
    return f"unknown flag {given}; {hint}"


def _run(named: NamedExperiment, arguments: list[str]) -> None:
    earlier = _earlier_run(arguments)
    experiment, arguments = runtimes.where_it_runs(named.experiment, arguments)
    if earlier is not None:
        experiment = _settings_of_earlier(earlier, named)
    command = parse(
        Command,
        arguments,
        default=Command(experiment),
        prog=f"python -m experiments.{named.name}",
        description=f"{sys.modules['__main__'].__doc__ or ''}{runtimes.DESCRIPTION}",
    )
    if earlier is not None:
        if command.output_dir is not None:
            raise ValueError(
                f"--output-dir {command.output_dir} does not go with --resume: "
                f"the run goes on in {earlier.path}"
            )
        resume(earlier, command.experiment)
        return
    prepare(command.experiment.runtime.num_devices)
    summary, folder = runs.start(
        without_the_threshold_of_another(command.experiment, experiment),
        name=named.name,
        output_dir=command.output_dir,
        began=process_began(),
    )
    report(summary, folder)


def without_the_threshold_of_another(
    experiment: Experiment, preset: Experiment
) -> Experiment:
    """Drops the preset's threshold from a run in another environment than its own."""
    moved = experiment.environment.name != preset.environment.name
    if moved and experiment.threshold == preset.threshold:
        return dataclasses.replace(experiment, threshold=None)
    return experiment


def _settings_of_earlier(earlier: RunFolder, named: NamedExperiment) -> Experiment:
    saved = read(earlier)
    if saved.name != named.name:
        raise ValueError(
            f"--resume {earlier.path} is a run of {saved.name}, not of {named.name}; "
            f"python -m jaxrl_dist resume {earlier.path} goes on with it"
        )
    return saved.experiment


def resume(folder: RunFolder, experiment: Experiment) -> None:
    """Goes on with a run, and says how it ended; see `runs.resume` for what may fail.

    Args:
        folder: of the run.
        experiment: as the run has it, perhaps with a larger budget.
    """
    runs.check_only_budget_differs(read(folder).experiment, experiment)
    prepare(experiment.runtime.num_devices)
    summary = runs.resume(folder, experiment, began=process_began())
    if summary is None:
        print(
            f"{folder.path} has finished its budget of "
            f"{experiment.budget.total_steps:,} steps; go on with a larger "
            "--budget.total-steps"
        )
    else:
        report(summary, folder.path)


def prepare(num_devices: int | None = None) -> None:
    """Sets JAX up for a run, before it touches any device.

    Args:
        num_devices: that a run needs, also on a machine with fewer cores; None for one
            per core.
    """
    devices.use_all_cores(num_devices)
    use_compilation_cache()


def report(summary: Summary, folder: Path) -> None:
    """Says in a few lines how a run ended."""
    print(
        f"\n{summary.env_steps:,} environment steps: compiled in "
        f"{summary.compile_seconds:.1f} s, trained in {summary.train_seconds:.1f} s "
        f"({summary.steps_per_second:,.0f} steps/s); "
        f"{summary.wall_seconds:.1f} s in all"
    )
    if (result := summary.evaluation) is not None:
        print(
            f"evaluation: mean return {result.return_mean:.1f} ± "
            f"{result.return_std:.1f} over {result.episodes} episodes"
        )
    print(f"everything is in {folder}")


def process_began() -> float:
    """`time.time()` when this process started; now, where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks_after_boot = int(fields[19])
    except (OSError, ValueError, IndexError):  # not Linux
        return time.time()
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - since_boot + ticks_after_boot / os.sysconf("SC_CLK_TCK")


def _earlier_run(arguments: list[str]) -> RunFolder | None:
    """The run named by --resume, whose settings must be known before parsing."""
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--resume" and equals:
            return RunFolder.open(value)
        if flag == "--resume" and position + 1 < len(arguments):
            return RunFolder.open(arguments[position + 1])
    return None


def _module_name() -> str:
    """Name of the experiment module that is being run."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None and spec.name != "__main__":
        return spec.name.rpartition(".")[2]
    return Path(sys.argv[0]).stem
