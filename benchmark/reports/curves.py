"""Robustness curves: PMD against eps, success against the threshold, and the area as one number."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.stats.success import TAU
from posebench.files import write_atomically

if TYPE_CHECKING:
    from posebench.benchmark.records.types import Record

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), but for the pale yellow."""

MARKS = "os^Dv<>"


def curve_area(records: list[Record]) -> float | None:
    """Mean PMD averaged over the swept eps (trapezoids over the range); None where undefined.

    Square metres, so it compares with a PMD: low is robust.
    """
    eps = np.array([record["cell"]["eps"] for record in records])
    means = [record["metrics"]["pmd"]["mean"] for record in records]
    if len(records) < 2 or None in means:
        return None
    return float(np.trapezoid(np.array(means), eps) / (eps[-1] - eps[0]))


def draw_curves(sweeps: dict[str, list[Record]], path: Path) -> None:
    """Label -> records of growing eps, into one PNG or PDF: PMD over eps, success over tau.

    A victim's trainings share its colour; cleanly trained ones are dashed.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    victims = sorted({records[0]["cell"]["victim"] for records in sweeps.values()})
    for label, records in sweeps.items():
        eps = [record["cell"]["eps"] for record in records]
        number = victims.index(records[0]["cell"]["victim"])
        colour, mark = OKABE_ITO[number % len(OKABE_ITO)], MARKS[number % len(MARKS)]
        line = "--" if records[0]["cell"]["training"] == "clean" else "-"
        means = np.array([record["metrics"]["pmd"]["mean"] for record in records], float) * 1e4
        ends = np.array([record["metrics"]["pmd"]["ci95"] for record in records], float) * 1e4
        noise = np.array([r["metrics"]["noise_pmd"]["mean"] for r in records], float) * 1e4
        left.plot(eps, means, line, color=colour, marker=mark, markersize=4, label=label)
        left.fill_between(eps, ends[:, 0], ends[:, 1], color=colour, alpha=0.2)
        left.plot(eps, noise, ":", color=colour, linewidth=1)
        clean = np.array(records[-1]["metrics"]["clean_pmd"]["per_sample"], float)
        attacked = np.array(records[-1]["metrics"]["pmd"]["per_sample"], float)
        taus = np.geomspace(1e-4, 1, 121)
        shares = [_success(clean, attacked, tau) for tau in taus]
        right.plot(taus * 1e4, shares, line, color=colour)
    left.set(xlabel="eps, m", ylabel="PMD x1e-4", yscale="log")
    title = "attacked (dotted: random noise of that size)"
    figure.legend(title=title, fontsize=8, loc="outside lower center", ncols=min(4, len(sweeps)))
    right.set(xlabel="threshold tau on PMD, x1e-4", ylabel="attack success", xscale="log")
    right.axvline(TAU * 1e4, color="grey", linewidth=0.8, linestyle="--")
    largest = max(record["cell"]["eps"] for records in sweeps.values() for record in records)
    right.set_title(f"at eps {largest:g}", fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def _success(clean: NDArray[np.float64], attacked: NDArray[np.float64], tau: float) -> float:
    """Share broken among those that were good, NaN if none was; see ``attack_metrics``."""
    good = clean <= tau
    return float((attacked[good] > tau).mean()) if good.any() else math.nan
