"""One CSV row per cell: all records in a form that any spreadsheet reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from posebench.benchmark.records.types import Json, Record

COLUMNS = (
    "task", "victim", "size", "training", "recipe", "network",
    "attack", "eps", "eps_unit", "norm", "defense", "access", "samples", "vertices", "seed",
    "clean_pmd", "clean_pmd_low", "clean_pmd_high", "pmd", "pmd_low", "pmd_high",
    "pmd_median", "pmd_p95", "pmd_worst", "noise_pmd", "asr@tau", "asr_rel@2",
    "asr_rel@10", "robust_rate", "clean_fail", "gain_over_noise", "copy-pose", "copy-identity",
    "mean-mesh", "flags", "weights_sha256", "commit", "device",
)  # fmt: skip

Value: TypeAlias = str | int | float | None


def csv_row(record: Record) -> Mapping[str, Value]:
    """One flat row; PMD in square metres, undefined values NaN."""
    cell, metrics = record.cell, record.metrics
    row: dict[str, Value] = {
        "task": cell.task,
        "victim": cell.victim,
        "size": cell.weights.size,
        "training": cell.weights.training,
        "recipe": _json(cell.weights.recipe),
        "network": _json(cell.weights.network),
        "defense": None if cell.defense is None else cell.defense.name,
        "access": str(cell.access),
        "samples": cell.samples,
        "vertices": cell.vertices,
        "seed": cell.seed,
        "pmd_median": metrics.pmd.median,
        "pmd_p95": metrics.pmd.p95,
        "pmd_worst": metrics.pmd.worst,
        "flags": " ".join(record.flags),
        "weights_sha256": cell.weights.sha256,
        "commit": record.environment.commit,
        "device": record.environment.device,
    }
    for name, summary in (("clean_pmd", metrics.clean_pmd), ("pmd", metrics.pmd)):
        row |= {name: summary.mean, f"{name}_low": summary.ci95[0], f"{name}_high": summary.ci95[1]}
    if cell.attack is not None:
        attack = cell.attack
        row |= {"attack": attack.name, "eps": attack.eps}
        row |= {"eps_unit": attack.unit, "norm": attack.norm}
    if metrics.attack is not None:
        row |= {"noise_pmd": metrics.attack.noise_pmd.mean, **metrics.attack.rates}
    return row | metrics.trivial


def _json(value: Json | None) -> str | None:
    return json.dumps(value) if value else None


def csv_text(records: Iterable[Record]) -> str:
    """All cells as CSV, in the order of the records."""
    import pandas as pd

    rows = [csv_row(record) for record in records]
    text: str = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).to_csv(
        index=False, lineterminator="\n"
    )
    return text
