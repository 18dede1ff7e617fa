"""Breaks the losses in small ways, one at a time, and counts what the tests notice.

    make mutants
    python -m tests.losses.mutate --only vtrace

A mutant is one file with one operator, number, comparison or call changed. Each is
tested in a process of its own, forked from one that has imported JAX but not used it.
Fewer than 95% noticed is a failure. The survivors are explained in MUTANTS.md.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis  # noqa: F401  imported once here, not once per mutant
import jax
import pytest

TESTS = pathlib.Path(__file__).parent
PACKAGE = TESTS.parent.parent / "jaxrl_dist" / "losses"
TIMEOUT_SECONDS = 900
GOAL = 0.95

BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
NAMES = {
    "minimum": "maximum",
    "maximum": "minimum",
    "min": "max",
    "max": "min",
    "sum": "mean",
    "mean": "sum",
    "argmax": "argmin",
    "exp": "log",
    "log": "exp",
    "log_softmax": "softmax",
    "softmax": "log_softmax",
    "zeros_like": "ones_like",
    "abs": "negative",
    "sqrt": "square",
    "square": "abs",
    "all": "any",
}
# Arguments with a default, whose loss would go unnoticed by Python.
DROPPED = {"axis", "method", "ends", "epsilon", "kappa", "scale", "weights", "keepdims"}
# Which tests know a file's own facts; what holds of all losses is tried after them.
OWN_TESTS = {
    "blocks": ["blocks", "quantile"],
    "selection": ["selection", "td"],
}
# Of what holds of all losses, what is tried where a file serves others.
ALL_TESTS = {
    "blocks": ["categorical_projection"],
    "precision": ["vtrace", "entropy"],
    "recurrence": ["linear_recurrence", "n_step_returns", "vtrace"],
    "selection": ["double_q_errors", "categorical_loss"],
}


class Mutant(NamedTuple):
    """One change to one file."""

    module: str
    function: str  # the top-level function it is in
    line: int
    change: str
    tree: ast.Module


def replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may be changed to, and how to call the change."""
    if isinstance(node, ast.Constant):
        yield from changed_constants(node)
    elif isinstance(node, ast.Call):
        yield from changed_functions(node)
        yield from changed_arguments(node)
    elif isinstance(node, ast.If | ast.IfExp):
        changed = copy.copy(node)
        changed.test = ast.UnaryOp(ast.Not(), node.test)
        yield "condition negated", changed
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "statement dropped", ast.Pass()
    else:
        yield from changed_operators(node)


def changed_constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    """Another flag or number."""
    if isinstance(node.value, bool):
        yield f"-> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node.value, int | float):
        yield f"-> {node.value + 1}", ast.Constant(node.value + 1)


