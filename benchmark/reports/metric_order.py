"""Whether the worst cases rank networks alike with and without centring, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.stats.paired import change_between

RANKED, OTHER = "pmd_aligned", "pmd_uncentred"

SURE = 0.05
"""p of a paired test below which a difference counts (our choice, the usual one)."""


@dataclass(frozen=True)
class Turned:
    """Two rows in another order by :data:`OTHER` than by :data:`RANKED`.

    Attributes:
        first, second: labels, as ranked.
        means: metric -> means of both, square metres.
        sure: metrics by which their difference is sure on the pairs that both have.
    """

    first: str
    second: str
    means: dict[str, tuple[float, float]]
    sure: tuple[str, ...]


def turned(found: Mapping[str, Record]) -> list[Turned]:
    """Of records of one attack, by label, all pairs of rows that change places."""
    means = {
        metric: {label: record.metrics.attacked[metric].mean for label, record in found.items()}
        for metric in (RANKED, OTHER)
    }
    order = sorted(found, key=lambda label: means[RANKED][label])
    return [
        Turned(
            one,
            two,
            {metric: (each[one], each[two]) for metric, each in means.items()},
            tuple(metric for metric in means if is_sure(found[one], found[two], metric)),
        )
        for one, two in combinations(order, 2)
        if means[OTHER][one] > means[OTHER][two]
    ]


def is_sure(one: Record, two: Record, metric: str) -> bool:
    """Whether two records differ by a metric on their common pairs, a paired test says."""
    values = [record.metrics.attacked[metric].values for record in (one, two)]
    common = min(map(len, values))
    if common < 2 or one.cell.task != two.cell.task:
        return False
    before, after = (np.asarray(each[:common])[None] for each in values)
    return change_between(before, after).p_either < SURE


def order_lines(found: Mapping[str, Record]) -> list[str]:
    """What to say below a table that is ranked by ``RANKED``; nothing of fewer than two rows."""
    if len(found) < 2:
        return []
    changed = turned(found)
    if not changed:
        return ["", f"Without any centring (`{OTHER}`) the rows stand in the same order."]
    said = "; ".join(words(each) for each in changed)
    text = f"Without any centring (`{OTHER}`) rows marked u change places, since the attack shifts "
    text += f"the first of two more as a whole (means as ranked; without): {said}."
    if not any(each.sure for each in changed):
        text += " None of these differences is sure by either."
    return ["", text]


def words(each: Turned) -> str:
    """One pair of rows. The two metrics differ by the square of the shift of the whole result, so
    of two rows that change places the first is shifted more."""
    numbers = "; ".join(", ".join(f"{UNIT * v:.1f}" for v in pair) for pair in each.means.values())
    sure = {
        (): "",
        (RANKED,): "; sure as ranked",
        (OTHER,): "; sure without",
    }.get(each.sure, "; sure by both")
    return f"{each.first} and {each.second} ({numbers}{sure})"
