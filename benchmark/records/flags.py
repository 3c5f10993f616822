"""Flags that follow from a record's own numbers; see docs/flags.md for these and the others."""

from __future__ import annotations

from posebench.benchmark.records.types import Metrics

TRAINED_FACTOR = 2.0
"""A victim whose clean PMD does not beat every trivial baseline by this is under-trained."""


def flags_of(metrics: Metrics, *, distorted: bool = False) -> tuple[str, ...]:
    """``under-trained``, or ``near-trivial`` where the pose sources were ``distorted``;
    ``not-above-noise``."""
    flags = []
    if metrics.clean_pmd.mean * TRAINED_FACTOR > min(metrics.trivial.values()):
        flags.append("near-trivial" if distorted else "under-trained")
    if metrics.attack is not None:
        moved = any(norm.max > 0 for norm in metrics.attack.norms.values())
        if moved and metrics.attack.rates["gain_over_noise"] <= 1:
            flags.append("not-above-noise")
    return tuple(flags)
