"""The paper's tables beside ours: what ``posebench report`` writes into docs/reproduction.md.

The paper's numbers are reported, ours are measured; a column holds one kind only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from posebench.benchmark.evaluation.cost import VictimCost
from posebench.benchmark.evaluation.sources import adversarial_part
from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.leaderboard import judged, metric_of
from posebench.benchmark.reports.markdown import NOTHING, attacked, table
from posebench.benchmark.reports.reported import Reported, reported
from posebench.benchmark.reports.selection import (
    CLEAN,
    FGM_02,
    FGM_08,
    PGD_08,
    WORST,
    find,
    shipped_plain,
    unshipped_plain,
)
from posebench.benchmark.training.recipe import recipe_changes
from posebench.threats import HEADLINE

TABLE_1, TABLE_2, TABLE_4, TABLE_5 = map(reported, ("table_1", "table_2", "table_4", "table_5"))
"""The paper's; what the columns are stands in ``reported.toml``."""

PARTS = {
    "vanilla": {"scales": 1, "mask_ratio": 0.0, "attention": "none"},
    "masking": {"scales": 3, "mask_ratio": 0.5, "attention": "none"},
    "channel": {"scales": 3, "mask_ratio": 0.5, "attention": "channel"},
    "spatial": {"scales": 3, "mask_ratio": 0.5, "attention": "spatial"},
}
"""The settings behind the rows of Table 5; the paper has no spatial row with these parts."""

TRAININGS = ("clean", "adversarial")

COST_BASE = "npt"
"""Whose time is 1 in Table 4's ratios."""

SEEDS_SIZE = "small"
"""Of the weights that are shipped for several training seeds."""


def rows_of(records: Iterable[Record]) -> list[str]:
    """Victims of the paper's Table 1 in its order, then the others that have records."""
    return [*TABLE_1, *sorted({record.cell.victim for record in records} - TABLE_1.keys())]


def _quoted(quoted: Reported, victim: str) -> list[str]:
    """Both numbers of the paper's row; those that it lacks are unsaid."""
    return [_number(value) for value in quoted.get(victim, (math.nan, math.nan))]


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.1f}"


def table_1(records: list[Record]) -> list[str]:
    """Clean PMD on seen and unseen."""
    records = [record for record in records if shipped_plain(record)]
    head = ["victim"]
    for split in ("seen", "unseen"):
        head += [f"{split}: paper", "measured", "after adversarial training"]
    rows = []
    for victim in rows_of(records):
        row = [victim]
        for task, value in zip(("anny/seen", "anny/unseen"), _quoted(TABLE_1, victim), strict=True):
            who = {"victim": victim, "task": task}
            row.append(value)
            row += [attacked(find(records, CLEAN, training=each, **who)) for each in TRAININGS]
        rows.append(row)
    return table(head, rows)


def table_2(records: list[Record]) -> list[str]:
    """FGM 0.08 on seen, without and with adversarial training; and PGD, which the paper lacks."""
    records = [record for record in records if shipped_plain(record)]
    head = ["victim", "without: paper", "measured", "with: paper", "measured"]
    head += ["times lower: paper", "measured", "PGD-20: without", "with", "times lower"]
    rows = []
    for victim in rows_of(records):
        fgm, pgd = (_by_training(records, victim, attack) for attack in (FGM_08, PGD_08))
        row = [victim]
        for value, record in zip(_quoted(TABLE_2, victim), fgm, strict=True):
            row += [value, attacked(record)]
        before, after = TABLE_2.get(victim, (math.nan, math.nan))
        row += [_number(before / after), times_lower(*fgm)]
        rows.append([*row, *map(attacked, pgd), times_lower(*pgd)])
    return table(head, rows)


def _by_training(
    records: list[Record], victim: str, attack: AttackCell | None
) -> list[Record | None]:
    """The record of each of ``TRAININGS`` on anny/seen."""
    who = {"victim": victim, "task": "anny/seen"}
    return [find(records, attack, training=each, **who) for each in TRAININGS]


def times_lower(before: Record | None, after: Record | None) -> str:
    """Ratio of two records' errors, in the metric that they are judged by."""
    if before is None or after is None:
        return NOTHING
    metric = metric_of(before)
    one, two = (each.metrics.attacked[metric].mean for each in (before, after))
    return f"{one / two:.1f}"


