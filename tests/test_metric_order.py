"""Rows that change places where the error is taken without centring, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.metric_order import OTHER, RANKED, order_lines, turned
from posebench.benchmark.stats.bootstrap import summarise
from tests.made_records import made


def row(aligned: tuple[float, ...], uncentred: tuple[float, ...]) -> Record:
    record = made(pmd=aligned)
    both = {RANKED: np.array(aligned), OTHER: np.array(uncentred)}
    attacked = {name: summarise(values) for name, values in both.items()}
    metrics = replace(record.metrics, attacked={**record.metrics.attacked, **attacked})
    return replace(record, metrics=metrics)


STILL = row((1e-3, 2e-3, 3e-3, 4e-3), (1e-3, 2e-3, 3e-3, 4e-3))


def test_rows_in_the_same_order_are_said_to_be() -> None:
    worse = row((2e-3, 4e-3, 6e-3, 8e-3), (2e-3, 4e-3, 6e-3, 9e-3))
    assert turned({"b": worse, "a": STILL}) == []
    assert order_lines({"b": worse, "a": STILL})[1].endswith("the rows stand in the same order.")
    assert order_lines({"a": STILL}) == []


def test_rows_that_change_places_are_named_with_what_is_sure() -> None:
    shifted = row((0.9e-3, 1.9e-3, 2.9e-3, 4.14e-3), (3e-3, 6e-3, 9e-3, 12e-3))
    (found,) = turned({"still": STILL, "shifted": shifted})
    assert (found.first, found.second, found.sure) == ("shifted", "still", (OTHER,))
    assert found.means[RANKED] == pytest.approx((2.46e-3, 2.5e-3))
    text = order_lines({"still": STILL, "shifted": shifted})[1]
    assert "shifted and still (24.6, 25.0; 75.0, 25.0; sure without)." in text
    assert "None of these differences" not in text


def test_differences_are_tested_on_the_pairs_that_both_rows_have() -> None:
    """The first two pairs differ by chance, the last two would make it sure."""
    one = row((1e-3, 2e-3), (3e-3, 2.2e-3))
    (found,) = turned({"one": one, "still": STILL})
    assert (found.first, found.second, found.sure) == ("one", "still", ())
    assert "None of these differences is sure" in order_lines({"one": one, "still": STILL})[1]
