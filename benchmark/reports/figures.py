"""Figures for papers: Table 2 as bars, and heat maps of perturbations on the body.

Colours are Okabe and Ito's, or viridis: both are told apart by colour-blind readers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.data.body import TEST_IDENTITIES, load_body
from posebench.benchmark.records.store import Record, read_records
from posebench.benchmark.reports.curves import OKABE_ITO
from posebench.benchmark.reports.paper import TABLE_1, shipped_fingerprints, victim_label
from posebench.benchmark.reports.pictures import Panel, draw_rows, window_of
from posebench.errors import InputError
from posebench.files import write_atomically

ENDINGS = (".png", ".pdf")


def check_ending(path: Path) -> None:
    """Raise InputError unless the path ends in .png or .pdf."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: must end in {' or '.join(ENDINGS)}")


def records_below(folder: Path) -> list[Record]:
    """All records below a folder.

    Raises:
        InputError: if there are none, or one is not valid.
    """
    records = read_records(folder) if folder.is_dir() else []
    if not records:
        raise InputError(
            f"{folder}: holds no records; make some with 'posebench run --out {folder}'"
        )
    return records


def sweeps_of_records(
    records: Sequence[Record], *, task: str, attack: str, victims: Sequence[str] | None = None
) -> dict[str, list[Record]]:
    """Label -> records that differ in eps alone, in its order: at least two, without a defence.

    Raises:
        InputError: if there is no such sweep.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    same = ("victim", "training", "weights_sha256", "norm", "eps_unit", "samples", "access", "seed")
    for record in records:
        cell = record["cell"]
        if (cell["task"], cell["attack"], cell["defense"]) != (task, attack, None):
            continue
        if victims and cell["victim"] not in victims:
            continue
        shape = cell["attack_settings"].partition(" warm from")[0]
        settings = shape.replace(f"eps={cell['eps']!r}", "eps=")
        groups.setdefault((*(cell[key] for key in same), settings), []).append(record)
    found: dict[str, list[Record]] = {}
    for group in groups.values():
        if len(group) > 1:
            cell = group[0]["cell"]
            label = f"{victim_label(cell)}, {cell['training']} training"
            if label in found:
                label += f" ({cell['norm']}, {cell['samples']} pairs, seed {cell['seed']})"
            found[label] = sorted(group, key=lambda record: record["cell"]["eps"])
    if not found:
        raise InputError(
            f"no records of {attack} on {task} that differ in eps alone; make some with "
            "'posebench run --eps 0:0.16:9'"
        )
    return found


def bars_of(
    records: Sequence[Record], *, task: str, attack: str, eps: float, every: bool = False
) -> dict[str, dict[str, Record]]:
    """Victim -> training -> the record of most pairs under this attack, without a defence.

    Of shipped weights with training seed 0 alone, unless ``every``: then weights that differ are
    victims of their own.

    Raises:
        InputError: if there is no such record.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        cell = record["cell"]
        same = (cell["task"], cell["attack"], cell["eps"]) == (task, attack, eps)
        if not same or cell["defense"] is not None or cell["eps_unit"] != "rms":
            continue
        shipped, recipe = cell["weights_sha256"] in shipped_fingerprints(), cell["recipe"] or {}
        usual = shipped and recipe.get("seed") == 0 and not recipe.get("surface")
        if not every and not usual:
            continue
        label = victim_label(cell) if every else cell["victim"]
        last = found.setdefault(label, {}).get(cell["training"])
        if last is None or last["cell"]["samples"] < cell["samples"]:
            found[label][cell["training"]] = record
    if not found:
        hint = "" if every else "; --every takes those of other weights, too"
        raise InputError(f"no records of {attack} at eps {eps:g} on {task} without a defence{hint}")
    order = [*TABLE_1, *sorted(found.keys() - TABLE_1.keys())]
    return {label: found[label] for label in order if label in found}


def bar_heights(by_training: Mapping[str, Record], training: str) -> tuple[float, float, float]:
    """Attacked PMD x1e-4 and how far its 95 % interval reaches down and up; NaN where undefined."""
    summary = by_training[training]["metrics"]["pmd"] if training in by_training else None
    if summary is None or summary["mean"] is None:
        return float("nan"), 0.0, 0.0
    mean, (low, high) = summary["mean"], summary["ci95"]
    return 1e4 * mean, 1e4 * (mean - low), 1e4 * (high - mean)


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
        clean = [by[training]["metrics"]["clean_pmd"]["mean"] if training in by else None
                 for by in found.values()]  # fmt: skip
        lines = np.array([np.nan if value is None else 1e4 * value for value in clean])
        axes.hlines(lines, at - width / 2, at + width / 2, colors="black", linewidth=1.4)
    axes.plot([], [], color="black", linewidth=1.4, label="clean PMD")
    cell = next(iter(next(iter(found.values())).values()))["cell"]
    axes.set_xticks(range(len(found)), list(found))
    axes.set(ylabel="PMD x1e-4", yscale="log")
    axes.set_title(f"{cell['task']}, {cell['attack']} {cell['eps']:g} m RMS", fontsize=10)
    axes.legend(fontsize=8)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as its file's ending says, and forget it."""
    import matplotlib.pyplot as plt

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format=path.suffix[1:])
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def heat_panels(moved: NDArray[np.float64], title: str) -> list[Panel]:
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
