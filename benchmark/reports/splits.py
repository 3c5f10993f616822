"""Every shipped network on every split of poses and bodies: the table of docs/data.md."""

from __future__ import annotations

from collections.abc import Iterable

from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.records.types import Record, Weights
from posebench.benchmark.reports.markdown import NOTHING, UNIT, interval, table
from posebench.benchmark.reports.selection import CLEAN, most_pairs
from posebench.benchmark.reports.shipped import is_shipped
from posebench.victims import SIZES

PAIRS = 64
"""Pairs of a cell, as in ``sweep splits``."""

UNDER_TRAINED = "*"

Who = tuple[str, str, str, str]
"""Victim, size, training and regime."""


def splits_table(records: Iterable[Record]) -> list[str]:
    """Clean PMD, a row for each network and one for returning the pose source; a star where some
    answer without any skill is nearer than twice as far."""
    found: dict[tuple[Who, str], list[Record]] = {}
    for record in records:
        cell = record.cell
        asked = cell.attack == CLEAN and cell.defense is None and cell.seed == 0
        if asked and cell.task in TASKS and cell.samples == PAIRS and _usual(cell.weights):
            found.setdefault((_who(record), cell.task), []).append(record)
    networks = sorted({who for who, _ in found}, key=lambda who: (list(SIZES).index(who[1]), who))
    if not networks:
        return [NOTHING]
    names = [task.partition("/")[2] for task in TASKS]
    rows = [
        [*who, *(_cell(most_pairs(found.get((who, t), ()))) for t in TASKS)] for who in networks
    ]
    trivial = ["copy-pose", NOTHING, NOTHING, NOTHING]
    for task in TASKS:
        here = [record for (_, split), each in found.items() if split == task for record in each]
        trivial.append(f"{here[0].metrics.trivial['copy-pose'] * UNIT:.1f}" if here else NOTHING)
    return table(["network", "size", "training", "regime", *names], [*rows, trivial])


def _who(record: Record) -> Who:
    weights = record.cell.weights
    return record.cell.victim, weights.size or NOTHING, weights.training, weights.regime


def _usual(weights: Weights) -> bool:
    """Shipped weights of the first training seed, of a known size."""
    recipe = weights.recipe or {}
    return recipe.get("seed") == 0 and weights.size in SIZES and is_shipped(weights)


def _cell(record: Record | None) -> str:
    if record is None:
        return NOTHING
    shown = interval(record.metrics.clean_pmd).partition(" ")[0]
    return shown + (UNDER_TRAINED if "under-trained" in record.flags else "")
