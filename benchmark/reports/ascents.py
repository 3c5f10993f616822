"""Which ascent finds most per gradient: the table of docs/attacks.md, from ``sweep ascents``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.reports.selection import WORST, find, shipped_plain
from posebench.benchmark.stats.bootstrap import summarise
from posebench.interfaces import Budget
from posebench.threats import threat_of

THREAT = "point-5cm"
STEPS = (50, 100, 200, 500)
PAIRS = 8
"""Of each cell, of more pairs the first; cells of fewer stay out, since their means say less."""


def ascent_table(records: Iterable[Record]) -> list[str]:
    """A row for each single attack in the threat model, a column for each number of steps; of
    ``pt-ensemble`` the last column, with the mean gradients that it spent on all its pairs."""
    plain = [each for each in records if shipped_plain(each) and _here(each)]
    found: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in plain:
        attack = record.cell.attack
        steps = None if attack is None else re.search(r"\biterations=(\d+)", attack.settings)
        if attack is not None and steps and int(steps[1]) in STEPS:
            key = record.cell.victim, record.cell.weights.training, attack.name
            found.setdefault(key, {})[int(steps[1])] = record
    head = ["victim", "training", "attack", *(f"{steps} gradients" for steps in STEPS)]
    rows = [[*key, *(_first(each.get(steps)) for steps in STEPS)] for key, each in found.items()]
    for victim, training in sorted({key[:2] for key in found}):
        who = {"victim": victim, "training": training, "task": "anny/seen"}
        worst = find(plain, WORST[THREAT], **who)
        if worst is not None:
            name = f"pt-ensemble, {worst.cost.backwards} gradients"
            nothing = [NOTHING] * (len(STEPS) - 1)
            rows.append([victim, training, name, *nothing, _first(worst)])
    return table(head, sorted(rows))


def _first(record: Record | None) -> str:
    """What an attacked cell is judged by on its first pairs, with its interval."""
    if record is None or record.cell.attack is None:
        return NOTHING
    found = record.metrics.attacked[record.cell.attack.metric]
    return interval(summarise(found.values[:PAIRS]))


def _here(record: Record) -> bool:
    attack = record.cell.attack
    if attack is None or record.cell.task != "anny/seen" or record.cell.samples < PAIRS:
        return False
    threat = threat_of(Budget(attack.eps, attack.norm, attack.unit), attack.metric)
    return threat is not None and threat.name == THREAT
