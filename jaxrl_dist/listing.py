"""What there is: experiment modules, and the runs that lie under a folder."""

import contextlib
import importlib
import json
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxrl_dist.run_folder import RunFolder

EXPERIMENTS = "experiments"  # the package whose modules are experiments


def experiments() -> list[tuple[str, str]]:
    """Finds the modules of the package `experiments` that have an `experiment()`.

    Returns:
        Name and first line of the docstring of each, in the order of names.

    Raises:
        ValueError: there is no package of that name to import.
    """
    try:
        package = importlib.import_module(EXPERIMENTS)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"there is no package called {EXPERIMENTS} here; run this in the folder "
            "that holds it"
        ) from error
    found = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{EXPERIMENTS}.{info.name}")
        if callable(getattr(module, "experiment", None)):
            lines = (module.__doc__ or "").strip().splitlines()
            found.append((info.name, lines[0] if lines else ""))
    return sorted(found)


def runs(root: Path) -> list[tuple[str, str, str, str]]:
    """Finds runs, at any depth.

    Args:
        root: folder in which to look; it need not exist.

    Returns:
        Folder, experiment, steps and evaluation of each, in the order of folders.
    """
    found = (RunFolder(config.parent) for config in sorted(root.rglob("config.json")))
    return [_describe(folder) for folder in found]


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Sets rows in columns, indented, as lines without spaces at their end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()


def _describe(folder: RunFolder) -> tuple[str, str, str, str]:
    path, name = str(folder.path), "of something else"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not ours
        name = str(json.loads(folder.config.read_text(encoding="utf-8"))["name"])
    try:
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
        evaluation = summary["evaluation"]
        steps = f"{summary['env_steps']:,} steps"
    except (OSError, ValueError, KeyError, TypeError):  # killed, or still running
        return path, name, "has not ended", ""
    if evaluation is None:
        return path, name, steps, "not evaluated"
    mean, std = evaluation["return_mean"], evaluation["return_std"]
    return path, name, steps, f"return {mean:.4g} ± {std:.2g}"
