"""Where fits of bodies in other directions start: known poses, turned as a whole.

Files do not say which way a body faces, and who lies or stands on the hands is not upright.
Known poses are nearly so and face +z within some 30 degrees.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.bodies import blended
from posebench.benchmark.data.body import pose_body
from posebench.benchmark.data.body_fit import precise
from posebench.benchmark.retarget.figure_descent import LOD, spread
from posebench.benchmark.retarget.figure_starts import THIN, apart, growth, known_poses
from posebench.benchmark.retarget.figures import PEOPLE, Figures
from posebench.shapes import Float

HEADINGS = 8
"""Turns about the upright axis, evenly all around."""

TILTS = ((0.0, 0, 0), (0.5, 0, 0), (-0.5, 0, 0), (0, 0, 0.5), (0, 0, -0.5), (1.0, 0, 0))
"""Before them, half turns as axis-angle vectors: upright, on face, back and sides, head down."""

EVERY, POINTS = 4, 150
"""One known pose in so many, and points of the cloud, when starts are compared: a turn is easier to
tell than a pose."""


def turned_starts(points: Float[Tensor, "n 3"], count: int) -> Figures:
    """The mean person in the known poses that lie nearest in any of 48 directions, grown to the
    cloud's size."""
    poses, thinned, _ = (each[::EVERY] for each in known_poses(points.device))
    here = points.mean(dim=0)
    some = (points - here)[spread(len(points), POINTS)]
    size, turns = growth(some, thinned), directions(points.device)
    grown = thinned * size.exp()[:, None, None]
    # Turning the cloud back is cheaper than turning every body.
    found = torch.cat([apart(some @ turn, grown) for turn in quaternions.to_matrix(turns)])
    best = found.argsort()[:count]
    turn, which = turns[best // len(poses)], best % len(poses)
    pose = poses[which].clone()
    root = quaternions.from_axis_angle(pose[:, 0])
    pose[:, 0] = quaternions.to_axis_angle(quaternions.multiply(turn, root))
    middle = mean_vertex(pose) * size[which].exp()[:, None]
    return Figures.of(pose, size[which], here - middle)


@lru_cache(maxsize=2)
def directions(device: torch.device) -> Float[Tensor, "d 4"]:
    """Every tilt, then every heading, as quaternions: the first is no turn at all."""
    tilts = quaternions.from_axis_angle(pi * torch.tensor(TILTS, dtype=torch.float64))
    around = torch.arange(HEADINGS, dtype=torch.float64) * (2 * pi / HEADINGS)
    upright = torch.tensor((0.0, 1, 0), dtype=torch.float64)
    headings = quaternions.from_axis_angle(around[:, None] * upright)
    return quaternions.multiply(headings[:, None], tilts[None]).reshape(-1, 4).to(device)


def mean_vertex(pose: Float[Tensor, "k 24 3"]) -> Float[Tensor, "k 3"]:
    """Of the mean person in these poses, over the vertices that starts are compared by."""
    body = precise(LOD, pose.device)
    share = torch.full((1, PEOPLE), 1 / PEOPLE, dtype=pose.dtype, device=pose.device)
    first = torch.zeros(len(pose), dtype=torch.int64, device=pose.device)
    some = torch.arange(0, LOD, THIN, device=pose.device).expand(len(pose), -1)
    return pose_body(blended(body, share), first, pose, vertices=some).mean(dim=1)
