"""What a longer training would bring, by the slope of the loss so far.

Losses of fresh networks fall as a power of the steps while the rate stands (docs/design/012). The
rate's fall at the end multiplies the loss by much the same, however long the run; so the exponent
from before it says what twice the steps would end at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_ENTRIES = 5
"""Entries of a curve below which no slope is given."""

EARLY = 1 / 8
"""Share of the steps at full rate that is left out: losses fall faster there than any power."""


@dataclass(frozen=True)
class Slope:
    """loss ~ steps ** -exponent while the rate stood.

    Attributes:
        exponent: positive where the loss falls.
        entries: of the curve that it was fitted to.
    """

    exponent: float
    entries: int

    @property
    def doubled(self) -> float:
        """What twice the steps would multiply the loss by."""
        return math.pow(2.0, -self.exponent)


def slope_of(
    curve: Sequence[tuple[int, float]], first: int, last: int, decay: float
) -> Slope | None:
    """The slope of a part of a run from ``first`` to ``last``, by least squares of the logarithms.

    ``decay``: share of the part over which its rate fell. None where too little stood at the full
    rate, as with the default schedule, which falls from the first step to the last.
    """
    full = (1 - decay) * (last - first)
    here = [
        (step - first, loss)
        for step, loss in curve
        if EARLY * full <= step - first <= full and math.isfinite(loss) and loss > 0
    ]
    if len(here) < LEAST_ENTRIES:
        return None
    steps, losses = np.log(np.array(here, dtype=np.float64)).T
    return Slope(-float(np.polyfit(steps, losses, 1)[0]), len(here))
