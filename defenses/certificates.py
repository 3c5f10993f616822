"""What nobody can do to a median of outputs: guaranteed intervals, and the error they allow.

Three guarantees, each a pair (low, high) of (B, N, 3) that holds an output by its coordinates:

* :func:`partition_interval`, deterministic: of m groups j moved points touch at most j, so the
  median of m outputs stays between the j-th order statistics below and above it (after deep
  partition aggregation, arXiv 2006.14768). It holds for the very defence that runs, and for an
  attacker who knows the partition. Points may move anywhere; they may not be added, removed or
  put into another order, which would move other points to other groups.
* :func:`drawn_interval` with :func:`touched_share`, statistical: of all subsets of k of n points a
  share 1 - C(n-j, k) / C(n, k) holds one of j moved points, whichever they are. The median over
  *all* subsets therefore stays between two quantiles of the clean outputs, which draws bound
  with confidence (exact binomial limits, Clopper and Pearson 1934). It is a statement on
  that ideal median, which the median of few draws only approximates.
* :func:`drawn_interval` with :func:`gaussian_share`: the same for noise of deviation sigma and
  poses that move by at most a radius, all coordinates together (median smoothing, Chiang et al.,
  arXiv 2007.03730, lemma 1).

Of the first two the partition's is the simpler and the stronger one for few draws; subsets overlap,
so at equal size fewer of them are touched, but the limits for drawn ones eat that up.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.shapes import Float

Interval = tuple[Tensor, Tensor]

SHIFT_STEPS = 60
"""Of the search for the shift of the certified error; each keeps 2/3 of the range."""


def partition_interval(outputs: Float[Tensor, "m b n 3"], moved: int) -> Interval:
    """Where the median of the groups' outputs lies if ``moved`` points lie anywhere.

    ``outputs`` are those of unmoved points. Infinite where nothing is guaranteed.
    """
    check_moved(moved)
    ordered, middle = outputs.sort(dim=0).values, (len(outputs) - 1) // 2
    if moved == 0:
        return ordered[middle], ordered[middle]
    endless = torch.full_like(ordered[0], math.inf)
    low = ordered[middle - moved] if moved <= middle else -endless
    high = ordered[middle + moved] if middle + moved < len(outputs) else endless
    return low, high


def drawn_interval(
    outputs: Float[Tensor, "m b n 3"], share: float, alpha: float = 1e-3
) -> Interval:
    """Where the ideal median lies if a share of all outputs may be anything.

    ``outputs`` are independent draws on the clean pose. With probability 1 - ``alpha`` over them
    all coordinates of a sample keep their intervals (Bonferroni over both ends of each). Infinite
    where the draws are too few or the share is a half or more.
    """
    from scipy.stats import binom

    if not 0 < alpha < 1:
        raise InputError(f"alpha must be in (0, 1), got {alpha}")
    ordered, m = outputs.sort(dim=0).values, len(outputs)
    each = alpha / (2 * outputs[0, 0].numel())
    # X_(r) lies above the quantile of level q only if fewer than r of m draws do not.
    below = int(binom.ppf(each, m, max(0.0, 0.5 - share)))
    while below and binom.cdf(below - 1, m, max(0.0, 0.5 - share)) > each:
        below -= 1
    endless = torch.full_like(ordered[0], math.inf)
    if not below:
        return -endless, endless
    return ordered[below - 1], ordered[m - below]


def touched_share(points: int, subset: int, moved: int) -> float:
    """Share of all subsets of so many points that hold one of the moved ones: hypergeometric.

    The same whichever points are moved, so no choice of them is better for the attacker.
    """
    check_moved(moved)
    if not 1 <= subset <= points or moved > points:
        raise InputError(f"no subsets of {subset} of {points} points with {moved} moved")
    free = Fraction(math.comb(points - moved, subset), math.comb(points, subset))
    return float(1 - free)


def gaussian_share(radius: float, sigma: float) -> float:
    """By how much a shift of noise by a radius can change the probability of a half, at most."""
    if not (sigma > 0 and radius >= 0):
        raise InputError(f"radius must be >= 0 and sigma positive, got {radius} and {sigma}")
    return 0.5 * math.erf(radius / sigma / math.sqrt(2))


def certified_error(interval: Interval, target: Clouds) -> Float[Tensor, "b"]:
    """The largest error after the best translation that outputs in the interval can have, (B,).

    An upper bound, in square metres: for any one shift s the error is at most the mean over
    coordinates of the worse end's (x - t - s)^2, and the best translation is no worse than s. The s
    that makes this least is searched for on each axis, where it is convex.
    """
    low, high = (each.double() - target.points.double() for each in interval)
    if not bool((low.isfinite() & high.isfinite()).all()):
        return low.new_full((len(low),), math.inf)
    real = target.mask[..., None]

    def worst(shift: Tensor) -> Tensor:
        ends = torch.maximum((low - shift).square(), (high - shift).square())
        return (ends * real).sum(dim=1, keepdim=True)

    left = low.masked_fill(~real, math.inf).amin(dim=1, keepdim=True)
    right = high.masked_fill(~real, -math.inf).amax(dim=1, keepdim=True)
    for _ in range(SHIFT_STEPS):
        third = (right - left) / 3
        a, b = left + third, right - third
        lower = worst(a) < worst(b)
        left, right = torch.where(lower, left, a), torch.where(lower, b, right)
    total: Tensor = worst((left + right) / 2).sum(dim=(1, 2)) / (3 * target.counts)
    return total


def check_moved(moved: int) -> None:
    """Raise InputError for a number of points that cannot be."""
    if moved < 0:
        raise InputError(f"points must be 0 or more, got {moved}")
