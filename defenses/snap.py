"""Snapping: each point is moved to the nearest place on a surface that somebody has fitted.

Analysis by synthesis: what a model cannot make is taken for noise. The model is not this module's
business; see ``posebench.benchmark.data.snap`` for the embedded body.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.shapes import Float, Int

CANDIDATES = 16
"""Triangles whose exact distance is compared: those with the nearest centres. On a body of 800
vertices the nearest one was always among the first 12 of them, for points up to metres away."""


def snapped(
    pose: Clouds, surfaces: list[Float[Tensor, "v 3"]], faces: Int[Tensor, "f 3"], blend: float
) -> Clouds:
    """Every point moved by the share ``blend`` of the way to its cloud's surface; same order.

    Gradients pass through this step with the surfaces held fixed: along the triangle that a point
    lands on, and the share (1 - blend) of those across it.
    """
    rows = []
    for points, mask, surface in zip(pose.points, pose.mask, surfaces, strict=True):
        real = points if pose.full else points[mask]
        landed = nearest_on_surface(real, surface.detach().to(real), faces)
        moved = real + blend * (landed - real)
        rows.append(moved if pose.full else torch.zeros_like(points).masked_scatter(
            mask[:, None], moved))  # fmt: skip
    return pose.replace(torch.stack(rows))


def check_blend(blend: float) -> None:
    """Raise InputError for a share that is none."""
    if not 0 <= blend <= 1:
        raise InputError(f"blend must be in [0, 1], got {blend}")


def nearest_on_surface(
    points: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "n 3"]:
    """The nearest place of a triangle mesh to each point, metres; gradients go to the points."""
    corners = vertices[faces]
    with torch.no_grad():
        gaps = torch.cdist(points.double(), corners.double().mean(dim=1))
        near = gaps.topk(min(CANDIDATES, len(faces)), dim=1, largest=False).indices
        places = nearest_on_triangles(points.detach()[:, None], corners[near])
        best = (places - points.detach()[:, None]).square().sum(dim=2).argmin(dim=1)
        chosen = near.gather(1, best[:, None])[:, 0]
    return nearest_on_triangles(points, corners[chosen])


def nearest_on_triangles(
    points: Float[Tensor, "*#b 3"], corners: Float[Tensor, "*b 3 3"]
) -> Float[Tensor, "*b 3"]:
    """The nearest place of each triangle to its point: inside, else on the nearest edge."""
    sides = corners.roll(-1, dims=-2) - corners
    offsets = points[..., None, :] - corners
    along = (offsets * sides).sum(dim=-1) / sides.square().sum(dim=-1).clamp_min(1e-12)
    on_edges = corners + along.clamp(0, 1)[..., None] * sides
    gaps = (on_edges - points[..., None, :]).square().sum(dim=-1)
    edge = gaps.argmin(dim=-1)[..., None, None].expand(*gaps.shape[:-1], 1, 3)
    on_edge = on_edges.gather(-2, edge)[..., 0, :]
    across = torch.linalg.cross(sides[..., 0, :], sides[..., 1, :])
    lengths = across.square().sum(dim=-1, keepdim=True)
    height = (offsets[..., 0, :] * across).sum(dim=-1, keepdim=True) / lengths.clamp_min(1e-18)
    # Inside if it lies to the inner side of every edge.
    inner = torch.linalg.cross(sides, offsets) * across[..., None, :]
    inside = (inner.sum(dim=-1) >= 0).all(dim=-1, keepdim=True) & (lengths > 1e-18)
    result: Tensor = torch.where(inside, points - height * across, on_edge)
    return result
