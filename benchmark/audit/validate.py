"""Is a file what posebench writes? Its type, its contradictions, its name, its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from posebench.attacks import ATTACKS
from posebench.benchmark.checks.findings import SCHEMA as CHECK_SCHEMA
from posebench.benchmark.checks.findings import CheckRecord
from posebench.benchmark.checks.suite import CHECKS
from posebench.benchmark.data.body import LODS
from posebench.benchmark.data.datasets import dataset_of, load_task, parse_task
from posebench.benchmark.evaluation.cost import Costs
from posebench.benchmark.evaluation.measure import trivial_pmd
from posebench.benchmark.evaluation.parts_record import PartsRecord, parts_problems
from posebench.benchmark.evaluation.samples import SCHEMA as SAMPLE_SCHEMA
from posebench.benchmark.evaluation.samples import Sample, sample_problems
from posebench.benchmark.evaluation.sources import with_source
from posebench.benchmark.gate.baseline import SCHEMA as BASELINE_SCHEMA
from posebench.benchmark.gate.baseline import Baseline, baseline_from_json
from posebench.benchmark.records.codec import decoded
from posebench.benchmark.records.consistency import SINGLE, name_problems
from posebench.benchmark.records.form import LEVELS, SCHEMA, plain
from posebench.benchmark.records.json_files import Problem, read_json, shortly
from posebench.benchmark.records.store import record_path, record_problems
from posebench.benchmark.records.studies import FloorStudy, QualityStudy
from posebench.benchmark.records.types import Cell, Json, Record, Weights
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.victims import VICTIMS, load_network, read_weights
from posebench.victims.weights import shipped_files

T = TypeVar("T")


@dataclass(frozen=True)
class FileKind(Generic[T]):
    """How files of one schema are read, and what is asked of them beyond their type.

    Attributes:
        read: JSON to the typed value, or to what is wrong with it.
        problems: what else is wrong with a value that stands in a file of this path.
    """

    read: Callable[[object], tuple[T | None, list[Problem]]]
    problems: Callable[[T, Path], Iterable[Problem]]

    def problems_of(self, content: object, path: Path) -> list[Problem]:
        """All that is wrong with a file's content."""
        value, found = self.read(content)
        return found if value is None else [*found, *self.problems(value, path)]


def typed(kind: type[T]) -> Callable[[object], tuple[T | None, list[Problem]]]:
    """A reader of files whose JSON has the levels of their type."""
    return lambda content: decoded(kind, content)


def placed_problems(record: Record, path: Path) -> Iterator[Problem]:
    """What a consistent record says of task, weights, names or its own place that is not so."""
    yield from name_problems(record.cell, ATTACKS, DEFENSES)
    yield from task_problems(record)
    yield from weights_problems(record.cell)
    if record.cell.precision != "float32":
        message = f"is {record.cell.precision!r}: only attacks on float32 stand in tables"
        yield Problem("cell.precision", message)
    expected = record_path(Path(), record).name
    if path.name != expected:
        message = f"belongs in a file named {expected}: was a field changed, or the file renamed?"
        yield Problem("cell", message)


def check_problems(check: CheckRecord, path: Path) -> Iterator[Problem]:
    """No findings, or a flag that is not its number's."""
    if not check.findings:
        yield Problem("findings", "holds none")
    for i, finding in enumerate(check.findings):
        flag = CHECKS[finding.number][0] if finding.number in CHECKS else None
        if finding.flag != flag:
            message = f"is {finding.flag!r}, check {finding.number} raises {flag!r}"
            yield Problem(f"findings[{i}].flag", message)


def costs_problems(costs: Costs, path: Path) -> Iterator[Problem]:
    """A file without a victim or a run."""
    if not (costs.costs or costs.steps):
        yield Problem("costs", "holds none")


def floor_problems(study: FloorStudy, path: Path) -> Iterator[Problem]:
    """No floor, or one without pairs."""
    if not study.floors or not all(each.errors for each in study.floors):
        yield Problem("floors", "holds none, or one without pairs")


def quality_problems(study: QualityStudy, path: Path) -> Iterator[Problem]:
    """No run, or one that was not evaluated."""
    if not study.runs or not all(each.seen for each in study.runs):
        yield Problem("runs", "holds none, or one without pairs")


KINDS: dict[str, FileKind[Any]] = {
    SCHEMA: FileKind[Record](record_problems, placed_problems),
    CHECK_SCHEMA: FileKind[CheckRecord](typed(CheckRecord), check_problems),
    "posebench/costs/1": FileKind[Costs](typed(Costs), costs_problems),
    "posebench/parts/1": FileKind[PartsRecord](
        typed(PartsRecord), lambda record, path: parts_problems(record)
    ),
    SAMPLE_SCHEMA: FileKind[Sample](typed(Sample), lambda sample, path: sample_problems(sample)),
    "posebench/floor/1": FileKind[FloorStudy](typed(FloorStudy), floor_problems),
    "posebench/quality/1": FileKind[QualityStudy](typed(QualityStudy), quality_problems),
    BASELINE_SCHEMA: FileKind[Baseline](baseline_from_json, lambda baseline, path: ()),
}
"""What a file calls its schema -> its type and the checks that go beyond it."""


