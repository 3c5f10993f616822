"""Bootstrap intervals against numpy and against redrawing by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posebench.benchmark.stats.bootstrap import (
    ENDS,
    MEAN_DRAWS,
    RATE_DRAWS,
    mean_interval,
    quantiles,
    redraws,
    summarise,
)
from posebench.benchmark.stats.success import success_intervals, success_rates

NUMBERS = st.floats(-1e6, 1e6) | st.just(math.nan)


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.lists(st.floats(0, 1), min_size=1))
def test_quantiles_are_numpys_to_the_bit(values: list[float], shares: list[float]) -> None:
    expected = np.quantile(np.array(values), shares)
    assert np.array_equal(quantiles(np.array(values), shares), expected, equal_nan=True)


@pytest.mark.parametrize("size", [None, 5, 40])
def test_intervals_are_those_of_sets_redrawn_one_by_one(size: int | None) -> None:
    rng = np.random.default_rng(0)
    clean, attacked, noise = rng.lognormal(-7, 1, (3, 17))
    picks, often = redraws(17, MEAN_DRAWS, size or 17)
    assert (often.sum(axis=1) == (size or 17)).all()
    by_hand = np.quantile([attacked[pick].mean() for pick in picks], ENDS)
    assert mean_interval(attacked, size) == pytest.approx(tuple(by_hand))
    drawn = [
        success_rates(clean[pick], attacked[pick], noise[pick])
        for pick in redraws(17, RATE_DRAWS, size or 17)[0]
    ]
    found = success_intervals(clean, attacked, noise, size)
    assert found.keys() == drawn[0].keys()
    for name, ends in found.items():
        values = [rates[name] for rates in drawn if not math.isnan(rates[name])]
        assert ends == pytest.approx(tuple(np.quantile(values, ENDS))), name


def test_an_undefined_value_leaves_no_aggregate_and_no_interval_of_the_ratio() -> None:
    values = np.array([1.0, math.nan, 2.0])
    found = summarise(values)
    assert np.isnan([found.mean, *found.ci95, found.median, found.p95, found.worst]).all()
    ones = np.ones(3)
    assert np.isnan(success_intervals(ones, values, ones)["gain_over_noise"]).all()
