"""How much a measured quantity changed between two runs on the same pairs, and how sure that is.

The unit is the pair: before and after are compared on the same pairs, as a ratio (differences of
logarithms), so hard and easy pairs count alike. Two things vary, and each gives a Student t-test:

* **pairs**: would other pairs show the change too? One difference a pair (of its means over
  seeds), n - 1 degrees of freedom.
* **seeds**: would another draw show it too? The spread of the mean over pairs between the R seeds
  of the earlier run; the difference of K new seeds from R old ones varies by it times
  sqrt(1/K + 1/R), R - 1 degrees of freedom. This one also holds where draws are shared by pairs.

A change counts as sure if both tests say so: p is the larger of the two. See
docs/design/008-regress.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

FLOOR = 1e-12
"""Values below count as this, so that a ratio of perfect results is defined; square metres."""


@dataclass(frozen=True)
class Change:
    """Mean log ratio of a quantity, with a (standard error, degrees of freedom) a test."""

    mean: float
    errors: tuple[tuple[float, int], ...]

    @property
    def ratio(self) -> float:
        """After / before, the geometric mean over pairs."""
        return math.exp(self.mean)

    @cached_property
    def p_lower(self) -> float:
        """Of no decrease, one-sided: small if the quantity surely fell."""
        return max(_tail(self.mean, error, free) for error, free in self.errors)

    @cached_property
    def p_higher(self) -> float:
        """Of no increase, one-sided: small if the quantity surely rose."""
        return max(_tail(-self.mean, error, free) for error, free in self.errors)

    @property
    def p_either(self) -> float:
        """Of no change, two-sided."""
        return min(1.0, 2 * min(self.p_lower, self.p_higher))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the ratio, the wider one of the two tests."""
        from scipy.special import stdtrit

        reach = max(float(stdtrit(free, 0.975)) * error for error, free in self.errors)
        return math.exp(self.mean - reach), math.exp(self.mean + reach)


def change_between(before: Values, after: Values) -> Change:
    """The change from (R, n) to (K, n) values, seeds in rows, the same n pairs in columns.

    One row says that nothing is random; then only pairs vary.

    Raises:
        ValueError: fewer than 2 pairs, or other pairs than before.
    """
    if before.shape[1] != after.shape[1] or before.shape[1] < 2:
        raise ValueError(f"cannot pair {before.shape} with {after.shape}")
    old, new = (np.log(np.maximum(values, FLOOR)) for values in (before, after))
    pairs = new.mean(axis=0) - old.mean(axis=0)
    errors = [(float(pairs.std(ddof=1)) / math.sqrt(len(pairs)), len(pairs) - 1)]
    seeds = len(old)
    if seeds > 1:
        spread = float(old.mean(axis=1).std(ddof=1))
        errors.append((spread * math.sqrt(1 / len(new) + 1 / seeds), seeds - 1))
    return Change(float(pairs.mean()), tuple(errors))


def _tail(mean: float, error: float, free: int) -> float:
    """P(t <= mean / error); without any spread a fall is sure, anything else is not one."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if mean < 0 else 1.0
    return float(stdtr(free, mean / error))


def holm(values: list[float]) -> list[float]:
    """Holm's step-down adjustment: comparing with alpha keeps the family's error below alpha.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted
