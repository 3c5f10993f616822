"""Curves of certified errors over what an attacker may do."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from posebench.benchmark.evaluation.certify import Certified
from posebench.benchmark.reports.curves import MARKS, OKABE_ITO
from posebench.benchmark.reports.markdown import UNIT
from posebench.files import write_atomically


def draw_certificates(found: Sequence[Certified], path: Path) -> None:
    """Median certified error of each network, one PNG or PDF; a curve ends where nothing is
    guaranteed any more. Dotted: the clean error of the defended network; grey: returning the pose
    source, above which a guarantee is worth nothing."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4.4), layout="constrained")
    for number, each in enumerate(found):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        medians = [each.median(place) * UNIT for place in range(len(each.allowed))]
        ends = [value if math.isfinite(value) else math.nan for value in medians]
        mark = MARKS[number % len(MARKS)]
        label = f"{each.victim}, {each.training} training"
        axes.plot(each.allowed, ends, color=colour, marker=mark, markersize=4, label=label)
        axes.axhline(each.clean.median * UNIT, color=colour, linestyle=":", linewidth=1)
    axes.axhline(found[0].trivial.median * UNIT, color="grey", linestyle="--", linewidth=1)
    what = (
        "metres that all coordinates together move by"
        if found[0].unit == "metres"
        else (f"points of {found[0].vertices} moved anywhere")
    )
    axes.set(xlabel=what, ylabel="certified error x1e-4, median of pairs", yscale="log")
    axes.legend(fontsize=8)
    axes.set_title(f"{found[0].defense}, {found[0].kind}", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())
