"""Robustness curves: PMD against eps, success against the threshold, and the area as one number."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.stats.success import TAU
from posebench.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), but for the pale yellow."""

MARKS = "os^Dv<>"


def curve_area(records: Sequence[Record]) -> float | None:
    """Mean PMD averaged over the swept eps (trapezoids over the range); None where undefined.

    Square metres, so it compares with a PMD: low is robust.
    """
    eps, means = np.array(budgets(records)), np.array([each.metrics.pmd.mean for each in records])
    if len(records) < 2 or np.isnan(means).any():
        return None
    return float(np.trapezoid(means, eps) / (eps[-1] - eps[0]))


def budgets(records: Sequence[Record]) -> list[float]:
    """eps of each record; 0 without an attack."""
    return [0.0 if each.cell.attack is None else each.cell.attack.eps for each in records]


def draw_curves(sweeps: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Label -> records of growing eps, into one PNG or PDF: PMD over eps, success over tau.

    A victim's trainings share its colour; cleanly trained ones are dashed.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    victims = sorted({records[0].cell.victim for records in sweeps.values()})
    for label, records in sweeps.items():
        number = victims.index(records[0].cell.victim)
        style = {
            "color": OKABE_ITO[number % len(OKABE_ITO)],
            "linestyle": "--" if records[0].cell.weights.training == "clean" else "-",
        }
        _over_eps(left, records, {**style, "marker": MARKS[number % len(MARKS)], "label": label})
        _over_tau(right, records[-1], style)
    left.set(xlabel="eps, m", ylabel="PMD x1e-4", yscale="log")
    title = "attacked (dotted: random noise of that size)"
    figure.legend(title=title, fontsize=8, loc="outside lower center", ncols=min(4, len(sweeps)))
    right.set(xlabel="threshold tau on PMD, x1e-4", ylabel="attack success", xscale="log")
    right.axvline(TAU * UNIT, color="grey", linewidth=0.8, linestyle="--")
    largest = max(eps for records in sweeps.values() for eps in budgets(records))
    right.set_title(f"at eps {largest:g}", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def _over_eps(axes: Axes, records: Sequence[Record], style: Mapping[str, Any]) -> None:
    """PMD and its interval, and that of random noise dotted."""
    eps = budgets(records)
    means = np.array([each.metrics.pmd.mean for each in records]) * UNIT
    ends = np.array([each.metrics.pmd.ci95 for each in records]) * UNIT
    under = [each.metrics.attack for each in records]
    noise = np.array([np.nan if each is None else each.noise_pmd.mean for each in under]) * UNIT
    axes.plot(eps, means, markersize=4, **style)
    axes.fill_between(eps, ends[:, 0], ends[:, 1], color=style["color"], alpha=0.2)
    axes.plot(eps, noise, ":", color=style["color"], linewidth=1)


def _over_tau(axes: Axes, record: Record, style: Mapping[str, Any]) -> None:
    """Share broken among those that were good at a threshold, NaN if none was."""
    clean, attacked = record.metrics.clean_pmd.values, record.metrics.pmd.values
    taus = np.geomspace(1e-4, 1, 121)
    shares = []
    for tau in taus:
        good = clean <= tau
        shares.append(float((attacked[good] > tau).mean()) if good.any() else math.nan)
    axes.plot(taus * UNIT, shares, **style)
