"""The paper's tables beside ours: what ``posebench report`` writes into docs/reproduction.md.

The paper's numbers are reported, ours are measured; a column holds one kind only.
"""

from __future__ import annotations

from collections.abc import Callable

from posebench.benchmark.evaluation.cost import VictimCost
from posebench.benchmark.evaluation.sources import adversarial_part
from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.markdown import NOTHING, attacked, table
from posebench.benchmark.reports.reported import reported
from posebench.benchmark.reports.selection import (
    CLEAN,
    FGM_02,
    FGM_08,
    PGD_08,
    find,
    shipped_plain,
    unshipped_plain,
)
from posebench.benchmark.training.recipe import recipe_changes

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


def table_1(records: list[Record]) -> list[str]:
    """Clean PMD on seen and unseen."""
    records = [record for record in records if shipped_plain(record)]
    head = ["victim"]
    for split in ("seen", "unseen"):
        head += [f"{split}: paper", "measured", "after adversarial training"]
    rows = []
    for victim, quoted in TABLE_1.items():
        row = [victim]
        for task, value in zip(("anny/seen", "anny/unseen"), quoted, strict=True):
            who = {"victim": victim, "task": task}
            row.append(f"{value:.1f}")
            row += [attacked(find(records, CLEAN, training=each, **who)) for each in TRAININGS]
        rows.append(row)
    return table(head, rows)


def table_2(records: list[Record]) -> list[str]:
    """FGM 0.08 on seen, without and with adversarial training; and PGD, which the paper lacks."""
    records = [record for record in records if shipped_plain(record)]
    head = ["victim", "without: paper", "measured", "with: paper", "measured"]
    head += ["times lower: paper", "measured", "PGD-20: without", "with", "times lower"]
    rows = []
    for victim, quoted in TABLE_2.items():
        fgm, pgd = (_by_training(records, victim, attack) for attack in (FGM_08, PGD_08))
        row = [victim]
        for value, record in zip(quoted, fgm, strict=True):
            row += [f"{value:.1f}", attacked(record)]
        row += [f"{quoted[0] / quoted[1]:.1f}", times_lower(*fgm)]
        rows.append([*row, *map(attacked, pgd), times_lower(*pgd)])
    return table(head, rows)


def _by_training(
    records: list[Record], victim: str, attack: AttackCell | None
) -> list[Record | None]:
    """The record of each of ``TRAININGS`` on anny/seen."""
    who = {"victim": victim, "task": "anny/seen"}
    return [find(records, attack, training=each, **who) for each in TRAININGS]


def times_lower(before: Record | None, after: Record | None) -> str:
    """Ratio of two records' PMD."""
    if before is None or after is None:
        return NOTHING
    return f"{before.metrics.pmd.mean / after.metrics.pmd.mean:.1f}"


def table_seeds(records: list[Record]) -> list[str]:
    """The same recipe from other seeds."""
    head = ["victim", "training seed", "clean PMD: clean training", "adversarial"]
    head += ["FGM 0.08: clean training", "adversarial", "times lower"]
    by_seed: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        seed = (record.cell.weights.recipe or {}).get("seed")
        if isinstance(seed, int) and shipped_plain(record, seed):
            by_seed.setdefault((record.cell.victim, seed), []).append(record)
    several = {victim for victim, seed in by_seed if seed}
    rows = []
    for victim, seed in sorted(key for key in by_seed if key[0] in several):
        clean, fgm = (_by_training(by_seed[victim, seed], victim, a) for a in (CLEAN, FGM_08))
        rows.append([victim, str(seed), *map(attacked, [*clean, *fgm]), times_lower(*fgm)])
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
    for victim, (size, time) in TABLE_4.items():
        if victim in measured and "npt" in measured:
            cost, base = measured[victim], measured["npt"]
            row = [victim, f"{size}", f"{cost.megabytes:.1f}", f"{time}", f"{cost.forward_ms:.0f}"]
            times = time / TABLE_4["npt"][1], cost.forward_ms / base.forward_ms
            rows.append([*row, *(f"{each:.2f}" for each in times)])
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
