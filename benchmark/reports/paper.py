"""The paper's tables beside ours: what ``posebench report`` writes into docs/reproduction.md.

The paper's numbers are reported, ours are measured; a column holds one kind only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from posebench.attacks import FGM, PGD, PTEnsemble
from posebench.benchmark.evaluation.cost import Cost
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.reported import reported
from posebench.benchmark.training.recipe import recipe_changes
from posebench.interfaces import Budget
from posebench.victims import VICTIMS
from posebench.victims.weights import shipped_path, weights_fingerprint

TABLE_1, TABLE_2, TABLE_4, TABLE_5 = map(reported, ("table_1", "table_2", "table_4", "table_5"))
"""The paper's; what the columns are stands in ``reported.toml``."""

PARTS = {
    "vanilla": {"scales": 1, "mask_ratio": 0.0, "attention": "none"},
    "masking": {"scales": 3, "mask_ratio": 0.5, "attention": "none"},
    "channel": {"scales": 3, "mask_ratio": 0.5, "attention": "channel"},
    "spatial": {"scales": 3, "mask_ratio": 0.5, "attention": "spatial"},
}
"""The settings behind the rows of Table 5; the paper has no spatial row with these parts."""


CLEAN: dict[str, str | None] = {"attack_settings": None}
FGM_02, FGM_08, PGD_08, ENSEMBLE_08 = (
    {"attack_settings": repr(attack)}
    for attack in (
        FGM(Budget(0.02)),
        FGM(Budget(0.08)),
        PGD(Budget(0.08)),
        PTEnsemble(Budget(0.08)),
    )
)
"""What the tables show: these attacks with just these settings, PGD with 20 steps."""


def interval(summary: dict[str, Any]) -> str:
    """Mean with its 95 % interval, x1e-4; "undefined" where the mean is."""
    if summary["mean"] is None:
        return "undefined"
    low, high = summary["ci95"]
    return f"{summary['mean'] * 1e4:.1f} [{low * 1e4:.1f}, {high * 1e4:.1f}]"


def shipped_plain(record: Record, seed: int = 0, *, surface: bool = False) -> bool:
    """As :func:`shipped_bare`, and attacked, if at all, through the victim's own gradients."""
    return shipped_bare(record, seed, surface=surface) and record["cell"]["access"] == "oblivious"


def shipped_bare(record: Record, seed: int = 0, *, surface: bool = False) -> bool:
    """Of shipped compact weights with this training seed, evaluation seed 0, no defence; those
    trained on points of surfaces, which have a table of their own, or all others."""
    cell = record["cell"]
    recipe = cell["recipe"] or {}
    return (
        cell["weights_sha256"] in shipped_fingerprints()
        and cell["size"] == "compact"
        and cell["defense"] is None
        and cell["seed"] == 0
        and recipe.get("seed") == seed
        and bool(recipe.get("surface")) == surface
    )


def unshipped_plain(record: Record) -> bool:
    """Of compact weights that posebench trained but does not ship, and without a defence."""
    cell = record["cell"]
    shipped = cell["weights_sha256"] in shipped_fingerprints()
    return bool(
        not shipped and cell["recipe"] and cell["size"] == "compact" and cell["defense"] is None
    )


def find(records: list[Record], **wanted: Any) -> Any:
    """The record of most pairs whose cell has these values; None if there is none."""
    fits = [r for r in records if all(r["cell"][key] == value for key, value in wanted.items())]
    return max(fits, key=lambda record: record["cell"]["samples"], default=None)


@lru_cache
def shipped_fingerprints() -> frozenset[str]:
    """sha256 of every weights file that comes with the library."""
    folder = shipped_path("npt", "compact").parent
    return frozenset(weights_fingerprint(path) for path in folder.glob("*.safetensors"))


def victim_label(cell: dict[str, Any]) -> str:
    """Victim, and what sets its weights apart: a training seed, settings off the default."""
    name = str(cell["victim"])
    settings = cell["network"] or {}
    if isinstance(settings.get("width"), int) and name in VICTIMS:
        usual = usual_settings(name, settings["width"])
        odd = [f"{key} {value}" for key, value in settings.items() if usual.get(key) != value]
        name += f" ({', '.join(odd)})" if odd else ""
    recipe = cell["recipe"]
    if recipe and cell["weights_sha256"] in shipped_fingerprints():
        name += f", training seed {recipe['seed']}" if recipe.get("seed") else ""
        name += ", surface points" if recipe.get("surface") else ""
    elif recipe and (changes := recipe_changes(recipe)):
        name += f", {changes}"
    return name


@lru_cache
def usual_settings(victim: str, width: int) -> dict[str, Any]:
    """The settings that a victim has by default at some width."""
    with torch.device("meta"):  # no weights, no draws from the global generator
        return VICTIMS[victim](width).settings()


