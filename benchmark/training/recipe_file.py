"""Recipes as TOML: several runs in one file, each a change to its victim's default.

[[run]]
name = "npt-adversarial"             # also the run's folder
victim = "npt"
start = "npt-clean"                  # go on from an earlier run of the file
adversarial = { attack = "fgm", eps = 0.08 }
share = 2                            # of a time budget, against the other runs' shares

What stands above all tables is every run's, unless the run says otherwise; of ``adversarial`` key
by key.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from posebench.benchmark.records.types import Json
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.recipe import Recipe, adversarial_part, recipe_for
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.victims.weights import shipped_files, shipped_path

SHIPPED = "shipped"
"""As a start: the clean weights that come with the library."""

SHIPPED_ADVERSARIAL = "shipped-adversarial"
"""As a start: the adversarially trained ones."""

SHIPPED_TRAININGS = {SHIPPED: "clean", SHIPPED_ADVERSARIAL: "adversarial"}
"""Starts that come with the library, and their training."""


def shipped_start(start: str, victim: str, size: str) -> Path | None:
    """The file that a start of the library's names: a key of SHIPPED_TRAININGS, or
    "shipped:npt-mp-small-seed1" for a file by its name; None for other starts.

    Raises:
        InputError: no file of that name ships.
    """
    if start in SHIPPED_TRAININGS:
        return shipped_path(victim, size, training=SHIPPED_TRAININGS[start])
    if not start.startswith(f"{SHIPPED}:"):
        return None
    named = {path.stem: path for path in shipped_files()}
    name = start.removeprefix(f"{SHIPPED}:")
    if name not in named:
        raise unknown("shipped weights", name, named)
    return named[name]


def kinds(made: type) -> dict[str, str]:
    """Name -> type of a recipe's fields, without "| None", which TOML cannot say."""
    return {f.name: str(f.type).partition(" ")[0].partition("[")[0] for f in fields(made)}


ENTRY = {"whole_meshes": "bool", "share": "float", **kinds(Recipe)}
"""Key of a run besides its name -> type of its value."""


@dataclass(frozen=True)
class TrainingRun:
    """A run of a recipe file.

    Attributes:
        name: of its folder.
        recipe: what it trains.
        start: what it goes on from: an earlier run's name, or one for ``shipped_start``.
        share: of a time budget, against the other runs' shares.
    """

    name: str
    recipe: Recipe
    start: str | None = None
    share: float = 1.0


def read_recipes(name: str, **common: Any) -> list[TrainingRun]:
    """The runs of a shipped recipe (by name) or of a TOML file; ``common`` changes all of them.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value of the wrong kind.
    """
    path = Path(name)
    if path.suffix != ".toml":
        shipped = Path(str(files("posebench.benchmark.training").joinpath("recipes")))
        path = shipped / f"{name}.toml"
        if not path.is_file():
            raise unknown("recipe", name, [each.stem for each in sorted(shipped.glob("*.toml"))])
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"recipe {path}: {error}") from error
    entries = content.pop("run", None)
    check_keys(content, ["run", *ENTRY], path)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"recipe {path}: holds no [[run]]")
    runs: list[TrainingRun] = []
    for entry in entries:
        run = _read_run(merged(content, entry), common, path)
        names = [each.name for each in runs]
        if run.name in names:
            raise InputError(f"recipe {path}: two runs are called {run.name!r}")
        known = run.start is None or run.start in names
        if not known and shipped_start(str(run.start), run.recipe.victim, run.recipe.size) is None:
            raise InputError(f"recipe {path}: {run.name} starts from {run.start!r}, not above it")
        runs.append(run)
    return runs


def merged(shared: Json, entry: Any) -> Any:
    """A run's table with what all runs share; tables in it are joined, too."""
    if not isinstance(entry, dict):
        return entry
    tables = {
        key: {**shared[key], **entry[key]}
        for key in shared.keys() & entry.keys()
        if isinstance(shared[key], dict) and isinstance(entry[key], dict)
    }
    return {**shared, **entry, **tables}


def _read_run(entry: Any, common: dict[str, Any], path: Path) -> TrainingRun:
    check_keys(entry, ["name", *ENTRY], path)
    name = entry.get("name")
    for key in ("name", "victim"):
        if not isinstance(entry.get(key), str):
            raise InputError(f"recipe {path}: a run lacks {key!r}")
    if name in ("", "..") or Path(name).name != name:
        raise InputError(f"recipe {path}: name {name!r} is not a folder's name")
    where = f"recipe {path}: {name}"
    settings = {key: value for key, value in entry.items() if key != "name"}
    check_kinds(settings, ENTRY, where)
    start, share = settings.pop("start", None), settings.pop("share", 1.0)
    if not (math.isfinite(share) and share > 0):
        raise InputError(f"{where}: share must be a positive number, got {share}")
    if "adversarial" in settings:
        check_keys(settings["adversarial"], [f.name for f in fields(Adversarial)], path)
        check_kinds(settings["adversarial"], kinds(Adversarial), where)
    try:
        if "adversarial" in settings:
            settings["adversarial"] = adversarial_part(entry["victim"], **settings["adversarial"])
        recipe = recipe_for(**{**settings, **common})
    except (TypeError, InputError) as error:
        raise InputError(f"{where}: {error}") from error
    return TrainingRun(name, recipe, start, float(share))


def check_keys(table: Any, known: Any, path: Path) -> None:
    """An unknown key is an error that suggests the nearest known one."""
    if not isinstance(table, dict):
        raise InputError(f"recipe {path}: expected a table with keys {', '.join(known)}")
    for key in table:
        if key not in known:
            raise InputError(f"recipe {path}: {unknown('key', key, known)}")


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "Json": ((dict,), "a table"),
    "Schedule": ((str,), "a text"),
    "Adversarial": ((dict,), "a table"),
}
"""What TOML may hold for a field of this type, and how to say so; a bool is no number."""


def check_kinds(table: dict[str, Any], wanted: dict[str, str], where: str) -> None:
    """Raise InputError naming the key whose value is of another type than its field."""
    for key, value in table.items():
        types, words = KINDS[wanted[key]]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InputError(f"{where}: {key} must be {words}, got {value!r}")
