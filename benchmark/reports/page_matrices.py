"""The leaderboard page's matrices: transfer between victims, other poses and bodies, and distorted
pose sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.records.form import attack_settings
from posebench.benchmark.records.types import AttackCell, Cell, Record
from posebench.benchmark.reports.page_json import Numbers, numbers
from posebench.benchmark.reports.selection import CLEAN, find, weights_of

SEEN = "anny/seen"


@dataclass(frozen=True)
class Weighed:
    """Weights of a row."""

    victim: str
    training: str


@dataclass(frozen=True)
class Entry:
    """One number of a matrix."""

    pmd: Numbers
    pairs: int
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Weights in rows, surrogates or tasks in columns; None where nothing was measured."""

    rows: tuple[Weighed, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Entry | None, ...], ...]


@dataclass(frozen=True)
class TransferMatrix(Matrix):
    """PMD of every target under what was made on every surrogate's clean weights."""

    attack: str
    eps: float
    task: str
    pairs: int


def transfer_matrices(bare: Iterable[Record]) -> list[TransferMatrix]:
    """A matrix for each attack, task and number of pairs."""
    groups: dict[tuple[str, str, int], list[Record]] = {}
    attacks: dict[tuple[str, str, int], AttackCell] = {}
    for record in bare:
        cell = record.cell
        if cell.attack is not None and cell.access.surrogate is not None:
            key = (attack_settings(cell.attack), cell.task, cell.samples)
            groups.setdefault(key, []).append(record)
            attacks.setdefault(key, cell.attack)
    found = []
    for key, group in sorted(groups.items(), key=lambda item: item[0]):
        _, task, pairs = key
        made = matrix(group, lambda cell: str(cell.access.surrogate))
        attack = attacks[key]
        found.append(
            TransferMatrix(
                made.rows, made.columns, made.values, attack.name, attack.eps, task, pairs
            )
        )
    return found


def distorted_matrix(plain: Iterable[Record]) -> Matrix | None:
    """PMD without an attack of every victim that was measured on distorted pose sources, on these
    and on clean meshes."""
    records = [
        record
        for record in plain
        if record.cell.attack is None and ("@" in record.cell.task or record.cell.task == SEEN)
    ]
    if not any("@" in record.cell.task for record in records):
        return None
    tasks = sorted({record.cell.task for record in records})
    one_each = [
        found
        for victim, training in weights_of(each for each in records if "@" in each.cell.task)
        for task in tasks
        if (found := find(records, CLEAN, task=task, victim=victim, training=training))
    ]
    return matrix(one_each, lambda cell: cell.task.removeprefix("anny/"))


def poses_matrix(protocol: Sequence[Record], opened: Sequence[Record]) -> Matrix | None:
    """Clean PMD of weights of both regimes on the splits of poses and bodies."""
    rows: list[Weighed] = []
    values: list[tuple[Entry | None, ...]] = []
    for regime, records in (("", protocol), (" (open regime)", opened)):
        for victim, training in weights_of(records):
            who = {"victim": victim, "training": training}
            found = [find(records, CLEAN, task=task, **who) for task in TASKS]
            if any(record for task, record in zip(TASKS, found, strict=True) if task != SEEN):
                rows.append(Weighed(victim, training + regime))
                values.append(tuple(_entry(record) if record else None for record in found))
    names = tuple(task.removeprefix("anny/") for task in TASKS)
    return Matrix(tuple(rows), names, tuple(values)) if rows else None


def _entry(record: Record) -> Entry:
    return Entry(numbers(record.metrics.pmd), record.cell.samples, record.flags)


def matrix(records: Sequence[Record], column: Callable[[Cell], str]) -> Matrix:
    """Weights in rows, cleanly trained ones first; ``column(cell)`` in columns."""
    rows = sorted(weights_of(records), key=lambda who: (who[0], who[1] != "clean", who[1]))
    columns = sorted({column(record.cell) for record in records})
    found: dict[tuple[str, str, str], Entry] = {}
    for record in records:
        cell = record.cell
        found[cell.victim, cell.weights.training, column(cell)] = _entry(record)
    return Matrix(
        rows=tuple(Weighed(*who) for who in rows),
        columns=tuple(columns),
        values=tuple(tuple(found.get((*who, name)) for name in columns) for who in rows),
    )
