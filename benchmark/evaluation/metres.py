"""Budgets that no body can hold: most likely centimetres or millimetres were meant."""

from __future__ import annotations

import math

from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.norms import RELEASE_POINTS

BODY = 2.0
"""Metres, a tall body's height: points that move further lie anywhere, and no attack means that."""

SMALLER = (("centimetres", 100.0), ("millimetres", 1000.0))


def check_metres(budget: Budget, points: int) -> None:
    """Ask back where a budget lets points move further than a body is tall.

    ``points`` is how many a cloud has, by which L2 radii of the whole cloud become metres RMS per
    coordinate.

    Raises:
        InputError: saying what was probably meant.
    """
    if budget.is_share:
        return
    moved, eps = metres(budget, points), budget.eps
    if moved <= BODY:
        return
    kind = "m RMS per coordinate" if budget.norm == "l2" else "m"
    small = [(name, eps / size) for name, size in SMALLER if moved / size <= BODY / 2]
    meant = f"for {small[0][0]} write {small[0][1]:g}" if small else "the default is 0.08"
    raise InputError(
        f"eps {eps:g} would move points by {moved:g} {kind}, and a body is {BODY:g} m tall: is it "
        f"in metres? {meant}"
    )


def metres(budget: Budget, points: int) -> float:
    """How far a budget lets points move: RMS per coordinate for L2, each point for other norms."""
    if budget.norm != "l2" or budget.unit == "rms":
        return budget.eps
    radius = budget.eps
    if budget.unit == "release":
        radius *= math.sqrt(3 * RELEASE_POINTS)
    return radius / math.sqrt(3 * points)
