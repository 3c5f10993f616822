"""Sweep files: TOML to grids.

size = "compact"                          # above all tables: for every grid
[[grid]]
victims = ["npt", "gct"]
attacks = ["fgm", "pgd"]
eps = [0.02, "0:0.16:9"]                  # single budgets, and a curve as of `posebench run`
defenses = ["none", "sor"]
access = ["oblivious", "adaptive"]
[[grid]]
victims = "npt"
attacks = "foolbox:L2PGD"
settings = [{ step = 0.01 }, { step = 0.1 }]   # other arguments of the attack, each set a cell
"""

from __future__ import annotations

import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from posebench.attacks import Setting
from posebench.benchmark.runs.grid import Grid
from posebench.errors import InputError
from posebench.registry import unknown

NAMES = "a name or a list of names"
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(
        (
            "victims",
            "weights",
            "trainings",
            "tasks",
            "attacks",
            "norm",
            "threats",
            "defenses",
            "access",
            "surrogate",
        ),
        ((str,), NAMES),
    ),
    "settings": ((dict,), "a table such as { step = 0.1 } or a list of them"),
    "eps": ((int, float, str), "a number, low:high:count, or a list of them"),
    "seeds": ((int,), "a whole number or a list of them"),
    **dict.fromkeys(("eps_unit", "objective", "size", "precision"), ((str,), "a name")),
    **dict.fromkeys(("iterations", "samples", "vertices"), ((int,), "a whole number")),
}
"""What TOML may hold for a key, and how to say so."""


def read_grids(name: str) -> list[Grid]:
    """The grids of a shipped sweep (by name) or of a TOML file.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value of the wrong kind.
    """
    path = Path(name)
    shipped = Path(str(files("posebench.benchmark.runs").joinpath("sweeps")))
    names = [each.stem for each in sorted(shipped.glob("*.toml"))]
    if path.suffix != ".toml":
        if name not in names:
            raise unknown("sweep", name, [*names, "any FILE.toml"])
        path = shipped / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"sweep {path}: no such file; shipped are {', '.join(names)}") from error
    except (OSError, ValueError) as error:  # also bad UTF-8 and bad TOML
        raise InputError(f"sweep {path}: {error}") from error
    tables = content.pop("grid", [{}])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise InputError(f"sweep {path}: grids are written as [[grid]]")
    if not tables:
        raise InputError(f"sweep {path}: holds no [[grid]]")
    defaults = _checked(content, f"sweep {path}")
    return [
        Grid(**{**defaults, **_checked(each, f"sweep {path}: grid {number}")})
        for number, each in enumerate(tables, start=1)
    ]


def _checked(table: dict[str, Any], where: str) -> dict[str, Any]:
    """A table's values as ``Grid`` takes them."""
    known = {each.name: each.type for each in fields(Grid)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
        types, words = KINDS[key]
        many = str(known[key]).startswith("tuple")
        parts = value if many and isinstance(value, list) else [value]
        for part in parts:
            if not isinstance(part, types) or isinstance(part, bool):
                raise InputError(f"{where}: {key} must be {words}, got {value!r}")
        if not parts:
            raise InputError(f"{where}: {key} is an empty list")
        if key == "eps":
            parts = [str(part) for part in parts]
        elif key == "settings":
            parts = [_settings(part, where) for part in parts]
        found[key] = tuple(parts) if many else value
    return found


def _settings(table: dict[str, Any], where: str) -> tuple[tuple[str, Setting], ...]:
    """A table of an attack's settings, in the order of their names."""
    for name, value in table.items():
        if not isinstance(value, (bool, int, float, str)):
            raise InputError(
                f"{where}: settings.{name} must be a number, a name or true or false, got {value!r}"
            )
    return tuple(sorted(table.items()))
