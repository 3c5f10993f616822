"""Where fits start: the known poses that lie nearest to a cloud."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.bodies import blended
from posebench.benchmark.data.body import pose_body
from posebench.benchmark.data.body_fit import precise, squared_gaps
from posebench.benchmark.data.joint_angles import INDEX, poses_of_angles
from posebench.benchmark.data.natural import (
    clear_of_the_body,
    follow,
    in_range,
    limits,
    natural_poses,
)
from posebench.benchmark.retarget.figure_descent import LOD, spread
from posebench.benchmark.retarget.figures import PEOPLE, Figures
from posebench.rng import generator_for
from posebench.shapes import Float

NATURAL, RANGED = 1600, 400
"""Poses that a fit may start from beside the 400 of training: what people do, and any angles
within their ranges."""

LEAN = 40.0
"""Degrees by which the pelvis tilts and rolls at most in the latter."""

THIN = 16
"""One vertex in so many stands for a pose when starts are compared."""

POINTS = 300
"""Of the cloud, for the same."""

GROWTH = 0.3
"""Largest logarithm of the size that a start takes from the cloud's."""

REACH = 0.5
"""Metres beyond which a distance counts as this when starts are compared."""


def starts(points: Float[Tensor, "n 3"], count: int) -> Figures:
    """The mean person in the known poses that lie nearest, grown to the cloud's size."""
    poses, thinned, middle = known_poses(points.device)
    here = points.mean(dim=0)
    some = (points - here)[spread(len(points), POINTS)]
    size = growth(some, thinned)
    best = apart(some, thinned * size.exp()[:, None, None]).argsort()[:count]
    return Figures.of(poses[best], size[best], here - middle[best] * size[best].exp()[:, None])


def growth(some: Float[Tensor, "n 3"], bodies: Float[Tensor, "k v 3"]) -> Float[Tensor, "k"]:
    """Logarithms of the factors that bring bodies to a cloud's size, all about their means."""
    spans = bodies.square().sum(dim=2).mean(dim=1).sqrt()
    return (some.square().sum(dim=1).mean().sqrt() / spans).log().clamp(-GROWTH, GROWTH)


def apart(some: Float[Tensor, "n 3"], bodies: Float[Tensor, "k v 3"]) -> Float[Tensor, "k"]:
    """How far a few points lie from bodies' vertices and those from them, square metres."""
    found = []
    for part in bodies.split(200):
        gaps = squared_gaps(some.expand(len(part), -1, -1), part).clamp(0, REACH**2)
        found.append(gaps.amin(dim=1).mean(dim=1) + gaps.amin(dim=2).mean(dim=1))
    return torch.cat(found)


@lru_cache(maxsize=2)
def known_poses(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Poses (K, 24, 3), a few vertices of the mean person in them (K, V, 3) about their mean, and
    that mean (K, 3)."""
    body, generator = precise(LOD, device), generator_for(0, "starts of fits")
    drawn = [natural_poses(NATURAL, generator), ranged_poses(RANGED, generator)]
    poses = torch.cat([body.poses["seen"].cpu(), *drawn]).double().to(device)
    share = torch.full((1, PEOPLE), 1 / PEOPLE, dtype=torch.float64, device=device)
    first = torch.zeros(len(poses), dtype=torch.int64, device=device)
    some = torch.arange(0, LOD, THIN, device=device).expand(len(poses), -1)
    posed = pose_body(blended(body, share), first, poses, vertices=some)
    middle = posed.mean(dim=1)
    return poses, posed - middle[:, None], middle


def ranged_poses(count: int, generator: Generator) -> Float[Tensor, "n 24 3"]:
    """Every angle drawn evenly from its range, the pelvis nearly upright, limbs out of the body."""
    low, high = limits(torch.device("cpu"))
    angles: Float[Tensor, "n 48"] = low + (high - low) * torch.rand(
        (count, len(low)), generator=generator
    )
    for name in ("pelvis_tilt", "pelvis_roll"):
        angles[:, INDEX[name]] *= LEAN / high[INDEX[name]]
    return poses_of_angles(in_range(clear_of_the_body(follow(angles))))
