"""Flags that follow from a record's own numbers; see docs/flags.md for these and the others."""

from __future__ import annotations

import math

from posebench.benchmark.records.types import Metrics

TRAINED_FACTOR = 2.0
"""A victim whose clean PMD does not beat every trivial baseline by this is under-trained."""


BOX_FACTOR = 2.0
"""PMD over its aligned twin, of means, above which PMD measures its own bounding boxes. On clean
pairs it is 1.0-1.7 (every shipped network on every split; of single pairs more)."""

CONVERGED = 0.01
"""Mean gain of the last third of an attack's gradients above which it has not converged."""


def flags_of(metrics: Metrics, *, distorted: bool = False) -> tuple[str, ...]:
    """``under-trained``, or ``near-trivial`` where the pose sources were ``distorted``;
    ``not-above-noise``; ``not-converged``; ``centring-artefact``."""
    flags = []
    easiest = min(metrics.trivial.values(), default=math.inf)  # none where there is no truth
    if metrics.clean_pmd.mean * TRAINED_FACTOR > easiest:
        flags.append("near-trivial" if distorted else "under-trained")
    if metrics.attack is not None:
        moved = any(norm.max > 0 for norm in metrics.attack.norms.values())
        if moved and metrics.attack.rates["gain_over_noise"] <= 1:
            flags.append("not-above-noise")
        effort = metrics.attack.effort
        if effort is not None and sum(effort.late_gain) > CONVERGED * len(effort.late_gain):
            flags.append("not-converged")
        aligned = metrics.attacked.get("pmd_aligned")
        if aligned is not None and metrics.pmd.mean > BOX_FACTOR * aligned.mean:
            flags.append("centring-artefact")
    return tuple(flags)
