"""The committed file that keeps what a gate's cells measured."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from posebench.benchmark.gate.config import LATER, GateCell, cell_keys, flat, nested, shown_place
from posebench.benchmark.records.codec import Place, decoded, dotted
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import Problem, read_json
from posebench.benchmark.records.types import Environment, Json
from posebench.errors import InputError
from posebench.fields import STRICT, Least, Name, Positive, Sha256
from posebench.files import write_atomically

SCHEMA = "posebench/baseline/1"

Rows = tuple[tuple[Positive, ...], ...]


@dataclass(frozen=True)
class Resolved:
    """Attack and defence with every default: for the reader, not compared, as a changed default
    is a change that the numbers have to show."""

    __pydantic_config__ = STRICT

    attack_settings: Name | None
    """repr of the attack."""
    defense_settings: Name | None
    """repr of the defence; None without one."""


@dataclass(frozen=True)
class Measurement:
    """What one cell gave."""

    __pydantic_config__ = STRICT

    cell: GateCell
    """What was run; ``settings`` in JSON, flat, with the fingerprint and without a weights file."""
    fingerprint: Sha256 | None
    """Of the pairs."""
    resolved: Resolved
    """What the cell's names stood for."""
    weights_sha256: Sha256 | None
    """Of the parameters in memory, None if the victim has none."""
    seeds: tuple[int, ...]
    """What was run."""
    pmd: Rows
    """(R, n) under attack, square metres, a row a seed; one row if nothing is random."""
    clean_pmd: Rows
    """(R, n) likewise without attack, with the defence on; one row if all are equal."""
    kept: Annotated[float, Least(0)] | None
    """Share of the points of clean poses that the defence keeps; None without one."""
    reached: Positive
    """Largest perturbation, as a share of eps."""

    @property
    def settings(self) -> Json:
        """What two runs must have in common to be compared."""
        return {**flat(self.cell), "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class Baseline:
    """A gate's committed measurements."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench/baseline/1"]
    """The file's form."""
    environment: Environment
    """Where they were measured."""
    cells: dict[str, Measurement]
    """Name of a cell -> what it gave."""


def baseline_text(cells: Mapping[str, Measurement], where: Environment) -> str:
    """Canonical JSON of a baseline, a line a seed: readable in a diff."""
    content = {"schema": SCHEMA, "environment": plain(where), "cells": {}}
    for name, found in cells.items():
        kept = {key: plain(value) for key, value in vars(found).items()}
        del kept["cell"], kept["fingerprint"]
        if all(row == kept["clean_pmd"][0] for row in kept["clean_pmd"]):
            kept["clean_pmd"] = kept["clean_pmd"][:1]
        content["cells"][name] = {**kept, "settings": found.settings}
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    joined = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    return joined.replace("[ ", "[").replace(" ]", "]") + "\n"


def write_baseline(path: Path, cells: Mapping[str, Measurement], where: Environment) -> None:
    """Write a baseline with what it was measured on (``where``)."""
    write_atomically(path, baseline_text(cells, where))


def read_baseline(path: Path) -> dict[str, Measurement]:
    """Cell name -> what it measured.

    Raises:
        InputError: no such file, or one that is not a baseline.
    """
    if not path.is_file():
        raise InputError(
            f"baseline {path}: no such file; make it with 'posebench regress --update'"
        )
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"baseline {path}: its schema is not {SCHEMA!r}; make it anew (--update)")
    found, problems = baseline_from_json(content)
    if found is None or problems:
        raise InputError(f"baseline {path}: {problems[0]}")
    return found.cells


def baseline_from_json(content: object) -> tuple[Baseline | None, list[Problem]]:
    """A baseline from its JSON form, or all that is wrong with it."""
    problems: list[Problem] = []
    if isinstance(content, dict) and isinstance(content.get("cells"), dict):
        cells = {name: _levels(name, cell, problems) for name, cell in content["cells"].items()}
        content = {**content, "cells": cells}
    found, wrong = decoded(Baseline, content, _json_place)
    problems += [each for each in wrong if each.field not in {known.field for known in problems}]
    if found is None or problems:
        return None, problems
    for name, measured in found.cells.items():
        problems += _row_problems(f"cells.{name}", measured)
    return found, problems


def _levels(name: str, cell: object, problems: list[Problem]) -> object:
    """One cell with its settings in levels; keys that they lack or should not have are noted."""
    if not isinstance(cell, dict) or not isinstance(cell.get("settings"), dict):
        return cell
    settings: Json = dict(cell["settings"])
    known = (cell_keys() - {"weights"}) | {"fingerprint"}
    for key in sorted((known - {*LATER}) ^ (settings.keys() - {*LATER})):
        message = "is missing" if key in known else "is not a field of this schema"
        problems.append(Problem(f"cells.{name}.settings.{key}", message))
    rest = {key: value for key, value in cell.items() if key != "settings"}
    fingerprint = settings.pop("fingerprint", None)
    return {**rest, "cell": nested(settings), "fingerprint": fingerprint}


def _row_problems(where: str, measured: Measurement) -> Iterator[Problem]:
    pairs = measured.cell.evaluation.samples
    for key, rows in (("pmd", measured.pmd), ("clean_pmd", measured.clean_pmd)):
        if not rows or any(len(row) != pairs for row in rows):
            yield Problem(f"{where}.{key}", f"must hold rows of {pairs} numbers, one a pair")
        elif not all(math.isfinite(value) for row in rows for value in row):
            yield Problem(f"{where}.{key}", "must hold finite numbers")


def _json_place(place: Place) -> str:
    """Where the JSON form has what the types have at ``place``."""
    if place[:1] != ("cells",) or len(place) < 3:
        return dotted(place)
    prefix, rest = dotted(place[:2]), place[2:]
    if rest[0] == "cell":
        inner = shown_place(rest[1:])
        return f"{prefix}.settings.{inner}" if inner else f"{prefix}.settings"
    return f"{prefix}.settings.fingerprint" if rest[0] == "fingerprint" else dotted(place)
