"""The paper's claims, its numbers, ours, and whether they hold: the second table of the README.

The verdict is a rule, not an opinion. Claims are about factors: one holds where ours is at least
``HELD`` for every victim, and depends on the column where it holds in one and not in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.benchmark.reports.reported import reported
from posebench.benchmark.reports.selection import FGM_08, WORST, find, shipped_plain

HELD = 1.5
"""Factor from which we say that a claim holds (our choice: half as much again)."""

COLUMNS: dict[str, tuple[AttackCell | None, str]] = {
    "PMD, FGM 0.08": (FGM_08, "pmd"),
    "worst within 2 cm": (WORST["point-2cm"], "pmd_aligned"),
    "worst within 5 cm": (WORST["point-5cm"], "pmd_aligned"),
}
"""What is measured here: the paper's own setting, and the two that the table ranks by."""

Factors = dict[str, dict[str, float]]
"""Column -> victim -> factor."""


def claim_table(records: Sequence[Record]) -> list[str]:
    """Claims in rows: the paper's factors, ours in each column, and the verdict."""
    plain = [record for record in records if shipped_plain(record)]
    victims = list(reported("table_2"))
    quoted = {name: reported("table_2")[name] for name in victims}
    clean = {name: reported("table_1")[name][0] for name in victims}
    harm: Factors = {name: {} for name in COLUMNS}
    repair: Factors = {name: {} for name in COLUMNS}
    for column, (attack, metric) in COLUMNS.items():
        for victim in victims:
            who = {"victim": victim, "task": "anny/seen"}
            before, after = (
                find(plain, attack, training=training, **who)
                for training in ("clean", "adversarial")
            )
            if before is not None:
                attacked = before.metrics.attacked[metric].mean
                harm[column][victim] = attacked / before.metrics.clean[metric].mean
                if after is not None:
                    repair[column][victim] = attacked / after.metrics.attacked[metric].mean
    rows = [
        [
            "small perturbations multiply the error of cleanly trained networks by",
            span([quoted[name][0] / clean[name] for name in victims], 0),
            *(shown(harm[column], len(victims)) for column in COLUMNS),
            verdict(harm, len(victims)),
        ],
        [
            "adversarial training (FGM) divides the error under attack by",
            span([quoted[name][0] / quoted[name][1] for name in victims]),
            *(shown(repair[column], len(victims)) for column in COLUMNS),
            verdict(repair, len(victims)),
        ],
    ]
    return table(["claim", "paper", *COLUMNS, "holds?"], rows)


def shown(found: Mapping[str, float], victims: int) -> str:
    """The span of a column, and how many victims it is of where some are missing."""
    part = f" ({len(found)} of {victims})" if 0 < len(found) < victims else ""
    return span(found.values()) + part


def span(factors: Iterable[float], digits: int = 1) -> str:
    """The smallest and the largest of some factors."""
    found = sorted(factors)
    if not found:
        return NOTHING
    return f"{found[0]:.{digits}f}-{found[-1]:.{digits}f}"


def verdict(factors: Factors, victims: int) -> str:
    """Whether a claim holds, in the columns that were measured for every victim."""
    whole = {name: found for name, found in factors.items() if len(found) == victims}
    if not whole:
        return "not measured yet"
    held = [name for name, found in whole.items() if min(found.values()) >= HELD]
    if len(held) == len(whole):
        return "holds"
    if not held:
        return "does not hold"
    return f"depends: holds in {', '.join(held)} alone"
