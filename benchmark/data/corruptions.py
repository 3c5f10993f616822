"""Common corruptions of point clouds, in the manner of PointCloud-C (Ren, Pan and Liu 2022).

A corruption takes the points of one centred cloud, (n, 3) metres in any order, and returns (m, 3);
nothing is centred again, as there, so a row of a table shows one effect alone. PointCloud-C's
clouds fill the unit sphere, ours are people, whose bounding sphere has about 0.9 m: their unit is
read as a metre. Counts out of 1,024 are read as shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.geometry import bbox_centre
from posebench.registry import Registry
from posebench.shapes import Float

MAX_CLUSTERS = 7
"""Drop-local and add-local have 1 to 7 clusters, as in PointCloud-C."""

CLUSTER_SPREAD = (0.075, 0.125)
"""Standard deviation of an added cluster, metres, as in PointCloud-C."""


def jitter(points: Float[Tensor, "n 3"], sigma: float, generator: Generator) -> Tensor:
    """Gaussian noise of ``sigma`` metres on every coordinate."""
    return points + sigma * torch.randn(points.shape, generator=generator).to(points)


def rotate(points: Float[Tensor, "n 3"], degrees: float, generator: Generator) -> Tensor:
    """A rotation about x, then y, then z, each by up to ``degrees`` either way."""
    angles = (2 * torch.rand(3, generator=generator, dtype=torch.float64) - 1) * math.radians(
        degrees
    )
    turned = points.double()
    for axis, angle in enumerate(angles.tolist()):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        rotation = torch.eye(3, dtype=torch.float64)
        rotation[first, first] = rotation[second, second] = math.cos(angle)
        rotation[second, first], rotation[first, second] = math.sin(angle), -math.sin(angle)
        turned = turned @ rotation.T
    return turned.to(points.dtype)


def scale(points: Float[Tensor, "n 3"], factor: float, generator: Generator) -> Tensor:
    """Each axis by a factor of its own, uniform between 1 / ``factor`` and ``factor``."""
    draws = torch.rand(3, generator=generator).to(points)
    return points * (1 / factor + (factor - 1 / factor) * draws)


def drop_global(points: Float[Tensor, "n 3"], share: float, generator: Generator) -> Tensor:
    """A random ``share`` of the points is lost."""
    lost = round(share * len(points))
    kept = torch.randperm(len(points), generator=generator)[lost:]
    return points[kept.sort().values]


def drop_local(points: Float[Tensor, "n 3"], share: float, generator: Generator) -> Tensor:
    """A ``share`` of the points is lost in 1 to 7 clusters: the nearest ones to a random point."""
    for size in cluster_sizes(round(share * len(points)), generator):
        distance = (points - points[pick(points, generator)]).norm(dim=1)
        points = points[distance.argsort(stable=True)[size:].sort().values]
    return points


def add_global(points: Float[Tensor, "n 3"], share: float, generator: Generator) -> Tensor:
    """A ``share`` of n more points, uniform in the ball around the cloud."""
    count = round(share * len(points))
    centre, radius = bounding_ball(points)
    direction = torch.randn(count, 3, generator=generator).to(points)
    direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-12)
    distance = torch.rand(count, 1, generator=generator).to(points) ** (1 / 3)
    return torch.cat([points, centre + radius * distance * direction])


def add_local(points: Float[Tensor, "n 3"], share: float, generator: Generator) -> Tensor:
    """A ``share`` of n more points, in 1 to 7 Gaussian clusters around points of the cloud.

    What falls outside the ball around the cloud is put on it.
    """
    centre, radius = bounding_ball(points)
    low, high = CLUSTER_SPREAD
    added = [points]
    for size in cluster_sizes(round(share * len(points)), generator):
        seed = points[pick(points, generator)]
        spread = low + (high - low) * float(torch.rand(1, generator=generator))
        offset = seed + spread * torch.randn(size, 3, generator=generator).to(points) - centre
        length = offset.norm(dim=1, keepdim=True)
        added.append(centre + offset * (radius / length.clamp_min(1e-12)).clamp_max(1))
    return torch.cat(added)


def cluster_sizes(total: int, generator: Generator) -> list[int]:
    """``total`` points dealt at random to 1 to 7 clusters."""
    count = int(torch.randint(1, MAX_CLUSTERS + 1, (1,), generator=generator))
    owner = torch.randint(count, (total,), generator=generator)
    return owner.bincount(minlength=count).tolist()


def pick(points: Float[Tensor, "n 3"], generator: Generator) -> int:
    """The number of a random point."""
    return int(torch.randint(len(points), (1,), generator=generator))


def bounding_ball(points: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
    """Centre of the bounding box and distance of the farthest point from it."""
    centre = bbox_centre(Clouds.dense(points[None]))[0]
    return centre, (points - centre).norm(dim=1).max()


@dataclass(frozen=True)
class Corruption:
    """A corruption and what its severities mean.

    Attributes:
        apply: (points, level, generator) -> points.
        levels: of severity 1 to 5.
        unit: of the levels.
        keeps_count: returns as many points as it gets.
        turns_truth: the truth is corrupted alike, because what changes is part of the pose.
        version: raised when the same levels come to give other points; part of what is measured.
    """

    apply: Callable[[Tensor, float, Generator], Tensor]
    levels: tuple[float, float, float, float, float]
    unit: str
    keeps_count: bool = True
    turns_truth: bool = False
    version: int = 1


CORRUPTIONS: Registry[Corruption] = Registry("corruption", "corruptions")
"""Levels are PointCloud-C's but for ``scale``: its 1.6 to 2 presume that clouds are scaled to the
unit sphere afterwards; 1.5 is the ratio of the tallest to the shortest of the body's identities."""
CORRUPTIONS.register(
    "jitter", Corruption(jitter, (0.01, 0.02, 0.03, 0.04, 0.05), "m per coordinate")
)
CORRUPTIONS.register(
    "rotate",
    Corruption(rotate, (6.0, 12.0, 18.0, 24.0, 30.0), "degrees per axis", turns_truth=True),
)
CORRUPTIONS.register("scale", Corruption(scale, (1.1, 1.2, 1.3, 1.4, 1.5), "factor per axis"))
for _name, _apply, _levels in (
    ("drop-global", drop_global, (0.25, 0.375, 0.5, 0.625, 0.75)),
    ("drop-local", drop_local, (0.1, 0.2, 0.3, 0.4, 0.5)),
    ("add-global", add_global, (0.01, 0.02, 0.03, 0.04, 0.05)),
    ("add-local", add_local, (0.1, 0.2, 0.3, 0.4, 0.5)),
):
    CORRUPTIONS.register(_name, Corruption(_apply, _levels, "of the points", keeps_count=False))

POINTCLOUD_C = (
    "jitter", "rotate", "scale", "drop-global", "drop-local", "add-global", "add-local",
)  # fmt: skip
"""The paper's seven, which its mean corruption error is over."""
