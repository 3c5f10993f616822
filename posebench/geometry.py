"""Geometry that every layer shares: centring, edges. Metres, channels last."""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.shapes import Float, Int


def bbox_centre(cloud: Clouds) -> Float[Tensor, "b 1 3"]:
    """Centre of each cloud's axis-aligned bounding box, padding left out."""
    if cloud.full:
        low, high = cloud.points.aminmax(dim=1, keepdim=True)
    else:
        outside = ~cloud.mask[..., None]
        low = cloud.points.masked_fill(outside, torch.inf).amin(dim=1, keepdim=True)
        high = cloud.points.masked_fill(outside, -torch.inf).amax(dim=1, keepdim=True)
    return (low + high) / 2


def centred(cloud: Clouds) -> Clouds:
    """Each cloud minus its bounding-box centre (the protocol's only normalisation)."""
    points = cloud.points - bbox_centre(cloud)
    return cloud.replace(points) if cloud.full else Clouds.padded(points, cloud.mask)


def edge_lengths(
    points: Float[Tensor, "b n 3"], faces: Int[Tensor, "b f 3"]
) -> Float[Tensor, "b f 3"]:
    """Lengths of each triangle's edges 01, 12, 20 in metres."""
    batch = torch.arange(points.shape[0], device=points.device)[:, None, None]
    corners = points[batch, faces]
    lengths: Tensor = (corners - corners.roll(-1, dims=2)).norm(dim=-1)
    return lengths
