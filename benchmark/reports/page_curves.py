"""The leaderboard page's curves and matrices, from records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.paper import CLEAN, find

TAUS = np.geomspace(1e-4, 1, 81)
"""Thresholds on PMD, square metres: 0.3 to 10,000 times the released code's 1e-3 and between."""

DRAWS = 300
"""Bootstrap draws per threshold; a band on a screen, not a number in a table."""


def scaled(value: float | None) -> float | None:
    """Square metres to the printed unit."""
    return None if value is None else value * 1e4


def curves(chains: list[list[Record]]) -> list[dict[str, Any]]:
    """One curve per shipped weights and attack: PMD over eps, success over tau at every eps.

    Of several sweeps of the same the one with most pairs, then most budgets, is shown.
    """
    best: dict[tuple[Any, ...], list[Record]] = {}
    for chain in chains:
        cell = chain[0]["cell"]
        if cell["task"] != "anny/seen" or cell["access"] != "oblivious":
            continue
        keys = ("attack", "norm", "eps_unit", "victim", "training")
        key = tuple(cell[name] for name in keys)
        size = (cell["samples"], len(chain))
        if key not in best or size > (best[key][0]["cell"]["samples"], len(best[key])):
            best[key] = chain
    return [curve(chain) for _, chain in sorted(best.items(), key=lambda item: item[0])]


def curve(chain: list[Record]) -> dict[str, Any]:
    """One sweep's points; an undefined PMD is null and leaves a gap."""
    cell = chain[0]["cell"]
    points = []
    for record in chain:
        pmd, noise = record["metrics"]["pmd"], record["metrics"].get("noise_pmd")
        points.append(
            {
                "eps": record["cell"]["eps"],
                "pmd": [scaled(value) for value in (pmd["mean"], *pmd["ci95"])],
                "noise": scaled(noise["mean"]) if noise else None,
                "success": success(record),
            }
        )
    names = ("victim", "training", "attack", "norm", "eps_unit", "task", "samples")
    return {**{name: cell[name] for name in names}, "points": points}


def success(record: Record) -> list[list[float | None]]:
    """Per threshold the share broken among the good ones, and its 95 % bootstrap interval.

    [None, None, None] where no pair is good; redrawn sets without a good pair are left out.
    """
    metrics = record["metrics"]
    values = [metrics[name]["per_sample"] for name in ("clean_pmd", "pmd")]
    if any(value is None for column in values for value in column):
        return [[None] * 3 for _ in TAUS]
    clean, attacked = (np.array(column, dtype=np.float64) for column in values)
    picks = np.random.default_rng(0).integers(len(clean), size=(DRAWS, len(clean)))
    return [_share(clean <= tau, attacked > tau, picks) for tau in TAUS]


def _share(
    good: NDArray[np.bool_], bad: NDArray[np.bool_], picks: NDArray[np.int64]
) -> list[float | None]:
    if not good.any():
        return [None] * 3
    kept, broken = good[picks].sum(axis=1), (good & bad)[picks].sum(axis=1)
    low, high = np.quantile(broken[kept > 0] / kept[kept > 0], [0.025, 0.975])
    middle = (good & bad).sum() / good.sum()
    return [round(float(value), 4) for value in (middle, low, high)]


def transfer_matrices(bare: list[Record]) -> list[dict[str, Any]]:
    """Attack -> PMD of every target under what was made on every surrogate's clean weights."""
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for record in bare:
        cell = record["cell"]
        if str(cell["access"]).startswith("transfer from ") and cell["attack"]:
            key = (cell["attack_settings"], cell["task"], cell["samples"])
            groups.setdefault(key, []).append(record)
    return [
        {
            "attack": group[0]["cell"]["attack"],
            "eps": group[0]["cell"]["eps"],
            "task": task,
            "pairs": pairs,
            **matrix(group, lambda cell: str(cell["access"]).removeprefix("transfer from ")),
        }
        for (_, task, pairs), group in sorted(groups.items(), key=lambda item: item[0])
    ]


def distorted_matrix(plain: list[Record]) -> dict[str, Any] | None:
    """PMD of every victim on distorted pose sources without an attack, and on clean meshes."""
    records = [
        record
        for record in plain
        if record["cell"]["attack"] is None
        and ("@" in record["cell"]["task"] or record["cell"]["task"] == "anny/seen")
    ]
    if not any("@" in record["cell"]["task"] for record in records):
        return None
    who = sorted({(r["cell"]["victim"], r["cell"]["training"]) for r in records})
    tasks = sorted({record["cell"]["task"] for record in records})
    one_each = [
        found
        for victim, training in who
        for task in tasks
        if (found := find(records, victim=victim, training=training, task=task, **CLEAN))
    ]
    return matrix(one_each, lambda cell: str(cell["task"]).removeprefix("anny/"))


def matrix(records: list[Record], column: Any) -> dict[str, Any]:
    """Weights in rows, ``column(cell)`` in columns; PMD x1e-4 with interval, None where none."""
    rows = sorted(
        {
            (r["cell"]["victim"], r["cell"]["training"] != "clean", r["cell"]["training"])
            for r in records
        }
    )
    columns = sorted({column(record["cell"]) for record in records})
    values: dict[tuple[str, str, str], Any] = {}
    for record in records:
        pmd, cell = record["metrics"]["pmd"], record["cell"]
        values[cell["victim"], cell["training"], column(cell)] = {
            "pmd": [scaled(value) for value in (pmd["mean"], *pmd["ci95"])],
            "pairs": cell["samples"],
            "flags": record["flags"],
        }
    return {
        "rows": [{"victim": victim, "training": training} for victim, _, training in rows],
        "columns": columns,
        "values": [
            [values.get((victim, training, name)) for name in columns]
            for victim, _, training in rows
        ],
    }
