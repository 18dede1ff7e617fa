"""Breaks the losses in small ways, one at a time, and counts what the tests notice.

    make mutants
    python -m tests.losses.mutate --only vtrace

A mutant is one file with one operator, number, comparison or call changed. Workers
test them one after the other, each time importing the losses and their tests anew;
they are forked from a process that has imported JAX but not used it. Fewer than 95%
noticed is a failure. The survivors are explained in MUTANTS.md.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import os
import pathlib
import random
import select
import signal
import sys
import time
from typing import NamedTuple

import hypothesis  # noqa: F401  imported once here, not once per mutant
import jax
import pytest

from tests.losses.mutants import Mutant, mutants_of

TESTS = pathlib.Path(__file__).parent
PACKAGE = TESTS.parent.parent / "jaxrl_dist" / "losses"
TIMEOUT_SECONDS = 900
GOAL = 0.95
BATCH = 25  # mutants for one worker: what it compiled for one serves the next
NOTICED, SURVIVED, DIED = b"n", b"s", b""
OPTIONS = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow"]
# The settings of conftest.py are made once, below; assertions need not be explained.
OPTIONS += ["--noconftest", "--assert=plain"]
# Which collects garbage five times per run, longer than most tests take.
OPTIONS += ["-p", "no:unraisableexception", "-p", "no:threadexception"]
# Settings of plugins that are not loaded; the time has a limit of its own here.
OPTIONS += ["-W", "ignore::pytest.PytestConfigWarning"]

# Which tests know a file's own facts; what holds of all losses is tried after them.
OWN_TESTS = {
    "blocks": ["blocks", "quantile"],
    "categorical": ["categorical", "categorical_projection"],
    "projection": ["categorical_projection", "categorical"],
    "selection": ["selection", "td"],
}
# Of what holds of all losses, what is tried where a file serves others.
ALL_TESTS = {
    "blocks": ["categorical_projection"],
    "precision": ["vtrace", "entropy"],
    "projection": ["categorical_projection", "categorical_loss"],
    "recurrence": ["linear_recurrence", "n_step_returns", "vtrace"],
    "selection": ["double_q_errors", "categorical_loss"],
}


class Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in place of the file it was made from."""

    def __init__(self, mutant: Mutant):
        self.name = f"jaxrl_dist.losses.{mutant.module}"
        self.path = PACKAGE / f"{mutant.module}.py"
        self.tree = mutant.tree

    def find_spec(self, fullname, path, target=None):
        """Answers for one module only."""
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module):
        """Runs the changed tree."""
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def selections(mutant: Mutant) -> list[list[str]]:
    """Which tests to run, those most likely to notice first."""
    own = OWN_TESTS.get(mutant.module, [mutant.module])
    public = {
        node.name
        for node in ast.parse((PACKAGE / f"{mutant.module}.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    names = ALL_TESTS.get(mutant.module) or sorted({mutant.function} & public or public)
    return [
        [str(TESTS / f"test_{name}.py") for name in own],
        [*map(str, sorted(TESTS.glob("test_all_*.py"))), "-k", " or ".join(names)],
    ]


def is_noticed(mutant: Mutant) -> bool:
    """Runs the tests on a mutant, with everything of ours imported anew."""
    for name in list(sys.modules):
        if name.startswith(("jaxrl_dist", "tests.losses.")):
            del sys.modules[name]
    importer = Importer(mutant)
    sys.meta_path.insert(0, importer)
    try:
        return any(
            pytest.main([*chosen, *OPTIONS]) != 0 for chosen in selections(mutant)
        )
    except BaseException:
        return True
    finally:
        sys.meta_path.remove(importer)


class Worker(NamedTuple):
    """A process that tests some mutants, silently, and answers with a byte for each."""

    process: int
    answers: int  # where to read
    mutants: list[Mutant]


def start(mutants: list[Mutant]) -> Worker:
    """Forks a worker."""
    answers, pipe = os.pipe()
    process = os.fork()
    if process:
        os.close(pipe)
        return Worker(process, answers, mutants)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for mutant in mutants:
        os.write(pipe, NOTICED if is_noticed(mutant) else SURVIVED)
    os._exit(0)


def run(mutants: list[Mutant], processes: int) -> list[Mutant]:
    """Tests all mutants, several at a time, and returns the survivors."""
    batches = [mutants[i : i + BATCH] for i in range(0, len(mutants), BATCH)]
    batches.reverse()
    workers: dict[int, Worker] = {}
    heard: dict[int, float] = {}  # when each worker last answered
    survivors = []
    while batches or workers:
        while batches and len(workers) < processes:
            worker = start(batches.pop())
            workers[worker.process] = worker
            heard[worker.process] = time.monotonic()
        for process, worker in list(workers.items()):
            answer = next_answer(worker, heard[process])
            if answer is None:
                continue
            heard[process] = time.monotonic()
            if answer == DIED:
                del workers[process]
                # The one it died of is noticed; the others are for the next worker.
                batches += [worker.mutants[1:]] if worker.mutants[1:] else []
            elif answer == SURVIVED:
                survivors.append(worker.mutants[0])
            report(worker.mutants.pop(0) if worker.mutants else None, answer)
    return survivors


def report(mutant: Mutant | None, answer: bytes) -> None:
    """Prints a line for each mutant, so that a run cut short tells something."""
    if mutant is not None:
        verdict = "SURVIVED" if answer == SURVIVED else "noticed"
        print(f"{verdict} {describe(mutant)}", flush=True)


def next_answer(worker: Worker, since: float) -> bytes | None:
    """What a worker says of its next mutant; None while it says nothing."""
    readable, _, _ = select.select([worker.answers], [], [], 0.1)
    if not readable and time.monotonic() - since > TIMEOUT_SECONDS:
        os.kill(worker.process, signal.SIGKILL)  # an endless loop will be noticed
        readable = [worker.answers]
    if not readable:
        return None
    answer = os.read(worker.answers, 1)
    if answer == DIED:
        os.waitpid(worker.process, 0)
        os.close(worker.answers)
    return answer


def describe(mutant: Mutant) -> str:
    """Where a mutant is and what it changes."""
    line = (PACKAGE / f"{mutant.module}.py").read_text().splitlines()[mutant.line - 1]
    return f"{mutant.module}.py:{mutant.line} {mutant.change}: {line.strip()}"


def main() -> int:
    """Tests all mutants, or those of some files, and reports."""
    parser = argparse.ArgumentParser(description="Tests the tests of the losses.")
    parser.add_argument("--only", nargs="*", help="names of files, without .py")
    parser.add_argument("--processes", type=int, default=2, help="at the same time")
    arguments = parser.parse_args()
    only = arguments.only
    files = [
        path
        for path in sorted(PACKAGE.glob("*.py"))
        if path.stem != "__init__" and (not only or path.stem in only)
    ]
    mutants = [mutant for path in files for mutant in mutants_of(path)]
    # In an order of its own, so that a run that is cut short is a fair sample.
    random.Random(0).shuffle(mutants)
    # Files as they are: if their tests fail, failing means nothing for a mutant.
    unchanged = [
        Mutant(path.stem, "", 1, "nothing", ast.parse(path.read_text()))
        for path in files
    ]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    jax.config.update("jax_numpy_rank_promotion", "raise")
    began = time.monotonic()
    if len(run(unchanged, arguments.processes)) < len(unchanged):
        sys.exit("some tests fail without any change: see the lines above")
    survivors = run(mutants, arguments.processes)
    killed = len(mutants) - len(survivors)
    print(
        f"{killed} of {len(mutants)} mutants noticed ({killed / len(mutants):.1%}) "
        f"in {time.monotonic() - began:.0f} s"
    )
    return int(killed < GOAL * len(mutants))


if __name__ == "__main__":
    sys.exit(main())
