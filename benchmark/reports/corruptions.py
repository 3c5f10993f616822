"""Scans, noise and corruptions in tables: Table 3 beside the paper's, and mean corruption errors.

After PointCloud-C (Ren, Pan and Liu 2022), with PMD in the place of its classification error. With
E_c the mean PMD over the severities of corruption c, E_0 that on clean meshes, and R of a reference
victim (NPT, cleanly trained, as DGCNN there):

    mCE = mean_c E_c / R_c,    relative mCE = sum_c (E_c - E_0) / sum_c (R_c - R_0).

PointCloud-C's relative one is the mean of ratios. Dropping points at random adds next to nothing to
NPT's error, and dividing by that would be noise, so ours is the ratio of sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.data.corruptions import POINTCLOUD_C
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.paper import (
    CLEAN,
    FGM_08,
    PGD_08,
    TABLE_1,
    find,
    interval,
    shipped_plain,
)
from posebench.benchmark.reports.reported import reported

TABLE_3 = reported("table_3")

SEVERITIES = (1, 3, 5)
"""Severities that records are made of; ``benchmark/runs/sweeps/corruptions.toml``."""

TRAININGS = ("clean", "adversarial")
REFERENCE = ("npt", "clean")
"""Victim and training whose errors count as 1."""


def corruption_errors(
    errors: Mapping[str, float], reference: Mapping[str, float]
) -> tuple[float, float]:
    """mCE and relative mCE of PMD by corruption, that on clean meshes under "clean".

    The relative one is NaN if corruptions add nothing to the reference's error.
    """
    names = [name for name in reference if name != "clean"]
    absolute = np.mean([errors[name] / reference[name] for name in names])
    added, base = (sum(e[name] - e["clean"] for name in names) for e in (errors, reference))
    return float(absolute), added / base if base > 0 else math.nan


def ratio_interval(
    before: list[float], after: list[float], *, seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """mean(before) / mean(after) of the same pairs and its 95 % bootstrap interval over them."""
    pairs = np.array([before, after])
    count = pairs.shape[1]
    picks = np.random.default_rng(seed).integers(count, size=(draws, count))
    drawn = pairs[:, picks].mean(axis=2)
    low, high = np.quantile(drawn[0] / drawn[1], [0.025, 0.975])
    return float(pairs[0].mean() / pairs[1].mean()), float(low), float(high)


def table_3(records: list[Record]) -> list[str]:
    """Scans and Gaussian noise, without and with adversarial training."""
    scans = [f"scan@{severity}" for severity in SEVERITIES]
    columns = ["victim", "raw scans: paper"]
    for name in scans:
        columns += [name, "after adversarial training"]
    columns += ["scan@3: times lower", "noise: paper", "noise@0.02", "after adversarial training"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    records = [record for record in records if shipped_plain(record)]
    for victim in TABLE_1:
        paper = [f"{value:.1f}" for value in TABLE_3.get(victim, ())] or ["-", "-"]
        found = {
            (name, training): find(
                records, victim=victim, training=training, task=f"anny/{name}", **CLEAN
            )
            for name in (*scans, "noise@0.02")
            for training in TRAININGS
        }
        shown = [interval(cell["metrics"]["pmd"]) if cell else "-" for cell in found.values()]
        times = _times_lower(*(found["scan@3", training] for training in TRAININGS))
        row = [victim, paper[0], *shown[:-2], times, paper[1], *shown[-2:]]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _times_lower(before: Any, after: Any) -> str:
    if not before or not after or before["cell"]["fingerprint"] != after["cell"]["fingerprint"]:
        return "-"
    values = [cell["metrics"]["pmd"]["per_sample"] for cell in (before, after)]
    if None in values[0] or None in values[1]:
        return "undefined"
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(*values))


def table_corruptions(records: list[Record]) -> list[str]:
    """Mean PMD over severities of each corruption, and the two means over corruptions."""
    columns = ["victim", "training", "clean", *POINTCLOUD_C, "mCE", "relative mCE"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    records = [record for record in records if shipped_plain(record)]
    rows = [(victim, training) for victim in TABLE_1 for training in TRAININGS]
    values = {row: values_of(records, *row) for row in rows}
    # A split's pairs are a list that more samples extend, so the first ones are common to all.
    pairs = min((v.shape[1] for found in values.values() for v in found.values()), default=0)
    errors = {
        row: {name: float(v[:, :pairs].mean()) for name, v in found.items()}
        for row, found in values.items()
    }
    for row, found in errors.items():
        shown = [_shown(1e4 * found[c], 1) if c in found else "-" for c in columns[2:-2]]
        means = ["-", "-"]
        if len(found) == len(errors[REFERENCE]) == 1 + len(POINTCLOUD_C):
            means = [_shown(mean, 2) for mean in corruption_errors(found, errors[REFERENCE])]
        lines.append(f"| {' | '.join([*row, *shown, *means])} |")
    if any(len(found) > 1 for found in values.values()):
        lines += ["", f"{pairs} pairs, severities {', '.join(map(str, SEVERITIES))}."]
    return lines


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "undefined"


def values_of(records: list[Record], victim: str, training: str) -> dict[str, NDArray[np.float64]]:
    """Corruption, or "clean", -> PMD (severities, pairs); those with all severities measured."""
    tasks = {"clean": ["anny/seen"]}
    tasks |= {name: [f"anny/{name}@{severity}" for severity in SEVERITIES] for name in POINTCLOUD_C}
    found = {}
    for name, wanted in tasks.items():
        cells = [find(records, victim=victim, training=training, task=t, **CLEAN) for t in wanted]
        if all(cells):
            lists = [cell["metrics"]["pmd"]["per_sample"] for cell in cells]
            pairs = min(map(len, lists))
            found[name] = np.array([values[:pairs] for values in lists], dtype=np.float64)
    return found


def table_surface(records: list[Record]) -> list[str]:
    """Shipped weights trained on points of surfaces beside their usual ones; the same pairs."""
    tasks = ["anny/seen", *(f"anny/scan@{severity}" for severity in (0, *SEVERITIES))]
    columns = ["victim", "training", "points", *(task.removeprefix("anny/") for task in tasks)]
    columns += ["FGM 0.08", "PGD-20 0.08"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    spread = [record for record in records if shipped_plain(record, surface=True)]
    usual = [record for record in records if shipped_plain(record)]
    for victim in sorted({record["cell"]["victim"] for record in spread}):
        for training, points, found in (
            ("clean", "vertices", usual),
            ("adversarial", "vertices", usual),
            ("adversarial", "half of them of surfaces", spread),
        ):
            who = {"victim": victim, "training": training}
            cells = [find(found, **who, task=task, **CLEAN) for task in tasks]
            cells += [find(found, **who, task="anny/seen", **hit) for hit in (FGM_08, PGD_08)]
            shown = [interval(cell["metrics"]["pmd"]) if cell else "-" for cell in cells]
            lines.append(f"| {' | '.join([victim, training, points, *shown])} |")
    return lines


def corruption_tables(records: list[Record]) -> dict[str, list[str]]:
    """Name -> lines of every table here."""
    return {
        "table 3": table_3(records),
        "surface": table_surface(records),
        "corruptions": table_corruptions(records),
    }
