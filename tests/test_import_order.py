"""The package is layered: a file imports only from rows above its own."""

import ast
import pathlib

import jaxrl_dist

ROWS = (
    {"types", "checks", "processes", "exit_status"},
    {"configuration"},
    {
        "losses",
        "networks",
        "environments",
        "replay",
        "checkpoints",
        "run_folder",
        "loggers",
        "plots",
        "versions",
        "compilation_cache",
    },
    {"rollout", "rollout_on_host", "agents"},
    {"distribution", "evaluation"},
    {"training"},
    {"experiment"},
    {"compiling"},
    {"saved_runs", "listing", "runtimes"},
    {"actor_runs"},
    {"runs", "parts"},
    {"learner_process"},
    {"worker"},
    {"cli"},
    {"__main__"},
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
PACKAGE = pathlib.Path(jaxrl_dist.__file__).parent


def imported_parts(file: pathlib.Path) -> set[str]:
    """The top-level parts of jaxrl_dist that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("jaxrl_dist.")}


def test_imports_point_up():
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        part = file.relative_to(PACKAGE).with_suffix("").parts[0]
        if part == "__init__":
            continue
        for other in imported_parts(file) - {part}:
            if ROW[other] >= ROW[part]:
                wrong.append(f"{file.relative_to(PACKAGE)} imports {other}")
    assert not wrong, "\n".join(wrong)
