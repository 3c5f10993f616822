"""Two victims pair by pair, as a picture: one point a pair, below the diagonal where the first
errs less."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posebench.benchmark.reports.comparison import Comparison, attack_words, p_words
from posebench.benchmark.reports.curves import OKABE_ITO
from posebench.benchmark.reports.markdown import UNIT
from posebench.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3
"""Most panels beside each other."""

SIDES = (OKABE_ITO[0], OKABE_ITO[1])
"""Colours of pairs in which the first, or the second, errs less."""


def draw_comparisons(found: Sequence[Comparison], path: Path) -> None:
    """A panel a comparison, into one PNG or PDF."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(ACROSS, len(found))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 4.4 * rows), squeeze=False, layout="constrained"
    )
    for place, each in zip(axes.flat, found, strict=False):
        draw_pairs(place, each)
    for place in axes.flat[len(found) :]:
        place.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format=path.suffix[1:].lower())
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def draw_pairs(axes: Axes, found: Comparison) -> None:
    """Errors of both, each on a logarithmic axis, and the line on which they are equal."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    first, second = (np.maximum(errors * UNIT, 1e-3) for errors in found.errors)
    ends = min(first.min(), second.min()) / 1.15, max(first.max(), second.max()) * 1.15
    axes.plot(ends, ends, color="0.6", linewidth=1, zorder=1)
    colours = [
        SIDES[0] if a < b else SIDES[1] if b < a else "0.4"
        for a, b in zip(first, second, strict=True)
    ]
    axes.scatter(second, first, s=16, c=colours, alpha=0.75, linewidths=0, zorder=2)
    for side, (x, y, down, over) in enumerate(
        ((0.96, 0.05, "bottom", "right"), (0.04, 0.95, "top", "left"))
    ):
        text = f"{found.names[side]}\nerrs less: {found.wins[side]}"
        axes.text(
            x, y, text, transform=axes.transAxes, ha=over, va=down, fontsize=8, color=SIDES[side]
        )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    metric = "clean PMD" if found.cell.attack is None else found.cell.attack.metric
    unit = f"{metric.replace('_aligned', ', aligned').replace('pmd', 'PMD')} x1e-4"
    axes.set_xlabel(f"{found.names[1]}, {unit}", fontsize=8)
    axes.set_ylabel(f"{found.names[0]}, {unit}", fontsize=8)
    kind = "clean" if found.cell.attack is None else attack_words(found.cell.attack)
    low, high = found.change.interval
    sure = f"ratio {found.change.ratio:.2f} [{low:.2f}, {high:.2f}], {p_words(found.p)}"
    axes.set_title(f"{kind}, {found.cell.task}\n{sure}", fontsize=9)
