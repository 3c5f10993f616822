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

import numpy as np

from posebench.benchmark.data.corruptions import POINTCLOUD_C
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import NOTHING, attacked, table
from posebench.benchmark.reports.paper import rows_of
from posebench.benchmark.reports.reported import reported
from posebench.benchmark.reports.selection import CLEAN, find, shipped_plain
from posebench.benchmark.stats.bootstrap import Column, ratio_interval
from posebench.victims.weights import TRAININGS as SHIPPED_TRAININGS

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


def table_3(records: list[Record]) -> list[str]:
    """Scans and Gaussian noise, without and with adversarial training; no row where neither the
    paper nor a record has a number."""
    scans = [f"scan@{severity}" for severity in SEVERITIES]
    head = ["victim", "raw scans: paper"]
    for name in scans:
        head += [name, "after adversarial training"]
    head += ["scan@3: times lower", "noise: paper", "noise@0.02", "after adversarial training"]
    records = [record for record in records if shipped_plain(record)]
    rows = []
    for victim in rows_of(records):
        paper = [f"{value:.1f}" for value in TABLE_3.get(victim, ())] or [NOTHING, NOTHING]
        found = {
            (name, training): find(
                records, CLEAN, victim=victim, training=training, task=f"anny/{name}"
            )
            for name in (*scans, "noise@0.02")
            for training in TRAININGS
        }
        if victim not in TABLE_3 and not any(found.values()):
            continue
        shown = [attacked(record) for record in found.values()]
        times = _times_lower(*(found.get(("scan@3", training)) for training in TRAININGS))
        rows.append([victim, paper[0], *shown[:-2], times, paper[1], *shown[-2:]])
    return table(head, rows)


def _times_lower(before: Record | None, after: Record | None) -> str:
    """With its interval over pairs, which must be the same ones."""
    if before is None or after is None or before.cell.fingerprint != after.cell.fingerprint:
        return NOTHING
    pairs = before.metrics.pmd.values, after.metrics.pmd.values
    if not np.isfinite(pairs).all():
        return "undefined"
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(*pairs))


def table_corruptions(records: list[Record]) -> list[str]:
    """Mean PMD over severities of each corruption, and the two means over corruptions; no row for
    weights that no corruption was measured on."""
    records = [record for record in records if shipped_plain(record)]
    values = {
        (victim, training): values_of(records, victim, training)
        for victim in rows_of(records)
        for training in SHIPPED_TRAININGS
    }
    values = {who: found for who, found in values.items() if found.keys() - {"clean"}}
    # A split's pairs are a list that more samples extend, so the first ones are common to all.
    pairs = min((v.shape[1] for found in values.values() for v in found.values()), default=0)
    errors = {
        who: {name: float(v[:, :pairs].mean()) for name, v in found.items()}
        for who, found in values.items()
    }
    names = ["clean", *POINTCLOUD_C]
    rows = []
    for who, found in errors.items():
        shown = [_shown(1e4 * found[name], 1) if name in found else NOTHING for name in names]
        means = [NOTHING, NOTHING]
        if len(found) == len(errors.get(REFERENCE, ())) == len(names):
            means = [_shown(mean, 2) for mean in corruption_errors(found, errors[REFERENCE])]
        rows.append([*who, *shown, *means])
    lines = table(["victim", "training", *names, "mCE", "relative mCE"], rows)
    if any(len(found) > 1 for found in values.values()):
        lines += ["", f"{pairs} pairs, severities {', '.join(map(str, SEVERITIES))}."]
    return lines


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "undefined"


def values_of(records: list[Record], victim: str, training: str) -> dict[str, Column]:
    """Corruption, or "clean", -> PMD (severities, pairs); those with all severities measured."""
    tasks = {"clean": ["anny/seen"]}
    tasks |= {name: [f"anny/{name}@{severity}" for severity in SEVERITIES] for name in POINTCLOUD_C}
    who = {"victim": victim, "training": training}
    found = {}
    for name, wanted in tasks.items():
        cells = [find(records, CLEAN, task=task, **who) for task in wanted]
        lists = [record.metrics.pmd.values for record in cells if record is not None]
        if len(lists) == len(wanted):
            pairs = min(map(len, lists))
            found[name] = np.stack([values[:pairs] for values in lists])
    return found


def corruption_tables(records: list[Record]) -> dict[str, list[str]]:
    """Name -> lines of every table here."""
    return {
        "table 3": table_3(records),
        "corruptions": table_corruptions(records),
    }
