"""The pose floor of the headline threat models: the table of docs/threats.md.

    python -m posebench.benchmark.reports.floor_table leaderboards/studies/floor.json

searches it for the first pairs of anny/seen (``evaluation.pose_floor``), a few minutes of one core,
and keeps every pair's value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from posebench.benchmark.data.anny import Anny
from posebench.benchmark.evaluation.pose_floor import pose_floor
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.studies import Floor, FloorStudy, write_study
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.stats.bootstrap import summarise
from posebench.threats import HEADLINE, find_threat

TASK = "anny/seen"
PAIRS = 64
BATCH = 16


def floors(pairs: int = PAIRS) -> list[Floor]:
    """The floor of each headline threat model."""
    task = Anny().load(TASK, samples=pairs)
    result = []
    for name in HEADLINE:
        radius = find_threat(name).budget.eps
        parts = [pose_floor(task, ids, radius)[0] for ids in torch.arange(pairs).split(BATCH)]
        errors = tuple(torch.cat(parts).tolist())
        result.append(Floor(name, task.fingerprint, errors))
    return result


def floor_table(found: Iterable[Floor]) -> list[str]:
    """A row a threat model."""
    rows = []
    for each in found:
        summary = summarise(np.array(each.errors))
        rows.append([each.threat, str(len(each.errors)), interval(summary)])
    return table(["threat model", "pairs", "pose floor x1e-4"], rows) if rows else [NOTHING]


if __name__ == "__main__":
    made = environment("cpu")  # the tree may change meanwhile
    write_study(Path(sys.argv[1]), FloorStudy("posebench/floor/1", tuple(floors()), made))
