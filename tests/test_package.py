"""The package: who imports whom, what start-up costs, what may be missing, registries."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from posebench import registry
from posebench.attacks import ATTACKS
from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.data.datasets import parse_task
from posebench.benchmark.data.distortion import kinds
from posebench.benchmark.data.names import ANNY, DISTORTIONS
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.registry import Registry
from posebench.victims import NPT, VICTIMS

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("attacks", "benchmark", "defenses", "victims")
MODULES = {f"posebench.{path.stem}": path for path in sorted((ROOT / "posebench").glob("*.py"))} | {
    ".".join(("posebench", *path.relative_to(ROOT).with_suffix("").parts)): path
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
}
ALLOWED = {
    "core": {"core"},
    "victims": {"core", "victims"},
    "attacks": {"core", "victims", "attacks"},
    "defenses": {"core", "victims", "attacks", "defenses"},
    "benchmark": {"core", "victims", "attacks", "defenses", "benchmark"},
}


ENTRY = {"posebench.__init__", "posebench.__main__"}
"""They hand out names of every layer, and load nothing of it before it is asked for."""


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "core"


def imports_of(path: Path) -> set[str]:
    """Every module of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "posebench"}


def test_imports_point_one_way() -> None:
    assert len(MODULES) > 30
    wrong = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        for name in imports_of(path)
        if module not in ENTRY and layer_of(name) not in ALLOWED[layer_of(module)]
    ]
    assert wrong == []


def test_layers_are_imported_through_the_package_alone() -> None:
    """``import victims`` would make a second copy of every class and registry."""
    wrong = [
        f"{module}: {name}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] in LAYERS
    ]
    assert wrong == []


@pytest.mark.parametrize("module", MODULES)
def test_every_file_is_importable(module: str) -> None:
    loaded = importlib.import_module(module.removesuffix(".__init__"))
    assert loaded.__file__ is not None
    assert Path(loaded.__file__).resolve() == MODULES[module].resolve()


def python(code: str, *, cwd: Path) -> str:
    """Stdout of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training_and_evaluation_can_be_imported_on_windows(tmp_path: Path) -> None:
    """Which has no ``resource``, ``fcntl`` and the like."""
    code = """
import sys
sys.modules.update(dict.fromkeys(("resource", "fcntl", "pwd", "grp", "termios")))
import posebench.benchmark.cli.app, posebench.benchmark.training.run
import posebench.benchmark.evaluation.cost
from posebench.benchmark.evaluation.memory import peak_memory
print(peak_memory("cpu") >= 0)
"""
    assert python(code, cwd=tmp_path).split() == ["True"]


FOREIGN = ("foolbox", "art", "torchattacks")
HEAVY = {"torch", "numpy", "pandas", "matplotlib", "trimesh", "open3d", "scipy", "safetensors"}


def test_import_is_light(tmp_path: Path) -> None:
    code = "import sys, json, posebench; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(python(code, cwd=tmp_path))}
    assert loaded & {*HEAVY, *FOREIGN, "rich", "typer"} == set()


def test_help_and_list_load_nothing_heavy(tmp_path: Path) -> None:
    """Torch takes seconds; these answer at once. Every command's help, in one process."""
    code = """
import contextlib, io, json, sys
import typer.main
from posebench.benchmark.cli.app import app

def commands(command, words=()):
    yield [*words, "--help"]
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))

lines = [["list"], *commands(typer.main.get_command(app))]
for words in lines:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            app(words)
        except SystemExit as stop:
            assert not stop.code, words
    assert len(text.getvalue()) > 100, words
print(json.dumps([len(lines), sorted(sys.modules)]))
"""
    count, modules = json.loads(python(code, cwd=tmp_path))
    assert count > 20
    assert {name.split(".")[0] for name in modules} & {*HEAVY, *FOREIGN} == set()


@pytest.mark.parametrize("name", ["posebench", "posebench.attacks", "posebench.defenses",
                                  "posebench.victims"])  # fmt: skip
def test_public_names_are_there_and_no_others(name: str) -> None:
    """They are imported on first use; ``dir`` and ``import *`` know them before."""
    code = f"import json, {name} as package; print(json.dumps([dir(package), package.__all__]))"
    listed, public = json.loads(python(code, cwd=ROOT))
    assert set(public) <= set(listed)
    package = importlib.import_module(name)
    for each in public:
        assert getattr(package, each) is not None
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_listed_lines_are_true() -> None:
    """`posebench list` reads lines instead of importing what they are about."""
    for registry_ in (VICTIMS, ATTACKS, DEFENSES):
        assert list(registry_.about) == list(registry_)
        for name, line in registry_.about.items():
            assert 10 < len(line) <= 90, name
    for name, line in VICTIMS.about.items():
        spec = VICTIMS[name].spec
        counts = {"equal": "equal", "free": "any"}[spec.point_counts]
        more = ", order of the identity matters" if spec.order == "identity" else ""
        more += ", true correspondence needed" if spec.guided else ""
        assert line == f"{spec.title} ({spec.paper}): {counts} point counts{more}"
    listed = [name.removeprefix("anny/").partition("@")[0] for name in DISTORTIONS]
    assert list(ANNY) == list(TASKS)
    assert listed == list(kinds())
    for name in DISTORTIONS:
        parse_task(name)


