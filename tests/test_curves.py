"""Robustness curves: ranges, the area, sweeps that cannot fall, the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.attacks import FGM, IFGM
from posebench.benchmark.evaluation.harness import evaluate, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.evaluation.settings import eps_values
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.curves import curve_area, draw_curves
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims import load_network
from tests.made_records import made


def test_ranges() -> None:
    assert eps_values("0.08") == (0.08,)
    assert eps_values("0:0.16:9") == pytest.approx(tuple(0.02 * i for i in range(9)))
    for text in ("", "a", "0:1", "0:1:x", "0:1:1", "0:1:101", "1:0:3", "0:nan:3", "0:inf:3", ":::"):
        with pytest.raises(InputError, match="low:high:count"):
            eps_values(text)


def point(eps: float, mean: float) -> Record:
    return made(eps=eps, pmd=(mean,) * 2)


def test_area_is_the_mean_height_over_the_range() -> None:
    assert curve_area([point(e, 3.0) for e in (0.0, 0.1, 0.5)]) == pytest.approx(3.0)
    assert curve_area([point(e, 2 * e) for e in (0.0, 0.1, 0.5)]) == pytest.approx(0.5)
    assert curve_area([point(0.1, 3.0)]) is None
    assert curve_area([point(0.0, 1.0), point(0.1, float("nan"))]) is None


@pytest.mark.parametrize("victim", ["npt", "npt-mp"])
def test_sweeps_rise_sample_by_sample_and_start_at_the_clean_bits(
    victim: str, tmp_path: Path
) -> None:
    network, _ = load_network(victim)
    settings: dict[str, Any] = {"samples": 6, "vertices": 800}
    # One step of I-FGM overshoots at large budgets, so without the warm start this curve falls.
    budgets = [Budget(eps) for eps in (0.0, 0.05, 0.4, 3.0)]
    attacks = tuple(IFGM(budget, iterations=1) for budget in budgets)
    records = evaluate_all(Evaluation(network, attacks, **settings))
    curves = np.array([record.metrics.attacked["pmd_uncentred"].values for record in records])
    pmd = np.array([record.metrics.pmd.values for record in records])
    assert (np.diff(pmd, axis=0) >= 0).all(), curves
    assert tuple(pmd[0]) == records[0].metrics.clean_pmd.per_sample
    alone = [evaluate(network, attack=IFGM(b, iterations=1), **settings) for b in budgets]
    assert alone[0] == records[0]
    for one, swept in zip(alone[1:], records[1:], strict=True):
        assert (swept.metrics.pmd.values >= one.metrics.pmd.values).all()
        assert swept.cell.attack is not None
        assert swept.cell.attack.warm_from is not None
    assert len({str(record.cell) for record in records}) == 4
    draw_curves({"a": records, "b": records}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_cost_of_a_warm_start_is_counted() -> None:
    network, _ = load_network("npt-mp")
    attacks = tuple(FGM(Budget(eps)) for eps in (0.01, 0.02))
    records = evaluate_all(Evaluation(network, attacks, samples=1))
    assert [record.cost.forwards for record in records] == [1, 3]


@pytest.mark.parametrize(
    "second", [Budget(0.01), Budget(0.05, norm="linf"), Budget(0.05, unit="total")]
)
def test_budgets_that_do_not_grow_are_refused(second: Budget) -> None:
    """A smaller budget must not inherit a pose from outside its ball."""
    network, _ = load_network("npt-mp")
    with pytest.raises(InputError, match="budgets must grow"):
        evaluate_all(Evaluation(network, (FGM(Budget(0.02)), FGM(second)), samples=1))
