"""Who is most robust, and how sure that is: the leaderboard page's first screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from posebench.benchmark.records.form import attack_settings
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.reports.page_json import Numbers, numbers
from posebench.benchmark.reports.selection import (
    CLEAN,
    ENSEMBLE_08,
    FGM_02,
    FGM_08,
    PGD_08,
    WORST,
    find,
    most_pairs,
    shipped_plain,
    weights_of,
)
from posebench.benchmark.stats.bootstrap import ratio_interval

TASK = "anny/seen"

OTHER_SEEDS = range(1, 10)
"""Training seeds of shipped weights beside 0."""


@dataclass(frozen=True)
class Shown:
    """A record's numbers.

    Attributes:
        pmd, noise: what it is judged by, PMD or PMD after the best translation: under the attack,
            and under random noise of that size, None for clean ones.
        clean: the same without an attack, on these pairs.
        pairs, fingerprint, task: which pairs, so that ranks can be compared.
        values: PMD of each pair, square metres.
        attack: what rebuilds it; None for clean ones.
    """

    pmd: Numbers
    noise: Numbers | None
    clean: Numbers
    pairs: int
    fingerprint: str | None
    values: tuple[float, ...]
    task: str
    attack: str | None


@dataclass(frozen=True)
class Ranked:
    """Shipped weights, what they score clean and under each attack of the ranking, and flags.

    Attributes:
        worst, point2, point5: the worst case in the paper's ball, and within 2 and 5 cm a point.
        ahead: of the next row, on how many of how many pairs, by what ranks; None where they were
            not measured on the same ones.
    """

    victim: str
    training: str
    flags: tuple[str, ...]
    ahead: tuple[int, int] | None
    clean: Shown | None
    fgm02: Shown | None
    fgm: Shown | None
    pgd: Shown | None
    worst: Shown | None
    point2: Shown | None
    point5: Shown | None

    @property
    def rank(self) -> tuple[float, float, float, str, str]:
        """Sorts the most robust first: by the worst case within 2 cm, else by the paper's ball."""
        heights = height(self.point2), height(self.worst), height(self.fgm)
        return *heights, self.victim, self.training


@dataclass(frozen=True)
class Answer:
    """How sure it is who comes first.

    Attributes:
        by: column of the ranking that decides.
        ratio: the runner-up's PMD over the winner's with a 95 % bootstrap interval over the pairs
            that both have; None where the two were not measured on the same ones.
        wins: pairs on which the winner is better.
        pairs: how many both were measured on.
        first_by_fgm: whether FGM 0.08 agrees.
        seeds: FGM 0.08 means of the winner's recipe from other training seeds.
    """

    by: str
    ratio: Numbers | None
    wins: int | None
    pairs: int
    first_by_fgm: bool
    seeds: tuple[float, ...]


def shown(record: Record) -> Shown:
    """What the ranking shows of a record."""
    cell, under = record.cell, record.metrics.attack
    metric = "pmd" if cell.attack is None else cell.attack.metric
    return Shown(
        pmd=numbers(record.metrics.attacked[metric]),
        noise=None if under is None else numbers(under.noise_pmd),
        clean=numbers(record.metrics.clean[metric]),
        pairs=cell.samples,
        fingerprint=cell.fingerprint,
        values=record.metrics.attacked[metric].per_sample,
        task=cell.task,
        attack=None if cell.attack is None else attack_settings(cell.attack),
    )


def height(found: Shown | None) -> float:
    """Mean PMD; infinity where it is undefined or was not measured."""
    return math.inf if found is None or math.isnan(found.pmd[0]) else found.pmd[0]


def ranking(plain: Sequence[Record]) -> list[Ranked]:
    """Shipped weights on anny/seen, most robust first."""
    attacks = {"clean": CLEAN, "fgm02": FGM_02, "fgm": FGM_08, "pgd": PGD_08, "worst": ENSEMBLE_08}
    attacks |= {"point2": WORST["point-2cm"], "point5": WORST["point-5cm"]}
    rows = []
    for victim, training in weights_of(plain):
        who = {"victim": victim, "training": training, "task": TASK}
        found = {name: find(plain, attack, **who) for name, attack in attacks.items()}
        if not (found["fgm"] or found["worst"] or found["point2"]):
            continue
        raised = [found[name] for name in ("fgm", "worst", "point2", "point5")]
        flags = dict.fromkeys(flag for record in raised if record for flag in record.flags)
        columns = {name: shown(record) if record else None for name, record in found.items()}
        rows.append(Ranked(victim, training, tuple(flags), None, **columns))
    rows = sorted(rows, key=lambda row: row.rank)
    ahead = [*(wins(*pair) for pair in pairwise(rows)), None]
    return [replace(row, ahead=won) for row, won in zip(rows, ahead, strict=False)]


def wins(row: Ranked, after: Ranked) -> tuple[int, int] | None:
    """On how many of how many pairs a row is better than the one after it, within 2 cm a point.

    A task's pairs are a list that more samples extend, so the first ones are common to both."""
    one, two = row.point2, after.point2
    if one is None or two is None or one.task != two.task:
        return None
    better = [a < b for a, b in zip(one.values, two.values, strict=False)]
    return sum(better), len(better)


def baselines(plain: Sequence[Record]) -> dict[str, float]:
    """PMD x1e-4 of answers without any skill, on the most pairs of anny/seen."""
    found = find(plain, CLEAN, task=TASK)
    if found is None:
        found = most_pairs(record for record in plain if record.cell.task == TASK)
    trivial = {} if found is None else found.metrics.trivial
    return {name: value * UNIT for name, value in trivial.items()}


def answer(rows: Sequence[Ranked], records: Iterable[Record]) -> Answer | None:
    """Who comes first, and how sure that is; None where nothing can be compared."""
    if len(rows) < 2:
        return None
    by = next(
        (name for name in ("point2", "worst") if all(getattr(row, name) for row in rows[:2])), "fgm"
    )
    first, second = (getattr(row, by) for row in rows[:2])
    if first is None or second is None:
        return None
    pairs = min(first.pairs, second.pairs)  # more samples extend a task's pairs
    values = np.array(second.values[:pairs]), np.array(first.values[:pairs])
    same = first.fingerprint == second.fingerprint or first.pairs != second.pairs
    same = same and first.task == second.task
    comparable = same and all(np.isfinite(each).all() for each in values)
    return Answer(
        by=by,
        ratio=ratio_interval(*values) if comparable else None,
        wins=int((values[1] < values[0]).sum()) if comparable else None,
        pairs=pairs,
        first_by_fgm=min((row for row in rows if row.fgm), key=_by_fgm, default=None) is rows[0],
        seeds=tuple(other_seeds(rows[0], records)),
    )


def _by_fgm(row: Ranked) -> float:
    return height(row.fgm)


def other_seeds(row: Ranked, records: Iterable[Record]) -> Iterable[float]:
    """FGM 0.08 means x1e-4 of a row's recipe from other training seeds."""
    who = {"victim": row.victim, "training": row.training, "task": TASK}
    same = [record for record in records if record.cell.attack == FGM_08]
    for seed in OTHER_SEEDS:
        found = find([each for each in same if shipped_plain(each, seed)], FGM_08, **who)
        if found is not None:
            yield numbers(found.metrics.pmd)[0]