def json_files(paths: Iterable[Path]) -> list[Path]:
    """The files given, and all ``*.json`` below the folders given.

    Raises:
        InputError: for a path that is not there, or a folder without such files.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        below = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not below:
            raise InputError(f"{path}: holds no .json files")
        found += below
    return list(dict.fromkeys(found))


def file_problems(path: Path) -> list[Problem]:
    """All that is wrong with a file of posebench's; none if it is valid.

    Beyond what is asked of a record that is read for tables: its file has the name that its cell
    gives, and the cell says nothing of task and shipped weights that is not so.
    """
    try:
        content = read_json(path)
    except InputError as error:
        return [Problem("file", str(error).removeprefix(f"{path}: "))]
    if not isinstance(content, dict):
        return [Problem("file", f"not a JSON object but {shortly(content)}")]
    schema, known = content.get("schema"), f"known are {', '.join(KINDS)}"
    if "schema" not in content:
        return [Problem("schema", f"is missing; {known}")]
    if not isinstance(schema, str) or schema not in KINDS:
        return [Problem("schema", f"{shortly(schema)} is unknown; {known}")]
    return KINDS[schema].problems_of(content, path)


def task_problems(record: Record) -> Iterator[Problem]:
    """A task that does not exist, or pairs or trivial baselines that are not its.

    Data that only their users have are not at hand.
    """
    cell = record.cell
    size = cell.samples, cell.vertices
    field = "cell.task"
    try:
        if dataset_of(cell.task).on_disk:
            return
        trivial = parse_task(cell.task).trivial
        field = "cell.samples" if cell.vertices in LODS else "cell.vertices"
        fingerprint = _fingerprint(cell.task, *size)
    except InputError as error:
        yield Problem(field, str(error))
        return
    if cell.fingerprint != fingerprint:
        what = f"{size[0]} pairs of {cell.task} at {size[1]} vertices"
        yield Problem("cell.fingerprint", f"is not that of {what}, {fingerprint}")
        return
    expected, given = _trivial(trivial, *size), record.metrics.trivial
    for name in sorted(given.keys() ^ expected.keys()):
        message = "is missing" if name in expected else "is no answer that the task has"
        yield Problem(f"metrics.trivial.{name}", message)
    for name in sorted(given.keys() & expected.keys()):
        if not math.isclose(given[name], expected[name], rel_tol=10 * SINGLE):
            message = f"is {given[name]}, the task's is {expected[name]:.9g}"
            yield Problem(f"metrics.trivial.{name}", message)


@lru_cache(maxsize=256)
def _fingerprint(task: str, samples: int, vertices: int) -> str:
    return load_task(task, samples=samples, vertices=vertices).fingerprint


@lru_cache(maxsize=64)
def _trivial(task: str, samples: int, vertices: int) -> dict[str, float]:
    """Mean PMD of each trivial baseline; the same however pose sources are distorted."""
    pairs = load_task(task, samples=samples, vertices=vertices)
    parts = [trivial_pmd(pairs, pairs.batch(ids)) for ids in torch.arange(samples).split(16)]
    return {name: float(torch.cat([p[name] for p in parts]).double().mean()) for name in parts[0]}


def weights_problems(cell: Cell) -> Iterator[Problem]:
    """A cell that describes shipped weights and has another sha256, or the other way round.

    So weights trained anew by a shipped recipe need a seed of their own to be told apart.
    """
    told = _told(cell.victim, cell.weights)
    for file, (victim, weights) in _shipped().items():
        shipped = _told(victim, weights)
        differing = [key for key in shipped if told[key] != shipped[key]]
        if cell.weights.sha256 == weights.sha256:
            for key in differing:
                message = f"is {json.dumps(told[key])}, {file} says {json.dumps(shipped[key])}"
                yield Problem(f"cell.{key}", message)
            return
    for file, (victim, weights) in _shipped().items():
        if {**told, "weights_sha256": None} == {**_told(victim, weights), "weights_sha256": None}:
            message = f"is not that of {file}, which the cell describes: {weights.sha256}"
            yield Problem("cell.weights_sha256", message)


def _told(victim: str, weights: Weights) -> Json:
    """What a cell's JSON says of a victim and its weights."""
    keys = LEVELS["weights"].items()
    return {"victim": victim, **{key: plain(getattr(weights, name)) for name, key in keys}}


@lru_cache
def _shipped() -> dict[str, tuple[str, Weights]]:
    """File name of every shipped weights file -> its victim and what records say of it."""
    found = {}
    for path in shipped_files():
        name = str((read_weights(path) or {}).get("victim"))
        if name in VICTIMS:
            found[path.name] = name, with_source(*load_network(name, weights=path)).weights
    return found
