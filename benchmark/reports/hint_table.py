"""What the hints on how bodies stand find: the figures of docs/own-data.md and docs/meshes.md.

    python -m posebench.benchmark.reports.hint_table

Each person is seen as points of the surface, as a scan is: as it stands, turned in the ways that a
hint knows, and cut into halves. A few minutes of one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.facing import HALVES, half_of, stands_oddly
from posebench.benchmark.meshes.surface import Surface, apart, sample_surface
from posebench.benchmark.meshes.types import Faces, Points
from posebench.benchmark.reports.markdown import table

TASKS = ("anny/tpose", "anny/unseen", "anny/wide", "anny/natural")
PAIRS = range(32, 64)
"""Of each task; the first half served to choose the thresholds."""

POINTS = 8000

TURNED: dict[str, tuple[str | None, Callable[[Points], Points]]] = {
    "as they are: no note": (None, lambda p: p),
    "upside down: noted": ("upside down", lambda p: p * [1, -1, -1]),
    "backwards": ("backwards", lambda p: p * [-1, 1, -1]),
    "facing left": ("facing its left", lambda p: p[:, [2, 1, 0]] * [1, 1, -1]),
}
"""Column -> what should be said of points (N, 3) that were turned so."""


def people(task: str, pairs: range, rng: np.random.Generator) -> Iterator[Points]:
    """Points (N, 3) of the surfaces of a task's true results."""
    found = load_task(task, samples=pairs.stop, vertices=1700)
    for number in pairs:
        batch = found.batch(torch.tensor([number]))
        body = Surface(batch.target.points[0].double().numpy(), one(batch.faces))
        yield sample_surface(body, POINTS, rng)[0]


def hints_found(task: str) -> list[str]:
    """A row: of how many people each column was answered rightly."""
    rng = np.random.default_rng(1)
    right: dict[str, int] = {}
    for points in people(task, PAIRS, rng):
        for name, (wanted, turn) in TURNED.items():
            right[name] = right.get(name, 0) + (stands_oddly(turn(points)) == wanted)
        right["whole"] = right.get("whole", 0) + (half_of(points) is None)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        for name, (axis, side) in HALVES.items():
            half = points[side * (points - middle)[:, axis] > 0]
            right[name] = right.get(name, 0) + (half_of(half) == name)
    return [f"`{task}`", *map(str, right.values())]


def shapes_apart(tasks: tuple[str, ...], pairs: int) -> tuple[float, float]:
    """Least and largest chamfer distance of a true result to its pose source, metres."""
    gaps = []
    for task in tasks:
        found = load_task(task, samples=pairs, vertices=1700)
        for number in range(pairs):
            ids = torch.tensor([number])
            batch, faces = found.batch(ids), found.pose_faces(ids)
            source = Surface(batch.pose.points[0].double().numpy(), one(faces))
            truth = Surface(batch.target.points[0].double().numpy(), one(batch.faces))
            gaps.append(apart(source, truth).chamfer)
    return min(gaps), max(gaps)


def one(faces: Tensor | None) -> Faces | None:
    """The triangles (F, 3) of a batch of one."""
    return None if faces is None else faces[0].numpy()


if __name__ == "__main__":
    halves = [f"{name} half" for name in HALVES]
    rows = [hints_found(task) for task in TASKS]
    head = ["task", *TURNED, "whole: no note", *halves]
    sys.stdout.write("\n".join(table(head, rows)) + "\n")
    low, high = shapes_apart(("anny/seen", "anny/makers"), 8)
    sys.stdout.write(f"true results lie {100 * low:.1f} to {100 * high:.1f} cm from the source\n")
