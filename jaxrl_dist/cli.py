"""The command lines: of an experiment's module, and of `python -m jaxrl_dist`."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from jaxrl_dist import runs
from jaxrl_dist.compilation_cache import use_compilation_cache
from jaxrl_dist.distribution import devices
from jaxrl_dist.experiment import Experiment
from jaxrl_dist.run_folder import RunFolder, Summary
from jaxrl_dist.training.host_loop import NotFiniteError

BEGAN = time.time()


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


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> None:
    """Runs an experiment as the command line says.

    Args:
        experiment: the settings where the command line says nothing.
        arguments: of the command line; None for this process's own.

    Raises:
        SystemExit: with 2 for wrong use, 1 when a number stopped being finite, and 128
            plus the signal when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = _module_name()
    with_one_line(lambda: _run(experiment, name, arguments))


def with_one_line(action: Callable[[], None]) -> None:
    """Does something, and turns what may go wrong into one line and an exit status."""
    try:
        action()
    except runs.Interrupted as stop:
        print(stop, flush=True)
        raise SystemExit(128 + stop.signal) from None
    except NotFiniteError as error:
        _fail(error, status=1)
    except (ValueError, FileNotFoundError) as error:
        _fail(error, status=2)


def _fail(error: Exception, status: int) -> None:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(status) from None


def _run(experiment: Experiment, name: str, arguments: list[str]) -> None:
    earlier = _earlier_run(arguments)
    if earlier is not None:
        experiment = earlier.read_config()
    command = tyro.cli(
        Command,
        args=arguments,
        default=Command(experiment),
        prog=f"python -m experiments.{name}",
        description=sys.modules["__main__"].__doc__ or "",
        config=(tyro.conf.AvoidSubcommands,),
    )
    experiment = command.experiment
    prepare(experiment)
    if earlier is not None:
        summary = runs.resume(earlier, experiment, began=BEGAN)
        folder = earlier.path
    else:
        summary, folder = runs.start(
            experiment, name=name, output_dir=command.output_dir, began=BEGAN
        )
    report(summary, folder)


def prepare(experiment: Experiment) -> None:
    """Sets JAX up for a run, before it touches any device."""
    devices.use_all_cores(experiment.runtime.num_devices)
    use_compilation_cache()


def report(summary: Summary, folder: Path) -> None:
    """Says in a few lines how a run ended."""
    print(
        f"{summary.env_steps:,} environment steps: compiled in "
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
