"""The paper's own numbers, from ``reported.toml``: quoted, never measured."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files

Reported = dict[str, tuple[float, ...]]


@lru_cache
def reported(table: str) -> Reported:
    """Row -> numbers of one of the paper's tables, such as "table_1"."""
    text = files("posebench.benchmark.reports").joinpath("reported.toml").read_text("utf-8")
    rows = tomllib.loads(text)[table]
    return {row: tuple(values) for row, values in rows.items() if row != "what"}
