"""Metrics on outputs (per sample, (B,)) and on sets of per-sample values.

PMD is the field's number: both meshes re-centred by their own bounding boxes, then the mean squared
**coordinate** difference, in square metres (printed x 1e-4). It is a third of the mean squared
vertex distance that the paper's Eq. 8 reads as; that one is ``msvd``. Square metres throughout.

Attack success, per sample i with clean PMD c_i and attacked PMD a_i (our choice, after the
reliability checklists of Carlini et al. 2019): see :func:`attack_metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench import objective
from posebench.cloud import Clouds
from posebench.geometry import edge_lengths
from posebench.interfaces import Batch, Metric
from posebench.registry import Registry
from posebench.shapes import Float, Int

TAU = 1e-3
"""Success threshold on PMD, square metres: the released code's, 10 in the printed unit."""

KAPPAS = (2.0, 10.0)
RELATIVE_FLOOR = 1e-4
"""Clean PMD below this counts as this in ``asr_rel``: 1 cm RMS, about the body's quantum."""


def pmd(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """Point-wise Mesh Euclidean Distance as the released code computes it, square metres."""
    return objective.pmd(output, batch.target)


def pmd_uncentred(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """PMD without re-centring: also counts where the body was put."""
    return objective.mse(output, batch.target)


def pmd_aligned(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """PMD after the best translation instead of the bounding boxes', see ``objective.aligned``."""
    return objective.aligned(output, batch.target)


def msvd(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """Mean squared vertex distance after re-centring: 3 x PMD."""
    return 3 * pmd(output, batch)


def edge_error(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """Mean over edges of | |e_out| / |e_true| - 1 |: how far the surface is distorted."""
    true = edge_lengths(batch.target.points, batch.faces)
    ratio = edge_lengths(output.points, batch.faces) / true.clamp_min(1e-9)
    return (ratio - 1).abs().mean(dim=(1, 2))


METRICS: Registry[Metric] = Registry("metric", "metrics")
METRICS.register("pmd", pmd)
METRICS.register("pmd_aligned", pmd_aligned)
METRICS.register("pmd_uncentred", pmd_uncentred)
METRICS.register("msvd", msvd)
METRICS.register("edge_error", edge_error)


def edge_loss(
    output: Float[Tensor, "b n 3"],
    identity: Float[Tensor, "b n 3"],
    faces: Int[Tensor, "b f 3"],
) -> Float[Tensor, ""]:
    """Training's edge term: mean over faces of the sum over 3 edges of | |e_out|/|e_id| - 1 |.

    The released loss, batched: ratios to the identity **input**, averaged over the batch.
    """
    ratio = edge_lengths(output, faces) / edge_lengths(identity, faces).clamp_min(1e-9)
    return (ratio - 1).abs().sum(dim=2).mean()


def perturbation_norms(clean: Clouds, attacked: Clouds) -> dict[str, Tensor]:
    """Size of each sample's perturbation, (B,) float64 metres: rms, l2, linf, l2_vertex.

    Of the points that are in both clouds; where the mask changed also ``dropped`` and ``added``,
    as shares of the clean cloud's points.
    """
    size = clean.points.shape[1]
    both = clean.mask & attacked.mask[:, :size]
    delta = (attacked.points[:, :size].double() - clean.points.double()) * both[..., None]
    squared = delta.square().sum(dim=(1, 2))
    counts = {}
    if attacked.mask.shape != clean.mask.shape or not torch.equal(attacked.mask, clean.mask):
        kept = both.sum(dim=1)
        counts["dropped"] = (clean.counts - kept).double() / clean.counts
        counts["added"] = (attacked.counts - kept).double() / clean.counts
    return {
        **counts,
        "rms": (squared / (3 * clean.counts)).sqrt(),
        "l2": squared.sqrt(),
        "linf": delta.abs().amax(dim=(1, 2)),
        "l2_vertex": delta.norm(dim=2).amax(dim=1),
    }


@dataclass(frozen=True)
class Summary:
    """Aggregates of per-sample values; ci95 is a bootstrap interval of the mean over samples."""

    mean: float
    ci95: tuple[float, float]
    median: float
    p95: float
    worst: float


def summarise(values: NDArray[np.float64], *, seed: int = 0, draws: int = 2000) -> Summary:
    """Mean, bootstrap 95 % interval of the mean (percentile method), median, p95 and worst."""
    if not np.isfinite(values).all():
        nan = math.nan
        return Summary(nan, (nan, nan), nan, nan, nan)
    low, high = bootstrap_interval(values, seed=seed, draws=draws)
    return Summary(
        float(values.mean()),
        (low, high),
        float(np.median(values)),
        float(np.quantile(values, 0.95)),
        float(values.max()),
    )


def bootstrap_interval(
    values: NDArray[np.float64], *, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of the mean when samples are redrawn with replacement."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def attack_metrics(
    clean: NDArray[np.float64],
    attacked: NDArray[np.float64],
    noise: NDArray[np.float64] | None = None,
    *,
    tau: float = TAU,
) -> dict[str, float]:
    """Set-level attack success from per-sample PMD (square metres); NaN where undefined.

    * ``clean_fail``: share with c > tau, failing before any attack.
    * ``asr@tau``: share with a > tau among those with c <= tau.
    * ``robust_rate``: share with c <= tau and a <= tau.
    * ``asr_rel@k``: share with a >= k max(c, floor).
    * ``gain_over_noise``: median of a / PMD under random noise of the same norm; at most 1 means
      the attack found nothing.
    """
    good = clean <= tau
    result = {
        "clean_fail": float((~good).mean()),
        "asr@tau": float((attacked[good] > tau).mean()) if good.any() else math.nan,
        "robust_rate": float((good & (attacked <= tau)).mean()),
    }
    for kappa in KAPPAS:
        floor = kappa * np.maximum(clean, RELATIVE_FLOOR)
        result[f"asr_rel@{kappa:g}"] = float((attacked >= floor).mean())
    if noise is not None:
        result["gain_over_noise"] = float(np.median(attacked / np.maximum(noise, 1e-12)))
    return result


def attack_intervals(
    clean: NDArray[np.float64],
    attacked: NDArray[np.float64],
    noise: NDArray[np.float64] | None = None,
    *,
    seed: int = 0,
    draws: int = 500,
) -> dict[str, list[float]]:
    """95 % bootstrap intervals of :func:`attack_metrics` over pairs, name -> [low, high].

    Redrawn sets on which a metric is undefined are left out; NaN if all are.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for pick in rng.integers(len(clean), size=(draws, len(clean))):
        part = None if noise is None else noise[pick]
        for name, value in attack_metrics(clean[pick], attacked[pick], part).items():
            found.setdefault(name, []).append(value)
    result = {}
    for name, values in found.items():
        defined = np.array(values)[np.isfinite(values)]
        ends = np.quantile(defined, [0.025, 0.975]) if len(defined) else [math.nan, math.nan]
        result[name] = [float(end) for end in ends]
    return result
