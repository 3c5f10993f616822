"""What a gate's cells measure, and the committed file that keeps it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posebench.benchmark.data.datasets import task_vertices
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.gate.config import GateCell
from posebench.benchmark.gate.victims import parameters_sha256
from posebench.benchmark.records.types import Record
from posebench.benchmark.stats.paired import Values
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.interfaces import Victim
from posebench.norms import RELEASE_POINTS
from posebench.victims import SIZES

SCHEMA = "posebench/baseline/1"
DIGITS = 6


@dataclass(frozen=True)
class Measurement:
    """What one cell gave.

    Attributes:
        settings: the cell's own and the fingerprint of its pairs; comparable only if equal.
        resolved: repr of attack and defence with every default: for the reader, not compared, as
            a changed default is a change that the numbers have to show.
        weights_sha256: of the parameters in memory, None if the victim has none.
        seeds: what was run.
        pmd: (R, n) under attack, square metres, a row a seed; one row if nothing is random.
        clean_pmd: (R, n) likewise without attack, with the defence on.
        kept: share of the points of clean poses that the defence keeps; None without one.
        reached: largest perturbation, as a share of eps.
    """

    settings: dict[str, Any]
    resolved: dict[str, str | None]
    weights_sha256: str | None
    seeds: list[int]
    pmd: Values
    clean_pmd: Values
    kept: float | None
    reached: float


def measure_cell(
    cell: GateCell,
    victim: Victim,
    seeds: list[int],
    *,
    device: str = "cpu",
    progress: Callable[[], None] | None = None,
) -> Measurement:
    """Run a cell once a seed; two equal runs say that nothing in it is random, and are enough.

    Raises:
        InputError: a victim that misbehaves, or a PMD that is not finite.
    """
    records: list[Record] = []
    for seed in seeds:
        record = evaluate(
            victim,
            attack=cell.made_attack(),
            defense=cell.made_defense(),
            task=cell.task,
            access=cell.access,
            samples=cell.pairs,
            vertices=vertices_of(cell),
            seed=seed,
            device=device,
        )
        if any(None in record["metrics"][name]["per_sample"] for name in ("pmd", "clean_pmd")):
            raise InputError(f"cell {cell.name!r}: a PMD is not finite")
        records.append(record)
        if progress is not None:
            progress()
        if len(records) == 2 and rows(records[:1]) == rows(records[1:]):
            records = records[:1]
            break
    settings = {key: value for key, value in asdict(cell).items() if key != "weights"}
    first = records[0]
    keys = ("attack_settings", "defense_settings")
    metrics = [record["metrics"] for record in records]
    return Measurement(
        settings={**settings, "fingerprint": first["cell"]["fingerprint"]},
        resolved={key: first["cell"][key] for key in keys},
        weights_sha256=parameters_sha256(victim),
        seeds=seeds[: len(records)],
        pmd=rounded([each["pmd"]["per_sample"] for each in metrics]),
        clean_pmd=rounded([each["clean_pmd"]["per_sample"] for each in metrics]),
        kept=None if cell.defense is None else float(np.mean([m["clean_kept"] for m in metrics])),
        reached=max(reached_share(record) for record in records),
    )


def vertices_of(cell: GateCell) -> int:
    """Vertices of the cell's meshes: of its size, or what the data on disk has."""
    return task_vertices(cell.task, SIZES[cell.size].vertices, samples=cell.pairs)


def rows(records: list[Record]) -> list[tuple[list[float], list[float]]]:
    """Per-pair values of some runs, to be compared bit by bit."""
    found = [record["metrics"] for record in records]
    return [(each["pmd"]["per_sample"], each["clean_pmd"]["per_sample"]) for each in found]


def reached_share(record: Record) -> float:
    """Largest perturbation of a run as a share of eps.

    From the poses' measured norms and eps alone, not from what the budget made of it, so that a
    budget which lets too much through is seen.
    """
    cell, norms = record["cell"], record["metrics"]["norms"]
    eps: float = cell["eps"]
    norm, unit = cell["norm"], cell["eps_unit"]
    key = {"drop": "dropped", "add": "added"}.get(norm, norm)
    if norm == "l2" and unit == "rms":
        key = "rms"
    elif unit == "release":
        eps *= math.sqrt(3 * RELEASE_POINTS)
    return float(norms[key]["max"]) / eps


def baseline_text(cells: dict[str, Measurement], where: dict[str, Any]) -> str:
    """Canonical JSON of a baseline, a line a seed: readable in a diff."""
    kept: dict[str, Any] = {}
    for name, found in cells.items():
        columns = {key: getattr(found, key).tolist() for key in ("pmd", "clean_pmd")}
        if all(row == columns["clean_pmd"][0] for row in columns["clean_pmd"]):
            columns["clean_pmd"] = columns["clean_pmd"][:1]
        kept[name] = {**asdict(found), **columns}
    content = {"schema": SCHEMA, "environment": where, "cells": kept}
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    flat = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    return flat.replace("[ ", "[").replace(" ]", "]") + "\n"


def rounded(values: list[list[float]]) -> Values:
    """Values with the digits that a baseline stores: an unchanged run gives them again."""
    return np.array([[float(f"{value:.{DIGITS}g}") for value in row] for row in values])


def write_baseline(path: Path, cells: dict[str, Measurement], where: dict[str, Any]) -> None:
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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"baseline {path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"baseline {path}: its schema is not {SCHEMA!r}; make it anew (--update)")
    if not isinstance(content.get("cells"), dict):
        raise InputError(f"baseline {path}: field 'cells' is missing or no table")
    return {
        name: _read_cell(cell, f"baseline {path}: {name!r}")
        for name, cell in content["cells"].items()
    }


def _read_cell(cell: Any, where: str) -> Measurement:
    kinds: dict[str, Any] = {
        "settings": dict, "resolved": dict, "weights_sha256": (str, type(None)), "seeds": list,
        "kept": (int, float, type(None)), "reached": (int, float),
    }  # fmt: skip
    if not isinstance(cell, dict):
        raise InputError(f"{where}: not a table")
    for key, kind in kinds.items():
        if key not in cell or not isinstance(cell[key], kind) or isinstance(cell[key], bool):
            raise InputError(f"{where}: field {key!r} is missing or of the wrong type")
    if not all(isinstance(seed, int) for seed in cell["seeds"]):
        raise InputError(f"{where}: field 'seeds' must hold whole numbers")
    columns: dict[str, Any] = {}
    for key in ("pmd", "clean_pmd"):
        try:
            values = np.array(cell.get(key), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: field {key!r} must hold rows of numbers") from error
        if values.ndim != 2 or not values.size or not (values >= 0).all():
            raise InputError(f"{where}: field {key!r} must hold rows of numbers from 0 on")
        if not np.isfinite(values).all() or values.shape[1] != cell["settings"].get("pairs"):
            raise InputError(f"{where}: field {key!r} needs a finite number for every pair")
        columns[key] = values
    numbers = {key: None if cell[key] is None else float(cell[key]) for key in ("kept", "reached")}
    return Measurement(**{**{key: cell[key] for key in kinds}, **numbers}, **columns)
