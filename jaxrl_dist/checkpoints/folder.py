"""The checkpoints of a run: written at once, verified when read, pruned.

A checkpoint is one folder, named by its step:

    000000150000/
      state/            the arrays, written by orbax (OCDBT, zstd-compressed)
      checkpoint.json   step, metric, metadata, and each leaf's path, shape and type
      SHA256SUMS        digests of every file above; `sha256sum -c` reads it
      rating.json       how good it is, where that became known later; has no digest

orbax writes and reads arrays; it neither notices a damaged file nor looks for another
checkpoint. So each file's digest is compared before orbax sees it, and a damaged
checkpoint gives way to the one before it.
"""

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_dist.checkpoints import files, leaves
from jaxrl_dist.checks import check_at_least
from jaxrl_dist.types import ArrayTree

ABOUT, STATE = "checkpoint.json", "state"
UNFINISHED = "unfinished-"  # prefix of a folder that is still being written
DAMAGED = "damaged-"  # prefix of a folder that failed its digests

logger = logging.getLogger(__name__)


class CheckpointInfo(NamedTuple):
    """What is known about a restored state besides its arrays."""

    step: int  # environment steps
    metric: float | None  # what `keep_best` compares; greater is better
    metadata: dict[str, Any]  # as given to `save`
    damaged: tuple[int, ...] = ()  # newer steps that were passed over, newest first


