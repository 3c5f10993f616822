"""The pose floor of the headline threat models: the table of docs/threats.md.

    python -m posebench.benchmark.reports.floor_table leaderboards/studies/floor.json

searches it for the first pairs of anny/seen (``evaluation.pose_floor``), a few minutes of one core,
and keeps every pair's value.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from posebench.benchmark.data.anny import Anny
from posebench.benchmark.evaluation.pose_floor import pose_floor
from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.types import Environment
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.stats.bootstrap import summarise
from posebench.fields import STRICT
from posebench.files import write_atomically
from posebench.threats import HEADLINE, find_threat

TASK = "anny/seen"
PAIRS = 64
BATCH = 16


@dataclass(frozen=True)
class Floor:
    """The floor in one threat model.

    Attributes:
        threat: its name.
        fingerprint: of the task's pairs.
        errors: of each pair after the best translation, square metres.
        environment: where it was made.
    """

    __pydantic_config__ = STRICT

    threat: str
    fingerprint: str
    errors: tuple[float, ...]
    environment: Environment


def floors(pairs: int = PAIRS) -> list[Floor]:
    """The floor of each headline threat model."""
    task = Anny().load(TASK, samples=pairs)
    made = environment("cpu")
    result = []
    for name in HEADLINE:
        radius = find_threat(name).budget.eps
        parts = [pose_floor(task, ids, radius)[0] for ids in torch.arange(pairs).split(BATCH)]
        errors = tuple(torch.cat(parts).tolist())
        result.append(Floor(name, task.fingerprint, errors, made))
    return result


def write_floors(found: Iterable[Floor], path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([plain(each) for each in found], indent=1, sort_keys=True)
    write_atomically(path, text + "\n")


def read_floors(path: Path) -> list[Floor]:
    """What ``write_floors`` wrote; nothing of a file that is not there."""
    if not path.is_file():
        return []
    return [decode(Floor, each, str(path)) for each in read_json(path)]


def floor_table(found: Iterable[Floor]) -> list[str]:
    """A row a threat model."""
    rows = []
    for each in found:
        summary = summarise(np.array(each.errors))
        rows.append([f"`{each.threat}`", str(len(each.errors)), interval(summary)])
    return table(["threat model", "pairs", "pose floor x1e-4"], rows) if rows else [NOTHING]


if __name__ == "__main__":
    write_floors(floors(), Path(sys.argv[1]))