def changed_operators(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Another operator between the same operands, or none."""
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        other = BINARY[type(node.op)]()
        yield f"-> {type(other).__name__}", ast.BinOp(node.left, other, node.right)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        other = COMPARISONS[type(node.ops[0])]()
        changed = ast.Compare(node.left, [other, *node.ops[1:]], node.comparators)
        yield f"-> {type(other).__name__}", changed
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"-> {type(other).__name__}", ast.BoolOp(other, node.values)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield "operator dropped", node.operand


def changed_functions(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """A call of another function, or none."""
    function = node.func
    if not isinstance(function, ast.Attribute):
        return
    if function.attr in {"stop_gradient", "clip"}:
        yield f"{function.attr} dropped", node.args[0]
    if function.attr in {"astype", "reshape"}:
        yield f"{function.attr} dropped", function.value
    if function.attr in NAMES:
        other = NAMES[function.attr]
        renamed = ast.Attribute(function.value, other, ast.Load())
        yield f"-> {other}", ast.Call(renamed, node.args, node.keywords)


def changed_arguments(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """A call with one argument less, or with two exchanged."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "where":
        condition, one, two = node.args
        yield "branches exchanged", ast.Call(node.func, [condition, two, one], [])
    for index, keyword in enumerate(node.keywords):
        if keyword.arg in DROPPED:
            others = node.keywords[:index] + node.keywords[index + 1 :]
            yield f"{keyword.arg} dropped", ast.Call(node.func, node.args, others)


def mutants_of(path: pathlib.Path) -> Iterator[Mutant]:
    """All mutants of one file."""
    tree = ast.parse(path.read_text())
    for top in tree.body:
        if not isinstance(top, ast.FunctionDef | ast.Assign):
            continue
        function = top.name if isinstance(top, ast.FunctionDef) else ""
        for parent in ast.walk(top):
            if isinstance(parent, ast.arg):
                continue
            for field, value in ast.iter_fields(parent):
                if field in {"annotation", "returns"}:
                    continue
                yield from mutants_at(path.stem, function, tree, parent, field, value)


def mutants_at(*place) -> Iterator[Mutant]:
    """The mutants of what stands in one field of a node."""
    module, function, tree, parent, field, value = place
    if is_annotation(parent):
        return
    nodes = value if isinstance(value, list) else [value]
    for index, node in enumerate(nodes):
        if not isinstance(node, ast.AST):
            continue
        for change, changed in replacements(node):
            if isinstance(value, list):
                setattr(parent, field, [*value[:index], changed, *value[index + 1 :]])
            else:
                setattr(parent, field, changed)
            line = getattr(node, "lineno", 0)
            mutated = ast.fix_missing_locations(copy.deepcopy(tree))
            yield Mutant(module, function, line, change, mutated)
            setattr(parent, field, value)


def is_annotation(node: ast.AST) -> bool:
    """Types in subscripts, like `tuple[int, ...]`, are not run."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and (node.value.id in {"tuple", "list", "dict", "Callable"})
    )


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
        [str(TESTS / "test_all_losses.py"), "-k", " or ".join(names)],
    ]


def is_noticed(mutant: Mutant) -> bool:
    """Runs the tests on a mutant, in this process, which is good for nothing after."""
    sys.meta_path.insert(0, Importer(mutant))
    options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow"]
    options.append("--assert=plain")  # nothing is read of it, and it takes time
    return any(pytest.main([*chosen, *options]) != 0 for chosen in selections(mutant))


def start(mutant: Mutant) -> int:
    """Tests a mutant in a new process, silently; exit status 1 if it was noticed."""
    process = os.fork()
    if process == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            noticed = is_noticed(mutant)
        except BaseException:
            noticed = True
        os._exit(int(noticed))
    return process


def run(mutants: list[Mutant], processes: int) -> list[Mutant]:
    """Tests all mutants, several at a time, and returns the survivors."""
    waiting, running, survivors = list(reversed(mutants)), {}, []
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            running[start(mutant)] = (mutant, time.monotonic())
        for process, (mutant, started) in list(running.items()):
            finished, status = os.waitpid(process, os.WNOHANG)
            if not finished and time.monotonic() - started > TIMEOUT_SECONDS:
                os.kill(process, 9)  # an endless loop is noticed by whoever waits
                os.waitpid(process, 0)
            elif not finished:
                continue
            elif status == 0:
                survivors.append(mutant)
                print(describe(mutant), flush=True)
            del running[process]
            done = len(mutants) - len(waiting) - len(running)
            if done % 50 == 0:
                print(f"  {done} of {len(mutants)}", flush=True)
        time.sleep(0.02)
    return survivors


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
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        began = time.monotonic()
        unchanged = [
            Mutant(path.stem, "", 1, "nothing", ast.parse(path.read_text()))
            for path in files
        ]
        if len(run(unchanged, arguments.processes)) < len(unchanged):
            sys.exit("the tests fail without any change")
        print("unchanged files pass; survivors:")
        survivors = run(mutants, arguments.processes)
    killed = len(mutants) - len(survivors)
    print(
        f"{killed} of {len(mutants)} mutants noticed ({killed / len(mutants):.1%}) "
        f"in {time.monotonic() - began:.0f} s; survivors above"
    )
    return int(killed < GOAL * len(mutants))


if __name__ == "__main__":
    sys.exit(main())
