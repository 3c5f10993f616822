"""Victims, trainings and defences in three threat models: a table of docs/defences.md, a picture.

Which rows and columns there are says the sweep ``defences``; what no record holds is a dash. Where
an attack was tried with several kinds of access, all of them attacked the same system, so the worst
counts pair by pair, as over the members of an ensemble.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posebench.benchmark.evaluation.cost import VictimCost
from posebench.benchmark.evaluation.settings import NONE, EvaluationSettings
from posebench.benchmark.records.types import AttackCell, DefenseCell, Record
from posebench.benchmark.reports.markdown import NOTHING, UNIT, interval, table
from posebench.benchmark.reports.page_json import Numbers, numbers
from posebench.benchmark.reports.swept import attack_asked, defense_asked
from posebench.benchmark.runs.grid import Grid, combinations
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.stats.bootstrap import Summary, summarise
from posebench.victims.weights import TRAININGS, shipped_path, weights_fingerprint

SWEEP = "defences"

Key = tuple[str | None, DefenseCell | None, AttackCell | None, str, str, int]
"""Weights' sha256, defence, attack, kind of access, task and pairs: what a cell is found by."""


@dataclass(frozen=True)
class Who:
    """A row: a network and what stands in front of it."""

    victim: str
    training: str
    defense: str


@dataclass(frozen=True)
class Worst:
    """The worst case of a row in a threat model.

    Attributes:
        clean, error: after the best translation, without and under the attack.
        access: the kind that is worst on average.
        missing: kinds that the sweep asks for and no record holds.
    """

    clean: Summary
    error: Summary
    access: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Everything known of a row; None and absent threat models were not measured.

    Attributes:
        worst: by threat model.
        forward_ms: of one answer.
        times: that in answers of the undefended network.
        unit: mean clean error of the undefended, cleanly trained network, square metres.
    """

    who: Who
    worst: dict[str, Worst]
    forward_ms: float | None
    times: float | None
    unit: float | None


@dataclass(frozen=True)
class Point:
    """A row in one threat model, as the page draws it; errors x1e-4, ``times`` None if unknown."""

    victim: str
    training: str
    defense: str
    threat: str
    clean: Numbers
    worst: Numbers
    access: str
    times: float | None
    pairs: int


def defence_rows(records: Iterable[Record], costs: Sequence[VictimCost]) -> list[Row]:
    """The sweep's rows, filled with what was measured."""
    known = {key_of(record): record for record in records if record.cell.seed == 0}
    grids = read_grids(SWEEP)
    asked: dict[Who, dict[str, list[tuple[Key, EvaluationSettings]]]] = {}
    for grid in grids:
        for who, sha256, settings in grid_cells(grid):
            threat = asked.setdefault(who, {}).setdefault(str(settings.threat), [])
            threat.append((key_asked(settings, sha256), settings))
    forwards = {
        (cost.victim, cost.defense or NONE): cost.forward_ms
        for cost in costs
        if cost.size == grids[0].size
    }
    found = {
        who: {name: worst for name, cells in by.items() if (worst := worst_of(cells, known))}
        for who, by in asked.items()
    }
    rows = []
    for who, cases in found.items():
        bare = next(iter(found.get(Who(who.victim, "clean", NONE), {}).values()), None)
        spent, plain = forwards.get((who.victim, who.defense)), forwards.get((who.victim, NONE))
        times = spent / plain if spent and plain else None
        rows.append(Row(who, cases, spent, times, None if bare is None else bare.clean.mean))
    return sorted(rows, key=lambda row: grids[0].victims.index(row.who.victim))


def grid_cells(grid: Grid) -> Iterable[tuple[Who, str | None, EvaluationSettings]]:
    """Row, weights' sha256 and settings of each cell of a grid of shipped weights; without sha256
    where weights that the grid names are not shipped."""
    for victim in grid.victims:
        for training in grid.trainings or TRAININGS:
            path = shipped_path(victim, grid.size, training=training)
            if not (grid.trainings or path.is_file()):
                continue
            sha256 = fingerprint(path)
            for settings in combinations(grid):
                yield Who(victim, training, settings.defense), sha256, settings


