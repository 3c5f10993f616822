"""What a crop cut off scans, and what it left: front and side of each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from posebench.benchmark.meshes.crop import Cut
from posebench.benchmark.meshes.types import Points
from posebench.files import write_atomically

DRAWN = 20_000
"""Points of each scan, at random."""

KEPT, LOST = "#0072B2", "#D55E00"

VIEWS = {"front": (0, 1), "from its left": (2, 1), "from above": (0, 2)}
"""Title -> the axes that are drawn; x is the body's left, y up, z its front."""


def draw_cuts(cuts: Sequence[Cut], path: Path) -> None:
    """A row a scan into one PNG or PDF: points that are left in blue, those cut off in orange."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows, columns = len(cuts), len(VIEWS)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4 * columns, 4 * rows), layout="constrained", squeeze=False
    )
    for row, cut in zip(axes, cuts, strict=True):
        order = np.random.default_rng(0).permutation(len(cut.kept))[:DRAWN]
        points, kept = cut.mesh.points[order], cut.kept[order]
        for panel, (title, view) in zip(row, VIEWS.items(), strict=True):
            for chosen, colour in ((~kept, LOST), (kept, KEPT)):
                part: Points = points[chosen]
                panel.scatter(*part[:, view].T, s=0.5, color=colour, linewidths=0)
            panel.set(aspect="equal", title=f"{cut.mesh.path.name}, {title}")
            panel.tick_params(labelsize=7)
    lost = sum(int((~cut.kept).sum()) for cut in cuts)
    figure.suptitle(f"metres; blue: left, orange: cut off ({lost:,} points)", fontsize=10)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())
