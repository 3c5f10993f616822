"""The leaderboard in Markdown: tables by task and attack, and the README's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from posebench.benchmark.records.store import record_path
from posebench.benchmark.records.types import Access, Cell, Record
from posebench.benchmark.reports.markdown import NOTHING, attacked, baselines, interval, table
from posebench.benchmark.reports.metric_order import order_lines, turned
from posebench.benchmark.reports.selection import (
    FGM_08,
    WORST,
    find,
    of_its_size,
    shipped_plain,
    weights_of,
)
from posebench.benchmark.reports.shipped import victim_label, weights_names
from posebench.threats import HEADLINE

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Marks of flags; there are fewer flags than letters."""

FIRST_LINES = [
    "# Leaderboards",
    "",
    "Generated from `leaderboards/records` by `posebench report`; do not edit. PMD x1e-4, mean",
    "with its 95 % bootstrap interval over pairs; lower is better.",
]


@dataclass(frozen=True)
class Heading:
    """What all records of one table share.

    Attributes:
        task: data set and split.
        attack: name, budget, unit and norm as words; "clean" for none.
        defense: registry name; None without.
        access: what the attack sees.
        samples: pairs.
        size: of the victim.
        vertices: of the meshes where a size has another number; else None.
    """

    task: str
    attack: str
    defense: str | None
    access: Access
    samples: int
    size: str | None
    vertices: int | None

    @property
    def title(self) -> str:
        """The words above the table; an attack made on a surrogate names it."""
        if self.defense is not None:
            return f"{self.task}, {self.attack}, {self.defense} ({self.access})"
        if self.access.kind == "oblivious":
            return f"{self.task}, {self.attack}"
        return f"{self.task}, {self.attack}, {self.access}"

    @property
    def details(self) -> str:
        """The line below the title; of a surrogate's weights, where a record names them."""
        text = f"{self.samples} pairs, size {self.size}"
        text += "" if self.vertices is None else f", {self.vertices:,} vertices"
        sha256 = self.access.surrogate_sha256
        if sha256 is not None:
            text += f", surrogate weights {weights_names().get(sha256, sha256[:12])}"
        return f"{text}."


def heading_of(cell: Cell) -> Heading:
    """The table that a cell belongs into."""
    attack = "clean"
    if cell.attack is not None:
        what = cell.attack
        attack = f"{what.name} {what.eps:g} {what.unit} ({what.norm})"
        attack += f" version {what.version}" if what.version > 1 else ""
        attack += ", after the best translation" if what.metric == "pmd_aligned" else ""
    defense = None if cell.defense is None else cell.defense.name
    size = cell.weights.size
    vertices = None if of_its_size(cell) else cell.vertices
    return Heading(cell.task, attack, defense, cell.access, cell.samples, size, vertices)


def markdown_text(records: Iterable[Record]) -> str:
    """Tables by task and attack; victims in rows, trainings in columns; PMD x 1e-4."""
    groups: dict[Heading, list[Record]] = {}
    distorted = []
    for record in records:
        cell = record.cell
        if "@" in cell.task and cell.attack is None and cell.defense is None:
            distorted.append(record)
        else:
            groups.setdefault(heading_of(cell), []).append(record)
    lines = list(FIRST_LINES)
    for heading, group in groups.items():
        lines += group_lines(heading, group)
    lines += distorted_lines(distorted)
    return "\n".join(lines) + "\n"


def group_lines(heading: Heading, group: list[Record]) -> list[str]:
    """One table with its title, the most robust victim first."""
    found = {record.cell.weights.training for record in group}
    trainings = sorted(found, key=lambda training: (training != "clean", training))
    notes: list[str] = []
    by_victim: dict[str, dict[str, Record]] = {}
    for each in group:
        label, training = victim_label(each.cell), each.cell.weights.training
        if training in by_victim.get(label, {}):  # another seed, other weights, ...
            label = numbered(label, each)
        by_victim.setdefault(label, {})[training] = each
    rows = []
    for victim in sorted(by_victim, key=lambda victim: best(by_victim[victim].values())):
        cells = [by_victim[victim].get(training) for training in trainings]
        rows.append([victim, *(flagged(record, notes) for record in cells)])
    lines = ["", f"## {heading.title}", "", heading.details, ""]
    lines += table(["victim", *(f"{training} training" for training in trainings)], rows)
    lines += ["", f"Without any skill: {baselines(group[0])}."]
    return lines + footnotes(notes)


