"""Bootstrap intervals over pairs: the one place that redraws (Efron 1979, percentile method).

A redraw of n pairs is a column of counts: how often each pair was picked. The mean of a redrawn
set is then a product of counts and values, so all redraws of all columns cost one product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from posebench.fields import STRICT, Interval, Number, Series

Column = NDArray[np.float64]

ENDS = (0.025, 0.975)
"""Quantiles of redraws that end a 95 % interval."""

MEAN_DRAWS = 2000
RATE_DRAWS = 500
"""Redraws for a mean, and for a rate or a median, which are shown with fewer digits."""


@lru_cache(maxsize=32)
def redraws(count: int, draws: int, size: int) -> tuple[NDArray[np.int64], Column]:
    """What the bootstrap picks, (draws, size), and how often it picks each of ``count`` pairs.

    Returns:
        Indices (draws, size) and counts (draws, count), from seed 0, so that equal data give
        equal intervals.
    """
    picks = np.random.default_rng(0).integers(count, size=(draws, size))
    often = np.zeros((draws, count))
    np.add.at(often, (np.arange(draws)[:, None], picks), 1)
    return picks, often


def quantiles(values: Column, shares: Sequence[float]) -> list[float]:
    """``np.quantile`` of values (d,) to the bit; NaN if one is.

    numpy sorts several times faster than it partitions, which is what its quantile does, and
    reading records checks millions of intervals.
    """
    ordered = np.sort(values)
    last = len(ordered) - 1
    found = []
    for share in shares:
        place = share * last
        below = min(math.floor(place), last)
        low, high = float(ordered[below]), float(ordered[min(below + 1, last)])
        weight, step = place - below, high - low
        found.append(low + step * weight if weight < 0.5 else high - step * (1 - weight))
    return [math.nan] * len(found) if math.isnan(ordered[-1]) else found


def mean_interval(values: Column, size: int | None = None) -> tuple[float, float]:
    """95 % interval of the mean of values (n,); ``size`` asks for that of so many pairs' mean."""
    size = size or len(values)
    return interval_of(redraws(len(values), MEAN_DRAWS, size)[1] @ values / size)


def interval_of(redrawn: Column) -> tuple[float, float]:
    """95 % interval of a statistic from its values on redrawn sets (d,); NaN if there are none."""
    if not len(redrawn):
        return math.nan, math.nan
    low, high = quantiles(redrawn, ENDS)
    return low, high


@dataclass(frozen=True)
class Summary:
    """One value a pair, and what follows from them."""

    __pydantic_config__ = STRICT

    mean: Number
    """Over pairs; NaN, as all aggregates, if any value is undefined."""
    ci95: Interval
    """95 % bootstrap interval of the mean over pairs."""
    median: Number
    """Over pairs."""
    p95: Number
    """95 % quantile over pairs."""
    worst: Number
    """Largest over pairs."""
    per_sample: Series
    """One value a pair, in their order; NaN where undefined."""

    @property
    def values(self) -> Column:
        """``per_sample`` as an array (n,)."""
        return np.array(self.per_sample, dtype=np.float64)


def summarise(values: Column, size: int | None = None) -> Summary:
    """Aggregates of values (n,), one a pair; ``size`` as in :func:`mean_interval`."""
    listed = tuple(values.tolist())
    if not np.isfinite(values).all():
        nan = float("nan")
        return Summary(nan, (nan, nan), nan, nan, nan, listed)
    median, p95 = quantiles(values, (0.5, 0.95))
    return Summary(
        mean=float(values.mean()),
        ci95=mean_interval(values, size),
        median=median,
        p95=p95,
        worst=float(values.max()),
        per_sample=listed,
    )


def ratio_interval(before: Column, after: Column) -> tuple[float, float, float]:
    """mean(before) / mean(after) of the same pairs (n,) and its 95 % interval over them."""
    pairs = np.stack([before, after])
    picks, _ = redraws(len(before), MEAN_DRAWS, len(before))
    drawn = pairs[:, picks].mean(axis=2)
    low, high = interval_of(drawn[0] / drawn[1])
    return float(pairs[0].mean() / pairs[1].mean()), low, high
