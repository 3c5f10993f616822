"""The table of docs/victims.md."""

from __future__ import annotations

import pytest

from posebench.benchmark.reports.victims_table import counted, victims_table
from posebench.victims import VICTIMS


@pytest.mark.parametrize(("name", "operations"), [("npt", 83e9), ("gct", 632e9)])
def test_arithmetic_is_less_than_that_of_the_released_networks(
    name: str, operations: float
) -> None:
    """Counted on their convolutions and products; ours multiplies matrices first."""
    assert 0.5 * operations < counted(name)[1] < 0.95 * operations


def test_every_built_in_victim_has_its_row() -> None:
    rows = victims_table()[2:]
    for name, row in zip(VICTIMS.about, rows, strict=True):
        spec = VICTIMS[name].spec
        assert row.startswith(
            f"| {spec.title} (`{name}`) | {spec.paper} | {spec.code} | {spec.way} |"
        )
        assert "-" not in (spec.code, spec.way)