def fingerprint(path: Path) -> str | None:
    """sha256 of a weights file that may not be there."""
    return weights_fingerprint(path) if path.is_file() else None


def key_asked(asked: EvaluationSettings, sha256: str | None) -> Key:
    """What the cell of these settings is found by."""
    access = asked.access or "oblivious"
    return sha256, defense_asked(asked), attack_asked(asked), access, asked.task, asked.samples


def key_of(record: Record) -> Key:
    """What a record's cell is found by."""
    cell = record.cell
    access = cell.access.kind
    return cell.weights.sha256, cell.defense, cell.attack, access, cell.task, cell.samples


def worst_of(
    cells: Sequence[tuple[Key, EvaluationSettings]], known: dict[Key, Record]
) -> Worst | None:
    """The worst of all kinds of access that were measured; None if none was."""
    found = {
        settings.access or "oblivious": known[key]
        for key, settings in cells
        if key in known and key[0] is not None
    }
    if not found:
        return None
    metric = "pmd_aligned"
    values = {access: each.metrics.attacked[metric].values for access, each in found.items()}
    one = next(iter(found.values()))
    return Worst(
        clean=one.metrics.clean[metric],
        error=summarise(np.stack([*values.values()]).max(axis=0)),
        access=max(values, key=lambda access: float(values[access].mean())),
        missing=tuple(s.access or "oblivious" for key, s in cells if key not in known),
    )


def defence_table(rows: Sequence[Row]) -> list[str]:
    """Errors after the best translation, and each in clean errors of the undefended network."""
    grids = read_grids(SWEEP)
    threats = list(dict.fromkeys(threat for grid in grids for threat in grid.threats))
    head = ["victim", "training", "defence", "ms", "clean", "x"]
    for threat in threats:
        head += [threat, "x"]
    lines = []
    for row in rows:
        first = next(iter(row.worst.values()), None)
        line = [row.who.victim, row.who.training, row.who.defense]
        line += [NOTHING if row.forward_ms is None else f"{row.forward_ms:.0f}"]
        line += error_cells(None if first is None else first.clean, "", row.unit)
        for threat in threats:
            worst = row.worst.get(threat)
            error = None if worst is None else worst.error
            line += error_cells(error, "" if worst is None else told(row.who, worst), row.unit)
        lines.append(line)
    return [*table(head, lines), "", *legend(grids)]


def error_cells(error: Summary | None, words: str, unit: float | None) -> list[str]:
    """An error with its interval and words after it, and how many times the unit it is."""
    if error is None:
        return [NOTHING, NOTHING]
    times = NOTHING if unit is None else f"{error.mean / unit:.2f}"
    return [f"{interval(error)} {words}".strip(), times]


def told(who: Who, worst: Worst) -> str:
    """Which access is worst, and which were not tried."""
    if who.defense == NONE:
        return ""
    return worst.access + (f" (not tried: {', '.join(worst.missing)})" if worst.missing else "")


def legend(grids: Sequence[Grid]) -> list[str]:
    """How the numbers came about, from the sweep."""
    attacks = {
        threat: f"{attack} with {grid.iterations} gradients"
        for grid in grids
        for attack in grid.attacks
        for threat in grid.threats
    }
    words = "; ".join(f"{threat} by {attack}" for threat, attack in attacks.items())
    return [
        f"{grids[0].size}, {grids[0].samples} pairs; {words}, in each of an attack's runs. ms: one "
        "answer. x: times the clean error of the cleanly trained network without a "
        "defence on the same pairs. Behind a defence the worst of all kinds of access counts, pair "
        "by pair; the kind that is worst on average is named."
    ]


def defence_points(rows: Sequence[Row]) -> list[Point]:
    """Every measured row and threat model, for pictures."""
    return [
        Point(
            row.who.victim,
            row.who.training,
            row.who.defense,
            threat,
            numbers(worst.clean),
            numbers(worst.error),
            worst.access,
            row.times,
            len(worst.error.per_sample),
        )
        for row in rows
        for threat, worst in row.worst.items()
        if np.isfinite([worst.clean.mean * UNIT, worst.error.mean * UNIT]).all()
    ]
