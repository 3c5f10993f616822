"""Statistics over pairs: rates against a plain loop, intervals against redrawing one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posebench.benchmark.stats.bootstrap import (
    MEAN_DRAWS,
    RATE_DRAWS,
    mean_interval,
    redraws,
    summarise,
)
from posebench.benchmark.stats.success import (
    KAPPAS,
    RELATIVE_FLOOR,
    TAU,
    success_intervals,
    success_rates,
)


def plain_rates(
    clean: list[float], attacked: list[float], noise: list[float], tau: float
) -> dict[str, float]:
    good = failed = kept = 0
    relative = dict.fromkeys(KAPPAS, 0)
    gains = []
    for c, a, n in zip(clean, attacked, noise, strict=True):
        if c <= tau:
            good += 1
            failed += a > tau
            kept += a <= tau
        for kappa in KAPPAS:
            relative[kappa] += a >= kappa * max(c, RELATIVE_FLOOR)
        gains.append(a / n)
    count, middle = len(clean), sorted(gains)
    half = count // 2
    median = middle[half] if count % 2 else (middle[half - 1] + middle[half]) / 2
    return {
        "clean_fail": (count - good) / count,
        "asr@tau": failed / good if good else math.nan,
        "robust_rate": kept / count,
        **{f"asr_rel@{kappa:g}": share / count for kappa, share in relative.items()},
        "gain_over_noise": median,
    }


positive = st.floats(1e-6, 1e-1)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=9))
def test_success_rates_against_plain_loop(rows: list[tuple[float, float, float]]) -> None:
    clean, attacked, noise = (list(column) for column in zip(*rows, strict=True))
    ours = success_rates(np.array(clean), np.array(attacked), np.array(noise))
    expected = plain_rates(clean, attacked, noise, TAU)
    assert ours == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_success_rates_at_the_thresholds_and_without_good_samples() -> None:
    at = np.array([TAU])
    edge = success_rates(at, at, at)
    assert (edge["clean_fail"], edge["asr@tau"], edge["robust_rate"]) == (0, 0, 1)
    assert edge["gain_over_noise"] == 1
    floor = np.array([2 * RELATIVE_FLOOR])
    assert success_rates(np.zeros(1), floor, floor)["asr_rel@2"] == 1
    bad = success_rates(np.array([0.1, 0.2]), np.array([0.1, 2.0]), np.array([0.1, 0.2]))
    assert math.isnan(bad["asr@tau"])
    assert (bad["clean_fail"], bad["robust_rate"], bad["asr_rel@10"]) == (1, 0, 0.5)
    assert bad["gain_over_noise"] == 5.5


def test_mean_interval_covers_the_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = mean_interval(rng.exponential(1, 60))
        hits += low <= 1.0 <= high
    assert 176 <= hits <= 198


def test_mean_interval_has_the_width_of_the_normal_one_and_shrinks() -> None:
    values = np.random.default_rng(1).standard_normal(1600)
    widths = []
    for count in (100, 1600):
        part = values[:count]
        low, high = mean_interval(part)
        assert low < part.mean() < high
        widths.append(high - low)
        expected = 2 * 1.96 * part.std() / math.sqrt(count)
        assert high - low == pytest.approx(expected, rel=0.1)
    assert mean_interval(np.full(5, 2.5)) == (2.5, 2.5)
    assert widths[1] < widths[0] / 3


def test_summary_fields_and_nan() -> None:
    values = np.arange(1.0, 102.0)
    summary = summarise(values)
    assert (summary.mean, summary.median, summary.p95, summary.worst) == (51, 51, 96, 101)
    assert summary.ci95 == mean_interval(values)
    broken = summarise(np.array([1.0, math.nan]))
    assert all(
        math.isnan(v) for v in (broken.mean, broken.median, broken.p95, broken.worst, *broken.ci95)
    )


@pytest.mark.parametrize("count", [1, 2, 33])
def test_intervals_are_those_of_sets_redrawn_one_by_one(count: int) -> None:
    """An independent account: the statistics themselves on each redrawn set."""
    clean, attacked, noise = np.random.default_rng(1).lognormal(-7, 1, (3, count))
    means = [float(attacked[pick].mean()) for pick in redraws(count, MEAN_DRAWS, count)[0]]
    assert mean_interval(attacked) == pytest.approx(np.quantile(means, [0.025, 0.975]))
    found: dict[str, list[float]] = {}
    for pick in redraws(count, RATE_DRAWS, count)[0]:
        for name, value in success_rates(clean[pick], attacked[pick], noise[pick]).items():
            found.setdefault(name, []).append(value)
    intervals = success_intervals(clean, attacked, noise)
    assert intervals.keys() == found.keys()
    for name, values in found.items():
        defined = np.array(values)[np.isfinite(values)]
        ends = np.quantile(defined, [0.025, 0.975]) if len(defined) else [math.nan] * 2
        assert intervals[name] == pytest.approx(ends, nan_ok=True), name
