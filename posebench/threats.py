"""Threat models: what an adversary may do to the pose source, and the number that judges it.

Named, so that results can be compared; versioned, so that old ones cannot be taken for new ones
should a definition ever change. docs/threats.md has a picture of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from posebench.interfaces import Budget
from posebench.registry import unknown

Objective = Literal["aligned", "pmd"]


@dataclass(frozen=True)
class Threat:
    """A budget and what is judged inside it.

    Attributes:
        name, version: what results are compared by.
        budget: how the pose source may change.
        objective: what attacks maximise, a key of ``posebench.objective.OBJECTIVES``.
        metric: the same as records call it; the table ranks by it.
        allows: the budget in words.
        why: why anyone should care.
    """

    name: str
    version: int
    budget: Budget
    objective: Objective
    metric: Literal["pmd_aligned", "pmd"]
    allows: str
    why: str


HEADLINE = ("point-2cm", "point-5cm")
"""The threat models that the table ranks by: the first, with the second beside it."""

THREATS = {
    threat.name: threat
    for threat in (
        Threat(
            "point-2cm",
            1,
            Budget(0.02, "l2_vertex"),
            "aligned",
            "pmd_aligned",
            "every point lies within 2 cm of where it was",
            "a good depth camera at arm's length errs by as much; the pose stays the same",
        ),
        Threat(
            "point-5cm",
            1,
            Budget(0.05, "l2_vertex"),
            "aligned",
            "pmd_aligned",
            "every point lies within 5 cm of where it was",
            "a cheap depth camera across the room, or loose clothes over the body",
        ),
        Threat(
            "paper-l2-0.08",
            1,
            Budget(0.08),
            "pmd",
            "pmd",
            "all points together move by 8 cm RMS a coordinate; one alone may fly metres",
            "the literal budget of the paper's tables, kept to reproduce them",
        ),
        Threat(
            "sparse",
            1,
            Budget(0.005, "sparse"),
            "aligned",
            "pmd_aligned",
            "one point in 200 lies anywhere in the body's bounding box",
            "flying pixels, reflections, a stray marker: gross errors of few points",
        ),
        Threat(
            "smooth",
            1,
            Budget(0.05, "smooth"),
            "aligned",
            "pmd_aligned",
            "a field of 16 Gaussians, 20 cm wide, bends the body by at most 5 cm",
            "calibration drift, breathing, a registration slightly off: no point stands out",
        ),
    )
}


def find_threat(name: str) -> Threat:
    """The threat model of this name.

    Raises:
        InputError: an unknown name; suggests the nearest.
    """
    if name not in THREATS:
        raise unknown("threat model", name, THREATS)
    return THREATS[name]


def threat_of(budget: Budget, metric: str) -> Threat | None:
    """The threat model that an attack with this budget, judged by this metric, belongs to."""
    for threat in THREATS.values():
        if (threat.budget, threat.metric) == (budget, metric):
            return threat
    return None
