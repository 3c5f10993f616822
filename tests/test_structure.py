"""How the code is laid out: who imports whom, and how large its pieces are.

Imports inside functions count like those at the top; only ``if TYPE_CHECKING`` is left out, which
never runs.
"""

from __future__ import annotations

import ast
import inspect
import re
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import typer

from posebench.benchmark.cli.app import app
from posebench.victims import VICTIMS

ROOT = Path(__file__).resolve().parent.parent
BENCHMARK = ROOT / "benchmark"
FLOORS = (
    ("stats", "meshes"),
    ("records",),
    ("data",),
    ("evaluation",),
    ("training", "runs", "checks", "gate", "retarget"),
    ("audit", "reports"),
    ("cli",),
)
"""Rooms of ``benchmark`` from the ground up: each may import from itself and from lower floors."""

FOLDERS = {"posebench": ROOT / "posebench"} | {
    f"posebench.{name}": ROOT / name for name in ("attacks", "benchmark", "defenses", "victims")
}
LINKED = {"attacks", "benchmark", "defenses", "victims"}
"""Links inside ``posebench`` to the folders beside it."""

LONGEST_FUNCTION = 60
MOST_PARAMETERS = 8
LONGEST_MODULE = 300
MEDIAN_MODULE = 140
MOST_OPEN_DICTS = 30


def modules() -> dict[str, Path]:
    """Name of every module of the package -> its file."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder)
            if package == "posebench" and inner.parts[0] in LINKED:
                continue
            parts = [package, *inner.with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below that can run, functions included, blocks for type checkers not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from running(other)
            continue
        yield child
        yield from running(child)


def imports_of(tree: ast.Module) -> set[str]:
    """Modules of ours that a module imports anywhere in it."""
    found = set()
    for node in running(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        found |= {name for name in names if name in MODULES}
    return found


IMPORTS = {name: imports_of(tree) - {name} for name, tree in TREES.items()}


def room_of(module: str) -> str | None:
    """The room of a module of ``benchmark``, None for others."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "benchmark" else None


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_its_floor() -> None:
    rooms = {path.parent.name for path in BENCHMARK.glob("*/__init__.py")}
    assert rooms == {room for floor in FLOORS for room in floor}
    assert len([*BENCHMARK.glob("*.py")]) <= 3


def test_rooms_import_from_lower_floors_alone() -> None:
    """Siblings never import each other."""
    wrong = []
    for module, names in IMPORTS.items():
        room = room_of(module)
        for name in names if room else ():
            other = room_of(name)
            if other and other != room and floor_of(other) >= floor_of(room or ""):
                wrong.append(f"{module} imports {name}")
    assert sorted(wrong) == []


def test_no_module_imports_itself_through_others() -> None:
    """Packages are left out: their names are imported lazily, or re-export what lies below."""
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    graph = {name: IMPORTS[name] - packages for name in MODULES if name not in packages}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_rule_sees_an_import_inside_a_function() -> None:
    """And none that only type checkers follow."""
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from posebench.benchmark.cli import app
def load():
    if load:
        from posebench.benchmark.reports import page
    import posebench.benchmark.gate.config
"""
    found = imports_of(ast.parse(source))
    assert found == {"posebench.benchmark.reports.page", "posebench.benchmark.gate.config"}


def commands(group: typer.Typer) -> set[str]:
    """Full names of the functions behind a command line's commands."""
    found = set()
    for command in group.registered_commands:
        made = inspect.unwrap(command.callback) if command.callback else None
        if made is not None:
            found.add(f"{made.__module__}.{made.__qualname__}")
    for inner in group.registered_groups:
        found |= commands(inner.typer_instance) if inner.typer_instance else set()
    return found


COMMANDS = commands(app)

WITHOUT_TORCH = [
    *sorted(name for name in MODULES if room_of(name) == "stats"),
    "posebench.benchmark.records.types",
]


def test_statistics_and_record_types_need_no_torch(tmp_path: Path) -> None:
    code = "import sys\nsys.modules['torch'] = None\n"
    code += "".join(f"import {name}\n" for name in WITHOUT_TORCH)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# ---- sizes


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller sees: not self and cls."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    stars = sum(each is not None for each in (args.vararg, args.kwarg))
    return len([each for each in every if each.arg not in ("self", "cls")]) + stars


def decisions(tree: ast.AST, names: Collection[str]) -> list[str]:
    """Comparisons and tests of beginnings with one of ``names`` in a syntax tree."""
    found = []
    for node in ast.walk(tree):
        held: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            held = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            held = list(node.args) if node.func.attr in ("startswith", "endswith") else []
        elif isinstance(node, ast.MatchValue):
            held = [node.value]
        constants = (each for part in held for each in ast.walk(part))
        if any(isinstance(each, ast.Constant) and each.value in names for each in constants):
            found.append(ast.unparse(node))
    return found


def test_no_module_of_the_benchmark_decides_by_a_victims_name() -> None:
    """What a network needs stands in its class and spec: the next one needs no line there."""
    names = frozenset(VICTIMS)
    seen = 'if victim != "gct" or victim in ("dt",) or victim.startswith("npt"): pass'
    assert len(decisions(ast.parse(seen), names)) == 3
    found = {
        path.relative_to(ROOT): lines
        for path in sorted(BENCHMARK.rglob("*.py"))
        if (lines := decisions(ast.parse(path.read_text(encoding="utf-8")), names))
    }
    assert found == {}


def test_no_function_is_longer_than_a_page() -> None:
    """From its name to its last line, docstring included."""
    wrong = {
        f"{module}.{each.name}": each.end_lineno - each.lineno + 1
        for module, tree in TREES.items()
        for each in functions(tree)
        if each.end_lineno is not None and each.end_lineno - each.lineno >= LONGEST_FUNCTION
    }
    assert wrong == {}


LIKE_A_COMMAND = {"posebench.benchmark.evaluation.harness.evaluate": 9}
"""In Python what 'posebench run' is at the shell: all by name, all but one with a default."""


def test_only_commands_take_many_parameters() -> None:
    wrong = {
        f"{module}.{each.name}": parameters(each)
        for module, tree in TREES.items()
        for each in functions(tree)
        if parameters(each) > MOST_PARAMETERS
    }
    assert {name: count for name, count in wrong.items() if name not in COMMANDS} == LIKE_A_COMMAND


def test_modules_are_of_a_size_to_read() -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in MODULES.items()
        if path.name != "__init__.py"
    }
    long = {name: count for name, count in lines.items() if count > LONGEST_MODULE}
    assert long == {}
    inside = [count for name, count in lines.items() if room_of(name)]
    assert statistics.median(inside) <= MEDIAN_MODULE


def test_few_dictionaries_hold_anything() -> None:
    found = {
        name: len(re.findall(r"dict\[str, Any\]", path.read_text(encoding="utf-8")))
        for name, path in MODULES.items()
        if name.startswith("posebench.benchmark")
    }
    assert sum(found.values()) <= MOST_OPEN_DICTS, {n: c for n, c in found.items() if c}
