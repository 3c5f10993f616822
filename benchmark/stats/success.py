"""Attack success from per-pair PMD: c_i clean, a_i attacked, square metres.

Our choice, after the reliability checklists of Carlini et al. (2019): a success threshold alone
punishes weak victims, so shares of pairs that fail before any attack stand beside it, and a
relative rate needs no threshold.
"""

from __future__ import annotations

import math

import numpy as np

from posebench.benchmark.stats.bootstrap import RATE_DRAWS, Column, interval_of, redraws

TAU = 1e-3
"""Success threshold on PMD, square metres: the released code's, 10 in the printed unit."""

KAPPAS = (2.0, 10.0)
RELATIVE_FLOOR = 1e-4
"""Clean PMD below this counts as this in ``asr_rel``: 1 cm RMS, about the body's quantum."""

NOISE_FLOOR = 1e-12
"""PMD under noise below this counts as this, so that a ratio to it is defined; square metres."""


def success_rates(
    clean: Column, attacked: Column, noise: Column, *, tau: float = TAU
) -> dict[str, float]:
    """Set-level attack success from PMD of n pairs, (n,) each; NaN where undefined.

    * ``clean_fail``: share with c > tau, failing before any attack.
    * ``asr@tau``: share with a > tau among those with c <= tau.
    * ``robust_rate``: share with c <= tau and a <= tau.
    * ``asr_rel@k``: share with a >= k max(c, floor).
    * ``gain_over_noise``: median of a / PMD under random noise of the same norm; at most 1 means
      the attack found nothing.

    Where the clean error is not known, ``attacked`` and ``noise`` are displacements of the output
    instead, and all but the last are undefined.
    """
    gain = float(np.median(attacked / np.maximum(noise, NOISE_FLOOR)))
    if np.isnan(clean).all():
        names = ("clean_fail", "asr@tau", "robust_rate", *(f"asr_rel@{k:g}" for k in KAPPAS))
        return {**dict.fromkeys(names, math.nan), "gain_over_noise": gain}
    good = clean <= tau
    found = {
        "clean_fail": float((~good).mean()),
        "asr@tau": float((attacked[good] > tau).mean()) if good.any() else math.nan,
        "robust_rate": float((good & (attacked <= tau)).mean()),
    }
    for kappa in KAPPAS:
        floor = kappa * np.maximum(clean, RELATIVE_FLOOR)
        found[f"asr_rel@{kappa:g}"] = float((attacked >= floor).mean())
    return {**found, "gain_over_noise": gain}


def success_intervals(
    clean: Column, attacked: Column, noise: Column, size: int | None = None
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of :func:`success_rates` over pairs, name -> (low, high).

    Redrawn sets on which a rate is undefined are left out; NaN if all are. ``size`` asks for the
    interval over so many pairs.
    """
    size = size or len(clean)
    picks, often = redraws(len(clean), RATE_DRAWS, size)
    good, broken = clean <= TAU, attacked > TAU
    events = {"clean_fail": ~good, "good": good, "asr@tau": good & broken}
    events["robust_rate"] = good & ~broken
    for kappa in KAPPAS:
        events[f"asr_rel@{kappa:g}"] = attacked >= kappa * np.maximum(clean, RELATIVE_FLOOR)
    counts = dict(
        zip(events, np.array([*events.values()], dtype=np.float64) @ often.T, strict=True)
    )
    base = counts.pop("good")
    redrawn = {name: count / size for name, count in counts.items()}
    if np.isnan(clean).all():
        redrawn = dict.fromkeys(counts, np.full(1, math.nan))
    redrawn["asr@tau"] = counts["asr@tau"][base > 0] / base[base > 0]
    ratio = attacked / np.maximum(noise, NOISE_FLOOR)
    # As np.median, which partitions: see quantiles.
    middle = np.sort(ratio[picks], axis=1)[:, [(size - 1) // 2, size // 2]].mean(axis=1)
    redrawn["gain_over_noise"] = middle if np.isfinite(ratio).all() else np.full(1, math.nan)
    return {name: interval_of(values) for name, values in redrawn.items()}
