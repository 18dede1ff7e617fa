"""Where a run leaves what it leaves: one folder, and the names in it.

config.json         the full configuration, enough to resume
metrics.jsonl       one row per report
events/             the same for TensorBoard
checkpoints/        the training state
learning_curve.png  evaluation return against environment steps
summary.json        what came out, once the run has ended
"""

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrl_dist import configuration

# Of the operating system: what does not get better by trying again.
LASTING_ERRNOS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class EvaluationSummary:
    """Returns of the final policy over whole episodes.

    Attributes:
        episodes: how many were played, over all seeds.
        return_mean: undiscounted, environment reward units, as are the others.
        return_std: standard deviation over episodes.
        return_min: of the worst episode.
        return_max: of the best one.
    """

    episodes: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run reports of itself when it ends: the content of `summary.json`.

    Attributes:
        experiment: name of the module that was run.
        environment: name of the environment.
        agent: name of the agent.
        seed: the first one.
        num_seeds: independent runs at once.
        updates: rollouts of all environments, whatever was learned after each; with
            actors, batches that the learner took.
        env_steps: environment steps taken, each seed's counted.
        compile_seconds: tracing and compiling, cached or not.
        train_seconds: acting and learning, without compiling and evaluating.
        wall_seconds: from the process's start to the summary.
        steps_per_second: env_steps per second of training, in this process.
        evaluation: of the final policy; None if there was none.
        versions: of Python and the packages that matter.
        devices: one description each.
    """

    experiment: str
    environment: str
    agent: str
    seed: int
    num_seeds: int
    updates: int
    env_steps: int
    compile_seconds: float
    train_seconds: float
    wall_seconds: float
    steps_per_second: float
    evaluation: EvaluationSummary | None
    versions: Mapping[str, str]
    devices: Sequence[str]


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Made by `create` or `open`.

    Attributes:
        path: where it is.
    """

    path: Path

    @classmethod
    def create(
        cls, output_dir: str | os.PathLike | None, experiment: str, seed: int
    ) -> "RunFolder":
        """Makes the folder of a new run.

        Args:
            output_dir: where; None for `runs/<experiment>/<time>-<seed>`.
            experiment: name of the experiment.
            seed: of the run.

        Returns:
            The folder, empty and writable.

        Raises:
            ValueError: `output_dir` holds something already, or nothing can be
                written there.
        """
        return cls(_make_empty_folder(_choose_path(output_dir, experiment, seed)))

    @classmethod
    @contextlib.contextmanager
    def prepared(
        cls, output_dir: str | os.PathLike | None, experiment: str, seed: int
    ) -> "Iterator[RunFolder]":
        """Makes the folder of a new run, and takes it away if the block fails.

        So that it is known before anything is compiled that results can be written, and
        a run that never starts leaves nothing behind. Only empty folders are removed.

        Args:
            output_dir: as for `create`, and so are the others.
            experiment: name of the experiment.
            seed: of the run.

        Yields:
            The folder.

        Raises:
            ValueError: as for `create`.
        """
        path = _choose_path(output_dir, experiment, seed)
        missing = [each for each in (path, *path.parents) if not each.exists()]
        folder = cls(_make_empty_folder(path))
        try:
            yield folder
        except BaseException:
            for made in missing:
                with contextlib.suppress(OSError):  # something is in it
                    made.rmdir()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike) -> "RunFolder":
        """Finds the folder of an earlier run.

        Args:
            path: of the folder.

        Returns:
            The folder, which has a configuration.

        Raises:
            ValueError: there is no such folder, or it is not a run's.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            what = "is a file" if folder.path.exists() else "does not exist"
            raise ValueError(f"run folder {path} {what}")
        if not folder.config.is_file():
            inside = sorted(folder.path.rglob(folder.config.name))
            hint = f"; did you mean {inside[-1].parent}?" if inside else ""
            raise ValueError(
                f"{path} is no run folder: it has no {folder.config.name}{hint}"
            )
        return folder

    @property
    def config(self) -> Path:
        """The full configuration."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One row per report, JSON lines."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "events"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def learning_curve(self) -> Path:
        """Evaluation return against environment steps."""
        return self.path / "learning_curve.png"

    @property
    def summary(self) -> Path:
        """What came out."""
        return self.path / "summary.json"

    def write_config(self, config: Any) -> None:
        """Writes the configuration.

        Args:
            config: a dataclass that `configuration.to_json` takes.

        Raises:
            ValueError: it holds something that JSON cannot say.
        """
        _write_json(self.config, configuration.to_json(config))

    def read_config(self, *, classes: Sequence[type] = ()) -> Any:
        """Reads the configuration.

        Args:
            classes: dataclasses that may be built besides those of this package.

        Returns:
            What `write_config` was given.

        Raises:
            ValueError: the file is damaged, or of other settings than there are now.
        """
        try:
            data = json.loads(self.config.read_text(encoding="utf-8"))
            return configuration.from_json(data, classes=classes)
        except ValueError as error:
            raise ValueError(f"{self.config} cannot be read: {error}") from error

    def write_summary(self, summary: Summary) -> None:
        """Writes what came out, at once or not at all.

        Args:
            summary: of the run so far.
        """
        _write_json(self.summary, dataclasses.asdict(summary))


def _choose_path(
    output_dir: str | os.PathLike | None, experiment: str, seed: int
) -> Path:
    if output_dir is not None:
        return Path(output_dir)
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    first = Path("runs") / experiment / f"{now}-{seed}"
    path, number = first, 2
    while path.exists():  # a run of the same seed began in the same second
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path


def _make_empty_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ValueError(
                f"--output-dir {path} is not empty: name another folder, or go on "
                f"with the run that is there by --resume {path}"
            )
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f"--output-dir {path} cannot be written: {error.strerror}; name a folder "
            "that can"
        ) from error
    return path


@contextlib.contextmanager
def naming_the_folder(path: Path) -> Iterator[None]:
    """Lets an error of the disk say where: one of writing names no file by itself.

    Args:
        path: of the run's folder.

    Raises:
        OSError: as it came, with the folder for a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in LASTING_ERRNOS or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_json(path: Path, data: Any) -> None:
    # Renamed when complete, so that no reader and no crash meets half a file.
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
