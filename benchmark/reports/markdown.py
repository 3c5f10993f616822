"""Rows to Markdown, and how a number is written in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from posebench.benchmark.records.types import Record
from posebench.benchmark.stats.bootstrap import Summary

UNIT = 1e4
"""Square metres to the printed unit."""

NOTHING = "-"
"""In the place of what was not measured."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    lines = [_line(head), "|---" * len(head) + "|"]
    return lines + [_line(row) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def interval(summary: Summary) -> str:
    """Mean with its 95 % interval, x1e-4; "undefined" where the mean is."""
    if math.isnan(summary.mean):
        return "undefined"
    low, high = summary.ci95
    return f"{summary.mean * UNIT:.1f} [{low * UNIT:.1f}, {high * UNIT:.1f}]"


def attacked(record: Record | None) -> str:
    """A record's PMD, clean where nothing attacks; a dash without a record."""
    return NOTHING if record is None else interval(record.metrics.pmd)


def baselines(record: Record) -> str:
    """What answers without any skill score on a record's pairs, x1e-4."""
    trivial = record.metrics.trivial
    return ", ".join(f"{name} {value * UNIT:.1f}" for name, value in trivial.items())
