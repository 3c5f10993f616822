"""Records on disk: one JSON file per cell, the only source of every table.

A record's file name is derived from its cell, so a cell that runs again replaces its file. It
holds nothing that changes between two runs on the same machine and commit, wall time included,
so equal runs give equal files; see docs/design/002-records.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from posebench.benchmark.records.consistency import contradictions
from posebench.benchmark.records.form import cell_to_json, record_from_json, record_to_json
from posebench.benchmark.records.json_files import Problem, read_json
from posebench.benchmark.records.types import Cell, Record
from posebench.errors import InputError
from posebench.files import write_atomically


def parse_record(content: object, where: str) -> Record:
    """A record from its JSON form.

    Raises:
        InputError: naming the first field that is missing, wrong or contradicts others.
    """
    record, problems = record_problems(content)
    if problems or record is None:
        raise InputError(f"{where}: {problems[0]}")
    return record


def record_problems(content: object) -> tuple[Record | None, list[Problem]]:
    """A record from its JSON form, and all that is wrong with it; None if it is not even one."""
    record, problems = record_from_json(content)
    if record is None:
        return None, problems
    return record, problems or list(contradictions(record))


def record_text(record: Record) -> str:
    """Canonical JSON: sorted keys, no NaN."""
    return json.dumps(record_to_json(record), indent=1, sort_keys=True, allow_nan=False) + "\n"


def record_path(folder: Path, record: Record) -> Path:
    """Where a record goes, from its cell alone."""
    return cell_path(folder, record.cell)


def cell_path(folder: Path, cell: Cell) -> Path:
    """Where the record of a cell goes."""
    text = json.dumps(cell_to_json(cell), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    named = (cell.victim, cell.weights.size, cell.weights.training)
    victim = "-".join(part for part in named if part)
    attack = "clean"
    if cell.attack is not None:
        name = cell.attack.name.replace(":", "-")  # which not every file system takes
        attack = f"{name}-{cell.attack.eps:g}-{cell.attack.unit}-{cell.attack.norm}"
    if cell.defense is not None:
        attack += f"-{cell.defense.name}-{cell.access}"
    return folder / cell.task.replace("/", "-") / victim / f"{attack}-{digest}.json"


def write_record(folder: Path, record: Record) -> Path:
    """Write a record atomically; returns its path."""
    path = record_path(folder, record)
    write_atomically(path, record_text(record))
    return path


def read_record(path: Path) -> Record:
    """The record in a file.

    Raises:
        InputError: not readable, not a record, or one that contradicts itself.
    """
    return parse_record(read_json(path), str(path))


def read_records(folder: Path) -> list[Record]:
    """All records below a folder, in the order of their paths, each checked."""
    return [read_record(path) for path in sorted(folder.rglob("*.json"))]
