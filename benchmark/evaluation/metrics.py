"""Metrics on outputs, per sample, (B,).

PMD is the field's number: both meshes re-centred by their own bounding boxes, then the mean squared
**coordinate** difference, in square metres (printed x 1e-4). It is a third of the mean squared
vertex distance that the paper's Eq. 8 reads as; that one is ``msvd``. Square metres throughout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posebench import objective
from posebench.cloud import Clouds
from posebench.geometry import edge_lengths
from posebench.interfaces import Batch, Metric
from posebench.registry import Registry
from posebench.shapes import Float, Int


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


def normal_error(output: Clouds, batch: Batch) -> Float[Tensor, "b"]:
    """Mean angle between the faces' normals in output and target, degrees.

    It looks at shape alone: where the body is, and how large, do not matter, and a surface whose
    vertices are each a little off is crumpled though its PMD is small. A face that has collapsed
    counts as 90 degrees.
    """
    got, true = (face_normals(each.points, batch.faces) for each in (output, batch.target))
    across = torch.linalg.cross(got, true).norm(dim=2)
    angle = torch.atan2(across, (got * true).sum(dim=2))
    smallest = torch.finfo(got.dtype).tiny
    flat = (got.square().sum(dim=2) < smallest) | (true.square().sum(dim=2) < smallest)
    right = angle.new_tensor(math.pi / 2)
    degrees: Tensor = torch.rad2deg(angle.where(~flat, right)).mean(dim=1)
    return degrees


def face_normals(
    points: Float[Tensor, "b n 3"], faces: Int[Tensor, "b f 3"]
) -> Float[Tensor, "b f 3"]:
    """Normals of the faces, as long as twice their area."""
    rows = torch.arange(len(points), device=points.device)[:, None, None]
    first, second, third = points[rows, faces].unbind(2)
    normals: Tensor = torch.linalg.cross(second - first, third - first)
    return normals


METRICS: Registry[Metric] = Registry("metric", "metrics")
METRICS.register("pmd", pmd)
METRICS.register("pmd_aligned", pmd_aligned)
METRICS.register("pmd_uncentred", pmd_uncentred)
METRICS.register("msvd", msvd)
METRICS.register("edge_error", edge_error)
METRICS.register("normal_error", normal_error)


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
