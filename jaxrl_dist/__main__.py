"""Experiments and their runs.

A run is named by its folder, such as runs/cartpole_ppo/20260101-120000-0:

    python -m jaxrl_dist list
    python -m jaxrl_dist evaluate <run> --episodes 1000
    python -m jaxrl_dist resume <run> --budget.total-steps 1000000
    python -m jaxrl_dist render <run> --output episode.gif
    python -m jaxrl_dist render <run> --distribution
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from jaxrl_dist import cli, listing, saved_runs
from jaxrl_dist.checks import check_in_range
from jaxrl_dist.environments.build import HostConfig
from jaxrl_dist.experiment import MAX_SEED, Budget
from jaxrl_dist.run_folder import RunFolder

COMMANDS = ("list", "evaluate", "resume", "render")
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class List:
    """Lists experiments, and the runs under runs/."""

    def __call__(self) -> None:
        """Prints two tables."""
        print("experiments: python -m experiments.<name> --help")
        print(*listing.table(listing.experiments()), sep="\n")
        if runs := listing.runs(Path("runs")):
            print("\nruns: python -m jaxrl_dist evaluate <folder>")
            print(*listing.table(runs), sep="\n")


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Plays whole episodes with a run's parameters.

    Attributes:
        run: its folder.
        step: of the checkpoint, in environment steps of one seed; or best, by
            evaluation; or last.
        episodes: that each seed of the run plays, at least, from 1.
        sampled: draw actions from the policy instead of taking the most likely one.
        seed: of the evaluation, from 0.
    """

    run: RunPath
    step: str = "best"
    episodes: int = 100
    sampled: bool = False
    seed: int = 0

    def __call__(self) -> None:
        """Prints the returns of each seed, and of all."""
        restored = restore(self.run, self.step)
        returns = saved_runs.evaluate(
            restored,
            episodes=self.episodes,
            greedy=not self.sampled,
            seed=self.seed,
        )
        named = restored.named
        print(
            f"{named.name}, {named.experiment.environment.name}, "
            f"step {restored.step:,}, {'sampled' if self.sampled else 'greedy'}"
        )
        rows: list[tuple[str, ...]] = [("", "episodes", "mean", "std", "min", "max")]
        if len(returns) > 1:
            first = named.experiment.seed
            rows += [_row(f"seed {first + i}", x) for i, x in enumerate(returns)]
        rows.append(_row("total", returns))
        print(*listing.table(rows), sep="\n")


@dataclasses.dataclass(frozen=True)
class Resume:
    """Goes on with a run, from its last good checkpoint.

    Attributes:
        run: its folder.
        budget: of the whole run; the defaults are the run's own.
    """

    run: RunPath
    budget: Budget = Budget()

    def __call__(self) -> None:
        """Trains."""
        folder = RunFolder.open(self.run)
        experiment = saved_runs.read(folder).experiment
        cli.resume(folder, dataclasses.replace(experiment, budget=self.budget))


@dataclasses.dataclass(frozen=True)
class Render:
    """Draws an episode of a run as a GIF.

    Attributes:
        run: its folder.
        output: the file, which ends in .gif; None for episode.gif in the run's folder.
        step: of the checkpoint, in environment steps of one seed; or best, by
            evaluation; or last.
        sampled: draw actions from the policy instead of taking the most likely one.
        seed: of the episode, from 0.
        max_steps: environment steps after which the picture ends, from 1.
        distribution: draw beside it the distribution of returns that the agent expects
            of each action; for C51, QR-DQN, IQN and Rainbow.
    """

    run: RunPath
    output: Path | None = None
    step: str = "best"
    sampled: bool = False
    seed: int = 0
    max_steps: int = 1000
    distribution: bool = False

    def __call__(self) -> None:
        """Plays the episode and writes it."""
        check_in_range(0, MAX_SEED, seed=self.seed)
        restored = restore(self.run, self.step)
        # After JAX has been told how many devices to make: this import makes them.
        from jaxrl_dist.environments import rendering

        environment = restored.named.experiment.environment
        if isinstance(environment, HostConfig):
            raise ValueError(
                f"{environment.name} is stepped on the host, and render draws what is "
                "stepped on the device; evaluate it instead"
            )
        returns = saved_runs.expected_returns(restored) if self.distribution else None
        policy, memory = saved_runs.policy(restored, greedy=not self.sampled)
        output = self.output or RunFolder(self.run).path / "episode.gif"
        episode = rendering.render_episode(
            environment,
            policy,
            jax.random.key(self.seed),
            output,
            memory=memory,
            max_steps=self.max_steps,
            returns=returns,
        )
        print(
            f"{output}: {episode.num_frames} frames, return "
            f"{episode.episode_return:.4g}{'' if episode.ended else ', cut off'}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Does what the command line says.

    Args:
        arguments: of the command line; None for this process's own.

    Raises:
        SystemExit: with the status that `cli` documents, other than 0.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    cli.with_one_line(lambda: _run(arguments))


def restore(run: Path, step: str) -> saved_runs.Restored:
    """Reads a run back.

    Args:
        run: its folder.
        step: "best", "last", or a number.

    Raises:
        ValueError: the folder is no run's, or step is none of these.
        FileNotFoundError: there is no such checkpoint.
        DamagedCheckpointError: the checkpoint is damaged.
    """
    folder = RunFolder.open(run)
    experiment = saved_runs.read(folder).experiment
    cli.prepare(experiment.runtime.num_devices)
    if step not in ("best", "last") and not step.isdecimal():
        raise ValueError(f"--step {step} must be best, last or a number of steps")
    number = int(step) if step.isdecimal() else None
    if step == "best":
        number = saved_runs.checkpoints_of(folder, experiment).best()
    return saved_runs.restore(folder, number)


def _run(arguments: list[str]) -> None:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise ValueError(f"no command {arguments[0]}; there are {', '.join(COMMANDS)}")
    resume = tyro.conf.subcommand("resume")
    if arguments[:1] == ["resume"] and arguments[1:2] not in ([], ["-h"], ["--help"]):
        if arguments[1].startswith("-"):
            raise ValueError(f"resume takes the run first, got {arguments[1]}")
        # The run comes first, because its own budget is what the flags start from.
        saved = saved_runs.read(RunFolder.open(arguments[1]))
        given = Resume(Path(arguments[1]), saved.experiment.budget)
        resume = tyro.conf.subcommand("resume", default=given)
    command = cli.parse(
        Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Resume, resume]
        | Annotated[Render, tyro.conf.subcommand("render")],
        arguments,
        prog="python -m jaxrl_dist",
        description=__doc__,
    )
    command()


def _row(name: str, returns: np.ndarray) -> tuple[str, ...]:
    numbers = (returns.mean(), returns.std(), returns.min(), returns.max())
    return (name, str(returns.size), *(f"{x:.4g}" for x in numbers))


if __name__ == "__main__":
    main()
