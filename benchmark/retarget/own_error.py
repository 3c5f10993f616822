"""How far off a network is on its own test split, as the card in its weights file says it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posebench.victims import read_weights

SPLIT = "anny/seen"
"""New identities in poses of the training: what every card of ours is measured on first."""


@dataclass(frozen=True)
class OwnError:
    """A network's error where the truth is known.

    Attributes:
        rms: root mean square distance of a vertex from its truth, metres.
        task, pairs: the split, and how many of its pairs.
        source: the weights file whose card says so.
    """

    rms: float
    task: str
    pairs: int
    source: str

    def __str__(self) -> str:
        return (
            f"{100 * self.rms:.1f} cm RMS a vertex ({self.pairs} pairs of {self.task}, "
            f"card in {Path(self.source).name})"
        )


def own_error(weights: Path) -> OwnError | None:
    """What the card of a weights file says; None where there is none, or it does not say.

    A card is a stranger's text: what is not as ours write it counts as unsaid. PMD is the mean
    squared coordinate, hence the 3.
    """
    header = read_weights(weights) if weights.suffix == ".safetensors" else None
    try:
        found: Any = (header or {})["card"]["splits"][SPLIT]["clean_pmd"]
        pmd, pairs = float(found["mean"]), len(found["per_sample"])
    except (KeyError, TypeError, ValueError):
        return None
    if not (0 <= pmd < math.inf and pairs > 0):
        return None
    return OwnError(math.sqrt(3 * pmd), SPLIT, pairs, str(weights))
