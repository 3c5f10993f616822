"""Numbers and JSON of the leaderboard page."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from posebench.benchmark.records.form import plain
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.stats.bootstrap import Summary

Numbers: TypeAlias = tuple[float, float, float]
"""Mean and both ends of its interval, x1e-4; NaN where undefined, which JSON writes as null."""


def numbers(summary: Summary) -> Numbers:
    """A summary in the printed unit."""
    low, high = summary.ci95
    return summary.mean * UNIT, low * UNIT, high * UNIT


def script_json(value: Any) -> str:
    """JSON of dataclasses that no HTML parser can end early: every < and & is escaped."""
    text = json.dumps(plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