def table_seeds(records: list[Record]) -> list[str]:
    """The same two recipes from other seeds, at the size where three trainings cost what one does
    at the size of the other tables."""
    columns = {"clean PMD": CLEAN, "FGM 0.08": FGM_08}
    columns |= {f"worst within {name.removeprefix('point-')}": WORST[name] for name in HEADLINE}
    head = ["victim", "training seed"]
    for name in columns:
        head += [f"{name}: clean training", "adversarial", "times lower"]
    by_seed: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        seed = (record.cell.weights.recipe or {}).get("seed")
        if isinstance(seed, int) and shipped_plain(record, seed, size=SEEDS_SIZE):
            by_seed.setdefault((record.cell.victim, seed), []).append(record)
    several = {victim for victim, seed in by_seed if seed}
    rows = []
    for victim, seed in sorted(key for key in by_seed if key[0] in several):
        row = [victim, str(seed)]
        for attack in columns.values():
            found = _by_training(by_seed[victim, seed], victim, attack)
            row += [*map(judged, found), times_lower(*found)]
        rows.append(row)
    return table(head, rows)


def table_5(records: list[Record]) -> list[str]:
    """3D-PoseMAE as parts are added; which split the paper used is not said."""
    head = ["3D-PoseMAE", "paper", "measured: seen", "unseen", "FGM 0.08"]
    columns = (("anny/seen", CLEAN), ("anny/unseen", CLEAN), ("anny/seen", FGM_08))
    records = [r for r in records if r.cell.weights.training == "clean" and unshipped_plain(r)]
    rows = []
    for part, parts in PARTS.items():
        alike = [r for r in records if parts.items() <= (r.cell.weights.network or {}).items()]
        found = [find(alike, attack, victim="posemae", task=task) for task, attack in columns]
        paper = f"{TABLE_5[part][0]:.1f}" if part in TABLE_5 else NOTHING
        rows.append([part, paper, *map(attacked, found)])
    return table(head, rows)


def table_options(records: list[Record]) -> list[str]:
    """Adversarial training in the paper's ball with other options; weights that are not shipped."""
    head = ["victim", "options", "clean PMD", "FGM 0.02", "FGM 0.08", "PGD-20 0.08"]
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        recipe = record.cell.weights.recipe
        part = adversarial_part(recipe)
        if recipe and part and part.get("threat") is None and unshipped_plain(record):
            groups.setdefault((record.cell.victim, recipe_changes(recipe)), []).append(record)
    rows = []
    for (victim, changes), group in sorted(groups.items()):
        found = [find(group, each, task="anny/seen") for each in (CLEAN, FGM_02, FGM_08, PGD_08)]
        rows.append([victim, changes, *map(attacked, found)])
    return table(head, rows)


def table_4(costs: list[VictimCost]) -> list[str]:
    """Size and time of one forward at the published size."""
    bare = [cost for cost in costs if cost.size == "paper" and cost.defense is None]
    measured = {cost.victim: cost for cost in bare}
    head = ["victim", "MB: paper", "measured", "forward ms: paper (V100)", "measured"]
    head += ["times NPT: paper", "measured"]
    rows = []
    for victim in [*TABLE_4, *sorted(measured.keys() - TABLE_4.keys())]:
        if victim in measured and COST_BASE in measured:
            cost, base = measured[victim], measured[COST_BASE]
            (size, time), (_, first) = TABLE_4.get(victim, (math.nan,) * 2), TABLE_4[COST_BASE]
            row = [victim, _number(size), f"{cost.megabytes:.1f}"]
            row += [_number(time), f"{cost.forward_ms:.0f}"]
            times = f"{cost.forward_ms / base.forward_ms:.2f}"
            rows.append([*row, NOTHING if math.isnan(time) else f"{time / first:.2f}", times])
    return table(head, rows)


TABLES: dict[str, Callable[[list[Record]], list[str]]] = {
    "table 1": table_1,
    "table 2": table_2,
    "seeds": table_seeds,
    "table 5": table_5,
    "options": table_options,
}


def paper_tables(records: list[Record], costs: list[VictimCost]) -> dict[str, list[str]]:
    """Name -> lines of every table beside the paper's."""
    return {**{name: made(records) for name, made in TABLES.items()}, "table 4": table_4(costs)}