def table_1(records: list[Record]) -> list[str]:
    """Clean PMD on seen and unseen."""
    records = [record for record in records if shipped_plain(record)]
    lines = [
        "| victim | seen: paper | measured | after adversarial training "
        "| unseen: paper | measured | after adversarial training |",
        "|---" * 7 + "|",
    ]
    for victim, quoted in TABLE_1.items():
        row = [victim]
        for task, value in zip(("anny/seen", "anny/unseen"), quoted, strict=True):
            row.append(f"{value:.1f}")
            for training in ("clean", "adversarial"):
                found = find(records, victim=victim, task=task, training=training, **CLEAN)
                row.append(interval(found["metrics"]["pmd"]) if found else "-")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def table_2(records: list[Record]) -> list[str]:
    """FGM 0.08 on seen, without and with adversarial training; and PGD, which the paper lacks."""
    records = [record for record in records if shipped_plain(record)]
    lines = [
        "| victim | without: paper | measured | with: paper | measured | times lower: paper | "
        "measured | PGD-20: without | with | times lower |",
        "|---" * 10 + "|",
    ]
    for victim, quoted in TABLE_2.items():
        row = [victim]
        cells = {
            (name, training): find(
                records, victim=victim, task="anny/seen", training=training, **attack
            )
            for name, attack in (("fgm", FGM_08), ("pgd", PGD_08))
            for training in ("clean", "adversarial")
        }
        shown = {
            key: interval(found["metrics"]["pmd"]) if found else "-" for key, found in cells.items()
        }
        for value, training in zip(quoted, ("clean", "adversarial"), strict=True):
            row += [f"{value:.1f}", shown["fgm", training]]
        row += [f"{quoted[0] / quoted[1]:.1f}", _times(cells, "fgm")]
        row += [shown["pgd", "clean"], shown["pgd", "adversarial"], _times(cells, "pgd")]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _times(cells: dict[tuple[str, str], Any], attack: str) -> str:
    before, after = cells[attack, "clean"], cells[attack, "adversarial"]
    if before is None or after is None:
        return "-"
    return f"{before['metrics']['pmd']['mean'] / after['metrics']['pmd']['mean']:.1f}"


def table_seeds(records: list[Record]) -> list[str]:
    """The same recipe from other seeds."""
    lines = [
        "| victim | training seed | clean PMD: clean training | adversarial "
        "| FGM 0.08: clean training | adversarial | times lower |",
        "|---" * 7 + "|",
    ]
    by_seed: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        seed = (record["cell"]["recipe"] or {}).get("seed")
        if isinstance(seed, int) and shipped_plain(record, seed):
            by_seed.setdefault((record["cell"]["victim"], seed), []).append(record)
    several = {victim for victim, seed in by_seed if seed}
    for victim, seed in sorted(key for key in by_seed if key[0] in several):
        row, cells = [victim, str(seed)], {}
        for name, attack in (("clean", CLEAN), ("fgm", FGM_08)):
            for training in ("clean", "adversarial"):
                wanted = {"task": "anny/seen", "training": training, **attack}
                found = find(by_seed[victim, seed], **wanted)
                cells[name, training] = found
                row.append(interval(found["metrics"]["pmd"]) if found else "-")
        lines.append(f"| {' | '.join([*row, _times(cells, 'fgm')])} |")
    return lines


def table_5(records: list[Record]) -> list[str]:
    """3D-PoseMAE as parts are added; which split the paper used is not said."""
    lines = [
        "| 3D-PoseMAE | paper | measured: seen | unseen | FGM 0.08 |",
        "|---" * 5 + "|",
    ]
    records = [r for r in records if unshipped_plain(r) and r["cell"]["training"] == "clean"]
    for part, parts in PARTS.items():
        row = [part, f"{TABLE_5[part][0]:.1f}" if part in TABLE_5 else "-"]
        alike = [r for r in records if parts.items() <= (r["cell"]["network"] or {}).items()]
        for task, attack in (("anny/seen", CLEAN), ("anny/unseen", CLEAN), ("anny/seen", FGM_08)):
            found = find(alike, victim="posemae", task=task, **attack)
            row.append(interval(found["metrics"]["pmd"]) if found else "-")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def table_options(records: list[Record]) -> list[str]:
    """Adversarial training with other options; weights that are not shipped."""
    lines = [
        "| victim | options | clean PMD | FGM 0.02 | FGM 0.08 | PGD-20 0.08 |",
        "|---" * 6 + "|",
    ]
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        cell = record["cell"]
        if unshipped_plain(record) and cell["recipe"].get("adversarial"):
            key = (cell["victim"], recipe_changes(cell["recipe"]))
            rows.setdefault(key, []).append(record)
    for (victim, changes), cells in sorted(rows.items()):
        row = [victim, changes]
        for attack in (CLEAN, FGM_02, FGM_08, PGD_08):
            found = find(cells, task="anny/seen", **attack)
            row.append(interval(found["metrics"]["pmd"]) if found else "-")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def table_4(costs: list[Cost]) -> list[str]:
    """Size and time of one forward at the published size."""
    measured = {cost.victim: cost for cost in costs if cost.size == "paper"}
    lines = [
        "| victim | MB: paper | measured | forward ms: paper (V100) | measured "
        "| times NPT: paper | measured |",
        "|---" * 7 + "|",
    ]
    for victim, (size, time) in TABLE_4.items():
        if victim in measured and "npt" in measured:
            cost, base = measured[victim], measured["npt"]
            lines.append(
                f"| {victim} | {size} | {cost.megabytes:.1f} | {time} | {cost.forward_ms:.0f} "
                f"| {time / TABLE_4['npt'][1]:.2f} | {cost.forward_ms / base.forward_ms:.2f} |"
            )
    return lines


TABLES: dict[str, Callable[[list[Record]], list[str]]] = {
    "table 1": table_1,
    "table 2": table_2,
    "seeds": table_seeds,
    "table 5": table_5,
    "options": table_options,
}


def paper_tables(records: list[Record], costs: list[Cost]) -> dict[str, list[str]]:
    """Name -> lines of every table beside the paper's."""
    return {**{name: table(records) for name, table in TABLES.items()}, "table 4": table_4(costs)}
