"""The table of claims: factors from records, verdicts by a rule."""

from __future__ import annotations

import pytest

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.claims import COLUMNS, HELD, claim_table, span, verdict
from posebench.benchmark.reports.reported import reported
from tests.made_records import made
from tests.test_page import SHIPPED

VICTIMS = list(reported("table_2"))


def measured(column: str, factor: float) -> list[Record]:
    """Records of every victim: attacked 40e-4, after adversarial training that over the factor."""
    attack, metric = COLUMNS[column]
    assert attack is not None
    cell = {
        "attack": attack.name, "attack_settings": attack.settings, "eps": attack.eps,
        "norm": attack.norm, "metric": metric, "attack_version": attack.version,
    }  # fmt: skip
    return [
        made(victim=victim, pmd=(value, value), **{**SHIPPED, "training": training}, **cell)
        for victim in VICTIMS
        for training, value in (("clean", 4e-3), ("adversarial", 4e-3 / factor))
    ]


def test_factors_are_ratios_of_means_and_verdicts_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posebench.benchmark.reports.claims.shipped_plain", lambda _: True)
    records = [*measured("PMD, FGM 0.08", 5.0), *measured("worst within 2 cm", 1.1)]
    harm, repair = claim_table(records)[2:]
    assert "| 4.0-4.0 | 4.0-4.0 | - | holds |" in harm, "attacked 40e-4, clean 10e-4"
    assert "| 5.0-5.0 | 1.1-1.1 | - | depends: holds in PMD, FGM 0.08 alone |" in repair
    without = [each for each in records if each.cell.victim != VICTIMS[0]]
    assert claim_table(without)[3].endswith("not measured yet |")
    assert "| 5.0-5.0 (3 of 4) | 1.1-1.1 (3 of 4) | - |" in claim_table(without)[3]


def test_the_rule() -> None:
    low, high = {"a": HELD - 0.1, "b": 9.0}, {"a": HELD, "b": 9.0}
    assert verdict({"x": high, "y": high}, 2) == "holds"
    assert verdict({"x": low, "y": low}, 2) == "does not hold"
    assert verdict({"x": low, "y": high}, 2) == "depends: holds in y alone"
    assert verdict({"x": {"a": 9.0}}, 2) == "not measured yet"
    assert (span([]), span([3.0, 1.0]), span([2.24], 0)) == ("-", "1.0-3.0", "2-2")