BLOCKER = """
import sys
sys.modules.update(dict.fromkeys(BLOCKED))  # None: as if not installed
"""
OPTIONAL = ("jaxtyping", "beartype", "scipy", "pandas", "trimesh", "matplotlib", "open3d", "anny",
            "roma", "fast_simplification", "hypothesis", "pytest", "h5py", "ray", "compas_cgal",
            *FOREIGN)  # fmt: skip


def test_training_and_evaluation_need_little(tmp_path: Path) -> None:
    """A machine that trains has torch, numpy and safetensors, and may have nothing else."""
    blocked = (*OPTIONAL, "rich", "typer")
    modules = (
        "training.loop",
        "training.run",
        "training.checkpoint",
        "runs.run",
        "evaluation.harness",
        "reports.build",
    )
    code = f"BLOCKED = {blocked}{BLOCKER}" + "".join(
        f"import posebench.benchmark.{name}\n" for name in modules
    )
    code += """
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.training.loop import Recipe, initial_network
network = initial_network(Recipe("npt", size="tiny")).eval()
record = evaluate(network, samples=1, vertices=800)
print(record.cell.victim, len(record.metrics.pmd.per_sample))
try:
    import jaxtyping
except ModuleNotFoundError:
    print("absent")
"""
    assert python(code, cwd=tmp_path).splitlines() == ["npt 1", "absent"]


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    code = f"BLOCKED = {OPTIONAL}{BLOCKER}"
    code += f"""
sys.argv = ["posebench", "report", "--records", {str(ROOT / "leaderboards" / "records")!r}]
from posebench.benchmark.cli.app import main
sys.stderr = sys.stdout
try:
    main()
except SystemExit as stop:
    print(stop.code)
"""
    assert python(code, cwd=tmp_path).splitlines() == [
        "posebench: error: this needs pandas: pip install pandas",
        "2",
    ]
    assert not list(tmp_path.iterdir())


def test_help_needs_no_optional_package(tmp_path: Path) -> None:
    code = f"BLOCKED = {OPTIONAL}{BLOCKER}"
    code += """
sys.argv = ["posebench", "--help"]
from posebench.benchmark.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""
    text = python(code, cwd=tmp_path)
    for command in ("run", "train", "list", "report"):
        assert command in text


# ---- registries


def test_registry_refuses_a_second_entry_of_a_name() -> None:
    with pytest.raises(ValueError, match="'npt' is registered twice"):
        VICTIMS.register("npt", NPT)


@pytest.mark.parametrize(
    ("entries", "wrong", "near"),
    [(VICTIMS, "nptmp", "npt-mp"), (ATTACKS, "fmg", "fgm"), (DEFENSES, "SOR", None)],
)
def test_registry_suggests_names(entries: Registry[object], wrong: str, near: str | None) -> None:
    with pytest.raises(InputError) as caught:
        entries[wrong]
    message = str(caught.value)
    assert f"unknown {entries.kind} {wrong!r}" in message
    assert ("did you mean" in message) == (near is not None)
    assert near is None or f"did you mean {near!r}?" in message
    for name in entries:
        assert name in message


def test_registry_is_a_mapping() -> None:
    assert "npt" in VICTIMS
    assert "nptt" not in VICTIMS
    assert 3 not in VICTIMS  # type: ignore[comparison-overlap]
    assert len(VICTIMS) == len(list(VICTIMS)) == len(dict(VICTIMS))
    assert "anny/seen" in TASKS


def test_plug_ins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built-in names win; others come from the group, are loaded once and are listed."""
    points = [
        EntryPoint("other", "posebench.victims:NPT", "posebench.things"),
        EntryPoint("own", "nowhere:Nothing", "posebench.things"),
        EntryPoint("other", "nowhere:Nothing", "posebench.attacks"),
    ]
    asked: list[str] = []

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        asked.append(group)
        return [p for p in points if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    things: Registry[object] = Registry("thing", "things")
    mine = object()
    things.register("own", mine)
    assert things["own"] is mine
    assert asked == [], "built-in names must not cost a look-up"
    assert "other" in things
    assert list(things) == ["own", "other"]
    assert things["other"] is NPT
    asked.clear()
    assert things["other"] is NPT
    assert asked == []
    assert list(things) == ["own", "other"]
    with pytest.raises(InputError, match="did you mean 'other'"):
        things["othr"]
