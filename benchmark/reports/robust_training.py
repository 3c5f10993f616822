"""What training against a threat model buys: two tables of docs/defences.md.

One on the poses that were trained on (``sweep headline``), one on new ones (``sweep new-poses``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from posebench.benchmark.records.studies import Floor
from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.leaderboard import judged
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.reports.selection import WORST, find, shipped_plain, weights_of
from posebench.benchmark.reports.swept import attack_asked
from posebench.benchmark.runs.grid import combinations
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.stats.bootstrap import summarise
from posebench.threats import HEADLINE

AIMS = {"clean": 1.1, "point-2cm": 1.3, "point-5cm": 2.0}
"""At most so many times the clean error of the undefended network."""


NEW_POSES = "new-poses"
"""Name of a sweep."""

Attacks = Mapping[str, AttackCell | None]
"""Threat model -> the attack that stands for it."""


def robust_table(records: Iterable[Record], floors: Sequence[Floor] = ()) -> list[str]:
    """A row for each robustly trained network and its undefended sister: errors after the best
    translation, and each as a multiple of the undefended clean error on the same pairs. Above
    them the pose floor of the pairs it was searched for, as errors without multiples."""
    plain = [each for each in records if shipped_plain(each)]
    rows = _floor_row(floors) if floors else []
    rows += _rows(plain, WORST, "anny/seen", ("clean", "robust"))
    return [*table(_head(), rows), "", _aims()] if rows else [NOTHING]


def new_poses_table(records: Iterable[Record]) -> list[str]:
    """The same in poses that no training saw, of all trainings."""
    plain = [each for each in records if shipped_plain(each)]
    grid = read_grids(NEW_POSES)[0]  # the others differ in victims and pairs alone
    attacks = {str(each.threat): attack_asked(each) for each in combinations(grid)}
    rows = _rows(plain, attacks, grid.tasks[0], ("clean", "adversarial", "robust"))
    told = (
        f"{grid.tasks[0]}, {grid.attacks[0]} with {grid.iterations} gradients. x: times the clean "
        "error of the cleanly trained network on the same pairs."
    )
    return [*table(_head(), rows), "", told] if rows else [NOTHING]


def _head() -> list[str]:
    head = ["victim", "training", "pairs", "clean", "x"]
    for name in HEADLINE:
        head += [f"worst within {name.removeprefix('point-')}", "x"]
    return head


def _rows(
    plain: list[Record], attacks: Attacks, task: str, trainings: Sequence[str]
) -> list[list[str]]:
    """Of the victims that have robust weights."""
    victims = [victim for victim, training in weights_of(plain) if training == "robust"]
    return [
        _row(plain, attacks, task, victim, training) for victim in victims for training in trainings
    ]


def _floor_row(floors: Sequence[Floor]) -> list[list[str]]:
    """What a network without any error of its own would show."""
    row = ["exact transfer (pose floor)", NOTHING, str(len(floors[0].errors)), "0", NOTHING]
    for name in HEADLINE:
        found = next((each.errors for each in floors if each.threat == name), None)
        row += [NOTHING if found is None else interval(summarise(np.array(found))), NOTHING]
    return [row]


def _row(plain: list[Record], attacks: Attacks, task: str, victim: str, training: str) -> list[str]:
    found = {
        name: find(plain, attacks[name], task=task, victim=victim, training=training)
        for name in HEADLINE
    }
    bare = find(plain, attacks[HEADLINE[0]], task=task, victim=victim, training="clean")
    near = found[HEADLINE[0]]
    row = [victim, training]
    if near is None or bare is None:
        return row + [NOTHING] * (3 + 2 * len(HEADLINE))

    def times(record: Record | None, kind: Literal["clean", "attacked"]) -> str:
        if record is None or record.cell.fingerprint != bare.cell.fingerprint:
            return NOTHING
        unit = bare.metrics.clean["pmd_aligned"].mean
        return f"{getattr(record.metrics, kind)['pmd_aligned'].mean / unit:.2f}"

    clean = near.metrics.clean["pmd_aligned"]
    row += [str(near.cell.samples), interval(clean), times(near, "clean")]
    for record in found.values():
        row += [judged(record), times(record, "attacked")]
    return row


def _aims() -> str:
    clean, near, far = AIMS.values()
    return (
        "x: times the clean error of the cleanly trained network on the same pairs. Aims: clean at "
        f"most {clean:g}, within 2 cm at most {near:g}, within 5 cm at most {far:g}."
    )
