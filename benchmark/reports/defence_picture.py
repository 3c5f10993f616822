"""Defences in a plane: clean error against worst case, marks as large as they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posebench.benchmark.reports.curves import MARKS, OKABE_ITO
from posebench.benchmark.reports.defences import Point
from posebench.benchmark.reports.figures import save
from posebench.errors import InputError

AREA = 36.0
"""Of the mark of a network without a defence, square points; others in proportion to their time."""

MOST = 30.0
"""Times that area at most, so that no mark hides the others."""


def draw_defences(points: Sequence[Point], path: Path) -> None:
    """One panel a threat model, one PNG or PDF. Colours tell what stands in front, marks the
    victim; filled ones were trained robustly. Where the cost is unknown a mark is small.

    Raises:
        InputError: no points.
    """
    if not points:
        raise InputError(
            "no records of defences to draw: make some with 'posebench sweep defences'"
        )
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogFormatter

    threats = list(dict.fromkeys(point.threat for point in points))
    defenses = list(dict.fromkeys(point.defense for point in points))
    victims = list(dict.fromkeys(point.victim for point in points))
    figure, panels = plt.subplots(
        1, len(threats), figsize=(4.4 * len(threats), 4.4), layout="constrained", squeeze=False
    )
    for axes, threat in zip(panels[0], threats, strict=True):
        for point in points:
            if point.threat != threat:
                continue
            colour = OKABE_ITO[defenses.index(point.defense) % len(OKABE_ITO)]
            axes.scatter(
                point.clean[0],
                point.worst[0],
                s=AREA * min(MOST, max(1.0, point.times or 1.0)),
                marker=MARKS[victims.index(point.victim) % len(MARKS)],
                facecolors=colour if point.training == "robust" else "none",
                edgecolors=colour,
                hatch="//" if point.training == "adversarial" else None,
                linewidths=1.4,
                alpha=0.85,
            )
        axes.set(xscale="log", yscale="log", title=threat, xlabel="clean error x1e-4")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    panels[0][0].set_ylabel("worst case x1e-4")
    for number, defense in enumerate(defenses):
        panels[0][0].scatter([], [], color=OKABE_ITO[number % len(OKABE_ITO)], label=defense)
    for number, victim in enumerate(victims):
        mark = MARKS[number % len(MARKS)]
        panels[0][0].scatter([], [], color="grey", marker=mark, label=victim)
    figure.legend(
        title="colour: defence; mark: victim; filled: robust, hatched: the paper's training; "
        "area: time of an answer",
        title_fontsize=8,
        fontsize=8,
        loc="outside lower center",
        ncols=5,
    )
    save(figure, path)
