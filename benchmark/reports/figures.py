"""Figures for papers: Table 2 as bars, and heat maps of perturbations on the body.

Colours are Okabe and Ito's, or viridis: both are told apart by colour-blind readers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posebench.benchmark.data.body import TEST_IDENTITIES, load_body
from posebench.benchmark.records.types import AttackCell, Cell, Record, Weights
from posebench.benchmark.reports.curves import OKABE_ITO, budgets
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.reports.paper import TABLE_1
from posebench.benchmark.reports.pictures import Panel, draw_rows, window_of
from posebench.benchmark.reports.selection import shipped_plain
from posebench.benchmark.reports.shipped import victim_label
from posebench.benchmark.stats.bootstrap import Column
from posebench.errors import InputError
from posebench.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sweeps_of_records(
    records: Iterable[Record], *, task: str, attack: str, victims: Sequence[str] | None = None
) -> dict[str, list[Record]]:
    """Label -> records that differ in eps alone, in its order: at least two, without a defence.

    Raises:
        InputError: if there is no such sweep.
    """
    groups: dict[Cell, list[Record]] = {}
    for record in records:
        cell = record.cell
        if cell.attack is None or cell.defense is not None:
            continue
        if (cell.task, cell.attack.name) != (task, attack):
            continue
        if not victims or cell.victim in victims:
            groups.setdefault(_family(cell, cell.attack), []).append(record)
    found: dict[str, list[Record]] = {}
    for family, group in groups.items():
        if len(group) > 1 and family.attack is not None:
            label = f"{victim_label(group[0].cell)}, {family.weights.training} training"
            if label in found:
                label += f" ({family.attack.norm}, {family.samples} pairs, seed {family.seed})"
            found[label] = sorted(group, key=lambda each: budgets([each]))
    if not found:
        raise InputError(
            f"no records of {attack} on {task} that differ in eps alone; make some with "
            "'posebench run --eps 0:0.16:9'"
        )
    return found


def _family(cell: Cell, attack: AttackCell) -> Cell:
    """What the cells of a sweep share; of weights their sha256, since recipes cannot be hashed."""
    settings = attack.settings.replace(f"eps={attack.eps!r}", "eps=")
    return replace(
        cell,
        attack=replace(attack, settings=settings, eps=0.0, warm_from=None),
        weights=Weights(training=cell.weights.training, sha256=cell.weights.sha256),
        fingerprint=None,
    )


def bars_of(
    records: Iterable[Record], *, task: str, attack: str, eps: float, every: bool = False
) -> dict[str, dict[str, Record]]:
    """Victim -> training -> the record of most pairs under this attack in L2, without a defence.

    Of shipped weights of size compact with training seed 0 alone, unless ``every``: then weights
    that differ are victims of their own.

    Raises:
        InputError: if there is no such record.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        cell = record.cell
        if cell.attack is None or (cell.attack.norm, cell.attack.unit) != ("l2", "rms"):
            continue
        if (cell.task, cell.attack.name, cell.attack.eps) != (task, attack, eps):
            continue
        plain = cell.defense is None and cell.access.kind == "oblivious"
        if not (plain if every else shipped_plain(record)):
            continue
        by_training = found.setdefault(victim_label(cell) if every else cell.victim, {})
        last = by_training.get(cell.weights.training)
        if last is None or last.cell.samples < cell.samples:
            by_training[cell.weights.training] = record
    if not found:
        hint = "" if every else "; --every takes those of other weights, too"
        raise InputError(f"no records of {attack} at eps {eps:g} on {task} without a defence{hint}")
    order = [*TABLE_1, *sorted(found.keys() - TABLE_1.keys())]
    return {label: found[label] for label in order if label in found}


def bar_heights(by_training: Mapping[str, Record], training: str) -> tuple[float, float, float]:
    """Attacked PMD x1e-4 and how far its 95 % interval reaches down and up; NaN where undefined."""
    record = by_training.get(training)
    if record is None or math.isnan(record.metrics.pmd.mean):
        return math.nan, 0.0, 0.0
    mean, (low, high) = record.metrics.pmd.mean, record.metrics.pmd.ci95
    return UNIT * mean, UNIT * (mean - low), UNIT * (high - mean)


def draw_bars(found: Mapping[str, Mapping[str, Record]], path: Path) -> None:
    """One bar per victim and training: attacked PMD with its interval, clean PMD as a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    trainings = sorted({t for by in found.values() for t in by}, key=lambda t: (t != "clean", t))
    width = 0.8 / len(trainings)
    figure, axes = plt.subplots(figsize=(max(4.5, 1.4 * len(found)), 3.4), layout="constrained")
    for number, training in enumerate(trainings):
        at = np.arange(len(found)) + width * (number - (len(trainings) - 1) / 2)
        heights, below, above = np.array([bar_heights(by, training) for by in found.values()]).T
        axes.bar(
            at, heights, 0.92 * width, yerr=[below, above], capsize=3,
            color=OKABE_ITO[number % len(OKABE_ITO)], hatch=("", "//", "..", "xx")[number % 4],
            edgecolor="white", ecolor="black", label=f"{training} training",
        )  # fmt: skip
        lines = [by[training].metrics.clean_pmd.mean * UNIT if training in by else math.nan
                 for by in found.values()]  # fmt: skip
        axes.hlines(lines, at - width / 2, at + width / 2, colors="black", linewidth=1.4)
    axes.plot([], [], color="black", linewidth=1.4, label="clean PMD")
    axes.set_xticks(range(len(found)), list(found))
    axes.set(ylabel="PMD x1e-4", yscale="log")
    cell = next(iter(next(iter(found.values())).values())).cell
    if cell.attack is not None:
        axes.set_title(f"{cell.task}, {cell.attack.name} {cell.attack.eps:g} m RMS", fontsize=10)
    axes.legend(fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as its file's ending says, and forget it."""
    import matplotlib.pyplot as plt

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format=path.suffix[1:])
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def heat_panels(moved: Column, title: str) -> list[Panel]:
    """The body at rest from the front and from behind, coloured by (V,) metres."""
    body = load_body(len(moved))
    points = body.rest[TEST_IDENTITIES[0]].numpy()
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    faces, values = body.faces.numpy(), moved.astype(np.float32)
    turned = points * np.array([-1, 1, -1], dtype=np.float32)
    return [
        Panel(points, faces, values, f"{title}, front"),
        Panel(turned, faces, values, f"{title}, back"),
    ]


def draw_heat(rows: Sequence[tuple[str, list[Panel]]], path: Path, *, attack: str) -> None:
    """Rows of heat panels; the scale ends where 98 % of all vertices do."""
    values = [panel.values for _, panels in rows for panel in panels if panel.values is not None]
    end = float(np.quantile(np.concatenate(values), 0.98))
    if not end > 0:
        raise InputError("the attack moved nothing, so there is no heat to draw")
    draw_rows(
        rows,
        path,
        window=window_of([panel for _, panels in rows for panel in panels]),
        full_scale=end,
        values=f"mean displacement under {attack}, cm",
        dpi=150,
    )
