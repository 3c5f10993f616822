"""When not to trust a result: judged by what is known without a ground truth.

The yardsticks are the untouched identity, which is what doing nothing would give, the network's
own error on its test split, and how far bodies of other shapes lie apart in the same pose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from posebench.benchmark.retarget.facts import Fit
from posebench.benchmark.retarget.own_error import OwnError

FAR = 0.08
"""Metres of chamfer distance that no two bodies in the same pose had (8 pairs each of anny/seen and
anny/makers: true results lay 1.3 to 8.1 cm from their pose sources, by their shape alone)."""


@dataclass(frozen=True)
class Trust:
    """How far a result can be trusted.

    Attributes:
        doubts: reasons not to, most serious first, each a plain sentence; none is no proof.
        own_error: the network's, where its weights say it.
    """

    doubts: tuple[str, ...]
    own_error: OwnError | None


def trust_in(result: Fit, untouched: Fit, own: OwnError | None, more: Iterable[str] = ()) -> Trust:
    """Judge a result by how it and the untouched identity lie to the pose source; ``more`` are the
    method's own doubts."""
    return Trust((*doubts(result.chamfer, untouched.chamfer, own), *more), own)


def doubts(result: float, untouched: float, own: OwnError | None) -> Iterator[str]:
    """``result`` and ``untouched`` are chamfer distances to the pose source, metres.

    A vertex's distance from where it belongs is at least the distance between the surfaces, so a
    network whose error is larger than what the identity lacks may add nothing but error.
    """
    if result >= untouched:
        yield (
            f"worse than doing nothing: the result lies {_cm(result)} from the pose source on "
            f"average, the untouched identity {_cm(untouched)}"
        )
    if own is not None and own.rms >= untouched:
        yield (
            f"the network's own error is larger than what was to be done: {own}, and the "
            f"untouched identity lies {_cm(untouched)} from the pose source"
        )
    if result > FAR:
        yield (
            f"the result lies {_cm(result)} from the pose source, further than bodies of other "
            f"shapes do in the same pose ({_cm(FAR)}): does its body face z (--pose-turn), and is "
            "it alone in its file?"
        )


def _cm(metres: float) -> str:
    return f"{100 * metres:.1f} cm"
