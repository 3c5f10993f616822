"""The picture of mannequins that take and give poses by fitted bodies:
``python -m posebench.benchmark.reports.mannequin_picture docs/mannequins.png`` (five minutes).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.reports.fit_table import fitted, mannequin_pair
from posebench.benchmark.reports.pictures import Panel, draw_rows

SHOWN = (0, 1)
"""Pairs of each direction."""


def rows() -> list[tuple[str, list[Panel]]]:
    """For each pair what went in, what came out, and what would have been right."""
    made = []
    for gives, label in ((False, "to a mannequin"), (True, "from a mannequin")):
        for number in SHOWN:
            batch, source_faces = mannequin_pair(number, gives=gives)
            found = fitted(batch, source_faces).points
            faces = batch.faces[0].numpy()
            panels = [
                panel(batch.pose.points[0].numpy(), source_faces.numpy(), "pose source"),
                panel(batch.identity.points[0].numpy(), faces, "identity"),
                panel(found, faces, "by fitted bodies"),
                panel(batch.target.points[0].numpy(), faces, "truth"),
            ]
            made.append((label, panels))
    return made


def panel(points: NDArray[np.floating], faces: NDArray[np.int64], title: str) -> Panel:
    """A grey body."""
    return Panel(points.astype(np.float32), faces, None, title)


if __name__ == "__main__":
    draw_rows(rows(), Path(sys.argv[1]), dpi=60)
