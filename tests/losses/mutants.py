"""Small changes to a file: an operator, number, comparison or call at a time."""

import ast
import copy
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

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
