"""Budgets as sets: the steepest step inside one, the nearest clouds of one.

Distances (``l2``, ``linf``, ``l2_vertex``) are balls around the clean cloud. ``sparse`` lets a few
points lie anywhere in the clean cloud's bounding box. ``smooth`` takes displacements that are a sum
of ``KERNELS`` Gaussians of width ``WIDTH`` around points of the clean cloud, and caps the longest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.shapes import Float

KERNELS = 16
"""Gaussians of a smooth field: about one for each segment of the limbs (our choice)."""

WIDTH = 0.2
"""Their standard deviation, metres: two hands' breadth, so that no field singles out a vertex."""


def check_distance(budget: Budget) -> None:
    """Raise InputError for a budget that is not a ball: it has no steepest step."""
    if budget.is_share or budget.norm == "smooth":
        raise InputError(
            f"this attack moves points in a ball, norm {budget.norm!r} is none: use attack "
            f"{'vertex-adam' if budget.norm == 'smooth' else budget.norm!r}"
        )


def steepest(
    gradient: Float[Tensor, "b n 3"], budget: Budget, mask: Tensor
) -> Float[Tensor, "b n 3"]:
    """The step inside the budget's ball that ascends fastest: its length is the radius.

    l2: radius g / ||g||; linf: radius sign(g); l2_vertex: radius g_v / ||g_v|| per vertex.
    Where the gradient is zero the step is zero; where it is not finite, so is the step.

    Raises:
        InputError: for a budget that is not a ball.
    """
    check_distance(budget)
    radius = budget.radius(mask).to(gradient.dtype)[:, None, None]
    if budget.norm == "linf":
        return radius * (gradient.sign() + 0 * gradient)  # the sign of NaN alone would be 0
    axes = (1, 2) if budget.norm == "l2" else (2,)
    # Scaled by the largest entry first: squares of tiny float32 gradients would underflow.
    largest = gradient.abs().amax(dim=axes, keepdim=True)
    unit = gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
    length = unit.square().sum(dim=axes, keepdim=True).sqrt()
    return radius * unit / length.clamp_min(0.5)


def project(pose: Clouds, clean: Clouds, budget: Budget) -> Clouds:
    """The nearest clouds to ``pose`` inside the budget around ``clean``; padding untouched.

    Of ``smooth``, the nearest field without its cap, then scaled down to the cap. Taken in float64
    and stored rounded towards the clean point, so that the stored tensor keeps the budget however
    small it is against the coordinates. Points that do not move keep their bits.

    Raises:
        InputError: for a budget of points to drop or add.
    """
    if budget.counts_points:
        raise InputError(f"norm {budget.norm!r} changes the number of points: nothing to project")
    delta = (pose.points.double() - clean.points.double()) * clean.mask[..., None]
    radius = budget.radius(clean.mask)[:, None, None]
    if budget.norm == "sparse":
        return _sparse(pose, clean, radius[:, 0])
    if budget.norm == "smooth":
        basis = smooth_basis(clean)
        delta = basis @ (basis.mT @ delta)
        longest = delta.norm(dim=2).amax(dim=1)[:, None, None]
        delta = delta * (radius / longest.clamp_min(1e-300)).clamp_max(1)
    elif budget.norm == "linf":
        delta = delta.clamp(-radius, radius)
    else:
        axes = (1, 2) if budget.norm == "l2" else (2,)
        length = delta.square().sum(dim=axes, keepdim=True).sqrt()
        outside = length > radius
        delta = torch.where(outside, delta * (radius / length.clamp_min(1e-300)), delta)
    points = (clean.points.double() + delta).to(clean.points.dtype)
    stored = points.double() - clean.points.double()
    points = torch.where(stored.abs() > delta.abs(), points.nextafter(clean.points), points)
    return clean.replace(torch.where(delta == 0, clean.points, points))


def _sparse(pose: Clouds, clean: Clouds, allowed: Float[Tensor, "b 1"]) -> Clouds:
    """The points that moved furthest, as many as are allowed, inside the clean cloud's box."""
    low, high = box(clean)
    inside = pose.points.clamp(low, high)
    moved = (inside.double() - clean.points.double()).norm(dim=2) * clean.mask
    rank = moved.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    chosen = (rank < allowed) & (moved > 0)
    return clean.replace(torch.where(chosen[..., None], inside, clean.points))


def smooth_basis(clean: Clouds) -> Float[Tensor, "b n k"]:
    """An orthonormal basis of the smooth fields over a cloud, float64, zero on padding.

    The Gaussians' centres are ``KERNELS`` of the cloud's points: the one furthest from the centroid
    first, then ever the one furthest from those before.
    """
    points = clean.points.double()
    real, rows = clean.mask, torch.arange(len(points), device=points.device)
    centroid = (points * real[..., None]).sum(dim=1) / real.sum(dim=1)[:, None]
    apart = (points - centroid[:, None]).norm(dim=2).masked_fill(~real, -math.inf)
    nearest = torch.full_like(apart, math.inf)
    centres = []
    for _ in range(min(KERNELS, points.shape[1])):
        centres.append(points[rows, apart.argmax(dim=1)])
        nearest = torch.minimum(nearest, (points - centres[-1][:, None]).norm(dim=2))
        apart = nearest.masked_fill(~real, -math.inf)
    away = (points[:, :, None] - torch.stack(centres, dim=1)[:, None]).square().sum(dim=3)
    basis: Tensor = torch.linalg.qr((away / (-2 * WIDTH**2)).exp() * real[..., None]).Q
    return basis


def box(pose: Clouds) -> tuple[Float[Tensor, "b 1 3"], Float[Tensor, "b 1 3"]]:
    """Lowest and highest coordinates of each cloud's real points."""
    outside = ~pose.mask[..., None]
    low = pose.points.masked_fill(outside, math.inf).amin(dim=1, keepdim=True)
    return low, pose.points.masked_fill(outside, -math.inf).amax(dim=1, keepdim=True)