def distorted_lines(records: list[Record]) -> list[str]:
    """One table of all distorted pose sources: they are many, and without attack or defence."""
    if not records:
        return []
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    notes: list[str] = []
    for each in records:
        cell = each.cell
        where = (cell.task, str(cell.samples), str(cell.weights.size))
        label = f"{victim_label(cell)}, {cell.weights.training}"
        if label in found.get(where, {}):  # another seed, other weights, ...
            label = numbered(label, each)
        found.setdefault(where, {})[label] = flagged(each, notes)
    labels = sorted({label for row in found.values() for label in row})
    rows = [[*where, *(row.get(each, NOTHING) for each in labels)] for where, row in found.items()]
    lines = ["", "## Scans, noise and corruptions", ""]
    lines += table(["pose source", "pairs", "size", *labels], rows)
    return lines + footnotes(notes)


def numbered(label: str, record: Record) -> str:
    """A label told from an equal one by the end of the record's file name."""
    return f"{label} (record {record_path(Path(), record).stem[-10:]})"


def best(records: Iterable[Record]) -> float:
    """The lowest defined mean; infinity if there is none."""
    means = (record.metrics.attacked[metric_of(record)].mean for record in records)
    return min((mean for mean in means if not math.isnan(mean)), default=math.inf)


def metric_of(record: Record) -> str:
    """What a record is judged by."""
    return "pmd" if record.cell.attack is None else record.cell.attack.metric


def flagged(record: Record | None, notes: list[str]) -> str:
    """PMD with letters for its flags, which are appended to ``notes``."""
    if record is None:
        return NOTHING
    notes += [flag for flag in record.flags if flag not in notes]
    marks = ",".join(sorted(LETTERS[notes.index(flag)] for flag in record.flags))
    shown = interval(record.metrics.attacked[metric_of(record)])
    return shown + (f" <sup>{marks}</sup>" if marks else "")


def footnotes(notes: list[str]) -> list[str]:
    """What the letters in a table mean."""
    said = ", ".join(f"{letter} {note}" for letter, note in zip(LETTERS, notes, strict=False))
    return ["", f"Flags ([what they mean](../docs/flags.md)): {said}."] if notes else []


def headline(records: Iterable[Record]) -> list[str]:
    """The README's table: every victim's worst cases within 2 and within 5 cm a point, ranked by
    the first; PMD after the best translation. Beside them the paper's column, PMD under FGM 0.08.

    Victims without a worst case come last, by PMD in the paper's ball. Below it stands whether the
    error without centring ranks them alike, and why not.
    """
    head = ["victim", "training", "clean", "worst within 2 cm", "worst within 5 cm", "pairs"]
    head += ["random noise of 2 cm", "PMD clean", "PMD under FGM 0.08"]
    plain = [record for record in records if shipped_plain(record)]
    rows, worst = [], {}
    for victim, training in weights_of(plain):
        who = {"victim": victim, "training": training, "task": "anny/seen"}
        single = find(plain, FGM_08, **who)
        near, far = (find(plain, WORST[name], **who) for name in HEADLINE)
        paper = find(plain, WORST["paper-l2-0.08"], **who)
        if single is None and near is None:
            continue
        row = [victim, training, NOTHING, judged(near), judged(far), NOTHING, NOTHING]
        if near is not None and near.metrics.attack is not None:
            row[2] = interval(near.metrics.clean["pmd_aligned"])
            row[5] = str(near.cell.samples)
            row[6] = interval(near.metrics.attack.noise_pmd).partition(" ")[0]
        row += [NOTHING if single is None else interval(single.metrics.clean_pmd), attacked(single)]
        rank = [best([each] if each else []) for each in (near, paper, single)]
        rows.append((rank, row))
        if near is not None:
            worst[f"{victim} {training}"] = near
    moved = {name for each in turned(worst) for name in (each.first, each.second)}
    for _, row in rows:
        row[3] += " <sup>u</sup>" if f"{row[0]} {row[1]}" in moved else ""
    return table(head, [row for _, row in sorted(rows)]) + order_lines(worst)


def judged(record: Record | None) -> str:
    """What a cell is judged by, with its interval."""
    return NOTHING if record is None else interval(record.metrics.attacked[metric_of(record)])
