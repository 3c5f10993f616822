"""Training recipes as TOML: several runs in one file, each a change to its victim's default.

[[run]]
name = "npt-adversarial"             # also the run's folder
victim = "npt"
start = "npt-clean"                  # go on from an earlier run of the file
adversarial = { attack = "fgm", eps = 0.08 }
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from posebench.benchmark.adversarial import Adversarial
from posebench.benchmark.training import DEFAULT_RECIPES, Recipe
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.victims import SIZES

ADVERSARIAL_SHARE = 0.5
"""Length of the adversarial part of a default run, as a share of the clean recipe's steps."""


@dataclass(frozen=True)
class TrainingRun:
    """A recipe, the name of its folder, and the earlier run whose weights it goes on from."""

    name: str
    recipe: Recipe
    start: str | None = None


def recipe_for(
    victim: str,
    *,
    size: str = "compact",
    steps: int | None = None,
    whole_meshes: bool = False,
    adversarial: Adversarial | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe of a victim with the wanted changes.

    An adversarial part comes on top of the clean recipe's steps. ``steps`` counts both parts.
    """
    if victim not in DEFAULT_RECIPES:
        raise unknown("victim", victim, DEFAULT_RECIPES)
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    recipe = DEFAULT_RECIPES[victim]
    limit = SIZES[size].vertices
    points: dict[str, int | None] = {"points": None, "pose_points": None}
    if not whole_meshes and recipe.points and recipe.pose_points:
        points = {
            "points": min(recipe.points, limit),
            "pose_points": min(recipe.pose_points, limit),
        }
    if steps is None:
        steps = recipe.steps
        if adversarial is not None and adversarial.after < 1:
            steps = round(steps * (1 + ADVERSARIAL_SHARE))
    return replace(recipe, size=size, steps=steps, adversarial=adversarial, **{**points, **changes})


def read_recipes(name: str, **common: Any) -> list[TrainingRun]:
    """The runs of a shipped recipe (by name) or of a TOML file; ``common`` changes all of them.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value of the wrong kind.
    """
    path = Path(name)
    if path.suffix != ".toml":
        shipped = Path(str(files("posebench.benchmark").joinpath("recipes")))
        path = shipped / f"{name}.toml"
        if not path.is_file():
            raise unknown("recipe", name, [each.stem for each in shipped.glob("*.toml")])
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"recipe {path}: {error}") from error
    check_keys(content, ("run",), path)
    entries = content.get("run")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"recipe {path}: holds no [[run]]")
    runs: list[TrainingRun] = []
    for entry in entries:
        run = _read_run(entry, common, path)
        names = [each.name for each in runs]
        if run.name in names:
            raise InputError(f"recipe {path}: two runs are called {run.name!r}")
        if run.start is not None and run.start not in names:
            raise InputError(f"recipe {path}: {run.name} starts from {run.start!r}, not above it")
        runs.append(run)
    return runs


def _read_run(entry: Any, common: dict[str, Any], path: Path) -> TrainingRun:
    known = ["name", "whole_meshes", *(field.name for field in fields(Recipe))]
    check_keys(entry, known, path)
    for key in ("name", "victim"):
        if not isinstance(entry.get(key), str):
            raise InputError(f"recipe {path}: a run lacks {key!r}")
    settings = {key: value for key, value in entry.items() if key not in ("name", "start")}
    if "adversarial" in settings:
        check_keys(settings["adversarial"], [f.name for f in fields(Adversarial)], path)
    try:
        if "adversarial" in settings:
            settings["adversarial"] = Adversarial(**settings["adversarial"])
        recipe = recipe_for(**{**settings, **common})
    except TypeError as error:
        raise InputError(f"recipe {path}: {entry['name']}: {error}") from error
    return TrainingRun(entry["name"], recipe, entry.get("start"))


def check_keys(table: Any, known: Any, path: Path) -> None:
    """An unknown key is an error that suggests the nearest known one."""
    if not isinstance(table, dict):
        raise InputError(f"recipe {path}: expected a table with keys {', '.join(known)}")
    for key in table:
        if key not in known:
            raise InputError(f"recipe {path}: {unknown('key', key, known)}")
