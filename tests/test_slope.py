"""What twice the steps would bring, from curves whose law is known."""

from __future__ import annotations

import pytest

from posebench.benchmark.training.slope import slope_of


def test_a_power_of_the_steps_is_found_in_the_part_before_the_rate_falls() -> None:
    first, last = 1000, 5000
    curve = [(first + k, 3 * k**-0.5 * (1.0 if k <= 3000 else 0.5)) for k in range(100, 4001, 100)]
    slope = slope_of(curve, first, last, decay=0.25)
    assert slope is not None
    assert slope.exponent == pytest.approx(0.5)
    assert slope.doubled == pytest.approx(0.5**0.5)
    # The first eighth is steeper than any power and must not matter.
    steep = [(step, loss * (100 if step < first + 375 else 1)) for step, loss in curve]
    assert slope_of(steep, first, last, decay=0.25) == slope


def test_no_slope_without_enough_at_the_full_rate() -> None:
    curve = [(k, 1 / k) for k in range(1, 1001, 10)]
    assert slope_of(curve, 0, 1000, decay=1.0) is None
    assert slope_of(curve[:4], 0, 1000, decay=0.25) is None
    assert slope_of([(k, float("nan")) for k, _ in curve], 0, 1000, decay=0.25) is None