class Checkpoints:
    """The checkpoints of one run: the last few, and the best.

    One process writes, the first if JAX runs in several; any number may read at the
    same time. Nothing is created, and orbax is not imported, before the first `save` or
    `restore`.

    Attributes:
        folder: where the checkpoints lie.
        keep_last: how many of the newest are kept, from 1.
        keep_best: whether the one with the greatest metric is kept as well.

    Raises:
        ValueError: `keep_last` is below 1.
    """

    def __init__(
        self, folder: str | os.PathLike, keep_last: int = 3, keep_best: bool = True
    ) -> None:
        check_at_least(1, keep_last=keep_last)
        # orbax accepts absolute paths only.
        self.folder = Path(folder).absolute()
        self.keep_last = keep_last
        self.keep_best = keep_best
        self._writer: ThreadPoolExecutor | None = None
        self._to_be_rated: set[int] = set()

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, damaged or not, in rising order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(x.name) for x in self.folder.iterdir() if x.name.isdecimal())

    def latest(self) -> int | None:
        """The last step of which there is a checkpoint; None without any."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step with the greatest metric, the latest of equals; None without any."""
        metrics = {step: self._metric(step) for step in self.steps()}
        known = [
            (metric, step) for step, metric in metrics.items() if metric is not None
        ]
        return max(known)[1] if known else None

    def save(
        self,
        step: int,
        state: ArrayTree,
        *,
        metric: float | None,
        metadata: Mapping[str, Any],
    ) -> Path:
        """Writes a checkpoint, then removes those that need not be kept.

        The checkpoint appears under its name once it is complete. One of the same step
        is replaced. What an interrupted `save` left behind is removed.

        Args:
            step: environment steps taken so far, from 0.
            state: a pytree of jax or numpy arrays of any type, typed random keys
                among them, each wholly addressable by this process. An array that is
                spread over devices is written as one, with its leading device axis.
            metric: how good the state is, greater is better; None or NaN if unknown.
            metadata: whatever else a resumed run must know, as JSON can say it.

        Returns:
            The checkpoint's folder.

        Raises:
            ValueError: `step` is negative, or two leaves have the same path.
            TypeError: the metadata cannot be written as JSON.
            OSError: the disk is full.
        """
        saving = self.save_in_background(step, state, metric=metric, metadata=metadata)
        return saving.result()

    def save_in_background(
        self,
        step: int,
        state: ArrayTree,
        *,
        metric: float | None,
        metadata: Mapping[str, Any],
        to_be_rated: bool = False,
    ) -> Future[Path]:
        """Fetches a state, and writes it while the caller goes on.

        Checkpoints are written one after the other, in the order of the calls. Wait for
        the answer before the process ends: orbax cannot finish once it is ending.

        Args:
            step: as for `save`, and so are the others.
            state: may change or be given away once this returns.
            metric: greater is better.
            metadata: for whoever resumes.
            to_be_rated: keep it until `rate_in_background` has said how good it is.

        Returns:
            A promise of the checkpoint's folder; its `result` raises what went wrong,
            OSError if the disk is full.

        Raises:
            ValueError: `step` is negative, or two leaves have the same path.
            TypeError: the metadata cannot be written as JSON.
        """
        check_at_least(0, step=step)
        described = leaves.describe(state)
        about = {
            "step": step,
            "metric": metric if metric is None or math.isfinite(metric) else None,
            "metadata": dict(metadata),
            "leaves": [leaf._asdict() for leaf in described],
        }
        about_text = json.dumps(about, indent=1)
        arrays = leaves.to_host(described, state)
        if to_be_rated:
            self._to_be_rated.add(step)
        return self._in_background(self._write, step, about_text, arrays)

    def rate_in_background(self, step: int, metric: float) -> Future[None]:
        """Says how good a state is that has been saved, once that is known.

        Args:
            step: of the checkpoint, saved with `to_be_rated`.
            metric: greater is better; NaN if it remains unknown.

        Returns:
            A promise; its `result` raises what went wrong. That the checkpoint is not
            there any more is no fault.
        """
        return self._in_background(self._rate, step, metric)

    def _in_background(self, action: Callable, *arguments: Any) -> Future:
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")

        def named() -> Any:
            with files.naming_a_full_disk(self.folder):
                return action(*arguments)

        return self._writer.submit(named)

    def _write(self, step: int, about_text: str, arrays: dict[str, np.ndarray]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{UNFINISHED}*"):
            _remove_all(leftover)
        unfinished = self.folder / f"{UNFINISHED}{step:012d}"
        unfinished.mkdir()
        (unfinished / ABOUT).write_text(about_text)
        files.write_arrays(unfinished / STATE, arrays)
        files.write_digests(unfinished)

        final = self._folder(step)
        if final.exists():
            final.rename(self.folder / f"{UNFINISHED}replaced-{step:012d}")
        unfinished.rename(final)
        self._prune(step)
        return final

    def _rate(self, step: int, metric: float) -> None:
        self._to_be_rated.discard(step)
        rating = self._folder(step) / files.RATING
        new = self.folder / f"{UNFINISHED}rating-{step:012d}"
        try:
            known = metric if math.isfinite(metric) else None
            new.write_text(json.dumps({"metric": known}))
            new.replace(rating)
        except FileNotFoundError:
            logger.warning("there is no checkpoint of step %d to be rated", step)
            new.unlink(missing_ok=True)
            return
        self._prune(step)

    def restore(
        self, step: int | None = None, *, like: ArrayTree
    ) -> tuple[ArrayTree, CheckpointInfo]:
        """Reads a checkpoint back, bit for bit.

        Without a step, the latest that is undamaged is read. Each damaged one met on
        the way is reported as a warning, listed in the answer, and set aside under
        another name, so that it never again counts as the latest.

        Args:
            step: which one; None for the latest good one.
            like: a pytree of arrays or `jax.ShapeDtypeStruct` with the structure,
                shapes and types that are expected, such as `jax.eval_shape` gives.

        Returns:
            The state, with the structure of `like`, and what is known about it. Its
            leaves are numpy arrays, typed random keys excepted, for the caller to place
            on devices.

        Raises:
            FileNotFoundError: there is no checkpoint, or none of that step.
            DamagedCheckpointError: the one asked for, or every one, is damaged.
            ValueError: the checkpoint holds another structure, shape or type than
                `like`; the message names the first leaf that differs.
        """
        steps = self.steps()
        if step is not None and step not in steps:
            has = f"those of steps {steps}" if steps else "none"
            raise FileNotFoundError(
                f"no checkpoint of step {step} in {self.folder}: there are {has}"
            )
        if not steps:
            raise FileNotFoundError(f"there is no checkpoint in {self.folder}")
        if step is not None:
            return self._restore(step, like, damaged=())

        damaged = []
        for candidate in reversed(steps):
            try:
                restored = self._restore(candidate, like, tuple(damaged))
            except files.DamagedCheckpointError as error:
                logger.warning("passing over a checkpoint: %s", error)
                damaged.append(candidate)
                continue
            self._set_aside(damaged)
            return restored
        raise files.DamagedCheckpointError(
            f"every checkpoint in {self.folder} is damaged: steps {steps}"
        )

    def discard_after(self, step: int) -> None:
        """Removes checkpoints of later steps, when a run goes back to an earlier one.

        Args:
            step: the last one to keep.
        """
        for later in self.steps():
            if later > step:
                self._remove(later)

    def _folder(self, step: int) -> Path:
        return self.folder / f"{step:012d}"

    def _metric(self, step: int) -> float | None:
        for name in (files.RATING, ABOUT):
            try:
                return json.loads((self._folder(step) / name).read_text())["metric"]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not rated later, or damaged: `restore` says so
        return None

    def _restore(
        self, step: int, like: ArrayTree, damaged: tuple[int, ...]
    ) -> tuple[ArrayTree, CheckpointInfo]:
        folder = self._folder(step)
        files.verify_digests(folder)
        about = json.loads((folder / ABOUT).read_text())
        saved = {
            x["path"]: leaves.Leaf(**x | {"shape": tuple(x["shape"])})
            for x in about["leaves"]
        }
        expected = leaves.describe(like)
        leaves.check_same_leaves(saved.values(), expected, folder)
        # By name: the order in which jax flattens dictionaries is not ours to promise.
        ordered = [saved[leaf.path] for leaf in expected]
        values = leaves.from_host(ordered, files.read_arrays(folder / STATE))
        state = jax.tree.unflatten(jax.tree.structure(like), values)
        info = CheckpointInfo(step, self._metric(step), about["metadata"], damaged)
        return state, info

    def _set_aside(self, damaged: list[int]) -> None:
        for step in damaged:
            try:
                aside = self.folder / f"{DAMAGED}{step:012d}"
                shutil.rmtree(aside, ignore_errors=True)
                self._folder(step).rename(aside)
            except OSError as error:  # a folder one may read but not write
                logger.warning("could not set a damaged checkpoint aside: %s", error)

    def _prune(self, just_saved: int) -> None:
        steps = self.steps()
        keep = {just_saved, *steps[-self.keep_last :], *self._to_be_rated}
        if self.keep_best and (best := self.best()) is not None:
            keep.add(best)
        for step in set(steps) - keep:
            self._remove(step)
        for replaced in self.folder.glob(f"{UNFINISHED}*"):
            _remove_all(replaced)

    def _remove(self, step: int) -> None:
        # Renamed first, so that an interrupted removal leaves no damaged checkpoint.
        leaving = self.folder / f"{UNFINISHED}removed-{step:012d}"
        self._folder(step).rename(leaving)
        shutil.rmtree(leaving)


def _remove_all(path: Path) -> None:
    """Removes a folder, or a rating that has not come to its place."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
