"""A record as a few lines of text, and as a small table in a notebook."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.benchmark.records.types import Record
    from posebench.benchmark.stats.bootstrap import Summary


def record_rows(record: Record) -> list[tuple[str, str]]:
    """What a reader asks first: which victim, on what, how good, how good under attack."""
    cell, metrics = record.cell, record.metrics
    weights = ", ".join(part for part in (cell.weights.size, cell.weights.training) if part)
    rows = [
        ("victim", f"{cell.victim} ({weights})"),
        ("pairs", f"{cell.samples} of {cell.task}, {cell.vertices} vertices"),
    ]
    if cell.defense is not None:
        rows.append(("defence", f"{cell.defense.settings}, access {cell.access}"))
    if metrics.truth:
        rows.append(("clean PMD x1e-4", _shown(metrics.clean_pmd)))
    if cell.attack is not None and metrics.attack is not None:
        attack = cell.attack
        rows.append(("attack", f"{attack.name} {attack.eps:g} {attack.unit} ({attack.norm})"))
        if metrics.truth:
            rows.append(("attacked PMD x1e-4", _shown(metrics.pmd)))
        else:
            rows.append(("output moved, PMD x1e-4", _shown(metrics.attacked["displacement"])))
        rows.append(("random noise of that size", _shown(metrics.attack.noise_pmd)))
    if cell.precision != "float32":
        rows.append(("attacked in", cell.precision))
    easiest = min(metrics.trivial, key=metrics.trivial.__getitem__, default=None)
    if easiest is not None:
        rows.append(("without any skill", f"{metrics.trivial[easiest] * 1e4:.1f} ({easiest})"))
    if not metrics.truth:
        rows.append(("truth", "none, so no error; see docs/own-data.md"))
    rows.append(("flags", ", ".join(record.flags) or "none"))
    return rows


def record_text(record: Record) -> str:
    """Rows as lines, the first column aligned."""
    rows = record_rows(record)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def record_html(record: Record) -> str:
    """Rows as a table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in record_rows(record)
    )
    return f"<table>{rows}</table>"


def _shown(summary: Summary) -> str:
    if math.isnan(summary.mean):
        return "undefined"
    low, high = summary.ci95
    return f"{summary.mean * 1e4:.1f} [{low * 1e4:.1f}, {high * 1e4:.1f}]"
