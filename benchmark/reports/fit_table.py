"""How far off fitted bodies are, beside the network for anybody's bodies: the table of
docs/meshes.md.

    python -m posebench.benchmark.reports.fit_table

Some ten seconds of one core a pair; pairs that served to choose the fit's numbers are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median

import torch
from torch import Tensor

from posebench.benchmark.data.body_fit import vertex_normals
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.task import PairTask
from posebench.benchmark.evaluation.measure import trivial_pmd
from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.benchmark.retarget.figure_descent import Cloud
from posebench.benchmark.retarget.fitted import FittedTransfer, by_fits
from posebench.cloud import Clouds
from posebench.objective import pmd
from posebench.victims import load_network

SPLITS = (
    "seen", "unseen", "unseen-bent", "wide", "natural", "character", "tpose", "makers", "acrobatic",
    "scan@3",
)  # fmt: skip
PAIRS, FIRST, FIRST_NATURAL = 8, 8, 16
"""Pairs of each task, and the first: earlier ones were looked at while the fit was made."""

NETWORK = "ffptnet"


@dataclass(frozen=True)
class Row:
    """One pair: PMDs in square metres, and whether the fit was doubted."""

    fitted: float
    network: float
    copied: float
    doubted: bool


def rows_of(task: str) -> Iterator[Row]:
    """The task's pairs, one after the other."""
    network, _ = load_network(NETWORK, regime="open")
    first = FIRST_NATURAL if task == "anny/natural" else FIRST
    pairs = load_task(task, samples=first + PAIRS, vertices=1700)
    for number in range(first, first + PAIRS):
        ids = torch.tensor([number])
        batch = pairs.batch(ids)
        found = fitted(pairs, ids)
        with torch.no_grad():
            answer = network(batch.pose, batch.identity)
        yield Row(
            float(pmd(Clouds.dense(torch.from_numpy(found.points).float()[None]), batch.target)),
            float(pmd(answer, batch.target)),
            float(trivial_pmd(pairs, batch)["copy-pose"]),
            any(found.doubts()),
        )


def fitted(pairs: PairTask, ids: Tensor) -> FittedTransfer:
    """A pair by fitted bodies, as ``transfer`` does it."""
    batch, source_faces = pairs.batch(ids), pairs.pose_faces(ids)
    pose, identity = batch.pose.points[0], batch.identity.points[0]
    facing = None if source_faces is None else vertex_normals(pose.double(), source_faces[0])
    normals = vertex_normals(identity.double(), batch.faces[0])
    return by_fits(Cloud(pose, facing), Cloud(identity, normals))


def line(task: str, rows: list[Row]) -> list[str]:
    """A row of the table: means and, in brackets, medians."""
    columns = [[getattr(row, name) for row in rows] for name in ("fitted", "network", "copied")]
    shown = [f"{1e4 * mean(values):.1f} ({1e4 * median(values):.1f})" for values in columns]
    sure = [row.fitted for row in rows if not row.doubted]
    trusted = f"{1e4 * mean(sure):.1f} ({len(sure)})" if sure else NOTHING
    return [f"`{task}`", shown[0], trusted, *shown[1:]]


if __name__ == "__main__":
    head = ["task", "fitted", "not doubted (pairs)", f"{NETWORK}, open", "pose source returned"]
    made = [line(f"anny/{split}", list(rows_of(f"anny/{split}"))) for split in SPLITS]
    sys.stdout.write("\n".join(table(head, made)) + "\n")
