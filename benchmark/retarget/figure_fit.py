"""A body fitted to a cloud of anybody's points, from many starts: analysis by synthesis.

The fit of the defence ``snap`` (``posebench.benchmark.data.body_fit``) starts once, knows no other
maker's proportions, and need only lie near the surface. To read off a pose it must also put the
right limb there: so dozens of poses start at once, on few points, and those that lie nearest go on
with more. Where the cloud has a surface, matched normals must agree, or an arm that touches the
trunk is taken for it. All numbers are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.bodies import blended
from posebench.benchmark.data.body import Body, pose_body
from posebench.benchmark.data.body_fit import gap, precise, robust, squared_gaps, vertex_normals
from posebench.benchmark.data.joint_angles import INDEX, poses_of_angles
from posebench.benchmark.data.natural import (
    clear_of_the_body,
    follow,
    in_range,
    limits,
    natural_poses,
)
from posebench.benchmark.retarget.figures import PEOPLE, Figures
from posebench.defenses.snap import nearest_on_surface
from posebench.rng import generator_for
from posebench.shapes import Float, Int

LOD = 800
"""Vertices of the body that is fitted."""

NATURAL, RANGED = 1600, 400
"""Poses that a fit may start from beside the 400 of training: what people do, and any angles
within their ranges."""

LEAN = 40.0
"""Degrees by which the pelvis tilts and rolls at most in the latter."""

THIN = 16
"""One vertex in so many stands for a pose when starts are compared."""

GROWTH = 0.3
"""Largest logarithm of the size that a start takes from the cloud's."""

REACH = 0.5
"""Metres beyond which a distance counts as this when starts are compared."""

TURN = 0.1
"""Metres that a matched normal at a right angle counts for."""

JUDGED = 0.1
"""Metres: width of the robust function that ranks fits."""

MEASURED = 2000
"""Points whose distance from the surface is reported."""


@dataclass(frozen=True)
class Round:
    """How many of the best fits go on, and how.

    Attributes:
        fits: that go on.
        steps: of Adam.
        widths: metres, of the robust function at the first step and at the last.
        points: of the cloud.
        rates: of Adam at the first step, for angles in radians and for all else.
    """

    fits: int
    steps: int
    widths: tuple[float, float]
    points: int
    rates: tuple[float, float]


ROUNDS = (
    Round(32, 30, (0.5, 0.1), 300, (0.05, 0.03)),
    Round(6, 50, (0.15, 0.05), 700, (0.03, 0.02)),
    Round(2, 80, (0.05, 0.03), 1700, (0.02, 0.01)),
)
RENEW = 2
"""Steps that keep the same nearest points."""

PRIORS = {"pose": 1e-5, "shares": 1e-5, "length": 1e-4, "girth": 1e-4}
"""Square metres for each square of what leaves the start, means over angles and parts, a sum over
people: what no point shows stays as it was."""


@dataclass(frozen=True)
class Fitted:
    """A figure, and how far the cloud's points lie from its surface on average, metres."""

    figure: Figures
    gap: float


def fit_figure(points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"] | None = None) -> Fitted:
    """The figure whose surface lies nearest to the points, metres; without gradient.

    Bodies stand upright and face +z within some 30 degrees, as everywhere in posebench. Unit
    ``normals`` point outwards.
    """
    goal = points.detach().double()
    facing = None if normals is None else normals.detach().double()
    figures = starts(goal, ROUNDS[0].fits)
    for each in ROUNDS:
        some = spread(len(goal), each.points)
        cloud = Cloud(goal[some], None if facing is None else facing[some])
        figures = refined(cloud, figures.chosen(torch.arange(min(each.fits, len(figures)))), each)
    figure = figures.chosen(torch.tensor([0]))
    some = spread(len(goal), MEASURED)
    body = precise(LOD, goal.device)
    landed = nearest_on_surface(goal[some], figure.vertices(body)[0], body.faces)
    return Fitted(figure, float((landed - goal[some]).norm(dim=1).mean()))


def spread(count: int, wanted: int) -> Int[Tensor, "m"]:
    """Which of so many points to take, evenly over their order."""
    return torch.linspace(0, count - 1, min(count, wanted)).long()


def starts(points: Float[Tensor, "n 3"], count: int) -> Figures:
    """The mean person in the known poses that lie nearest, grown to the cloud's size."""
    poses, thinned, middle = known_poses(points.device)
    here = points.mean(dim=0)
    some = (points - here)[spread(len(points), ROUNDS[0].points)]
    spans = thinned.square().sum(dim=2).mean(dim=1).sqrt()
    size = (some.square().sum(dim=1).mean().sqrt() / spans).log().clamp(-GROWTH, GROWTH)
    scores = []
    for vertices, growth in zip(thinned.split(200), size.exp().split(200), strict=True):
        grown = vertices * growth[:, None, None]
        gaps = squared_gaps(some.expand(len(grown), -1, -1), grown).clamp(0, REACH**2)
        scores.append(gaps.amin(dim=1).mean(dim=1) + gaps.amin(dim=2).mean(dim=1))
    best = torch.cat(scores).argsort()[:count]
    return Figures.of(poses[best], size[best], here - middle[best] * size[best].exp()[:, None])


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


@dataclass(frozen=True)
class Cloud:
    """Points (N, 3) in metres and, where there is a surface, their unit normals (N, 3)."""

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"] | None

    def gaps(
        self, vertices: Float[Tensor, "k v 3"], normals: Float[Tensor, "k v 3"]
    ) -> Float[Tensor, "k n v"]:
        """Squared distances to K surfaces' vertices, more where normals differ: one product."""
        mine, theirs = self.points, vertices
        if self.normals is not None:
            scale = TURN / 2**0.5
            mine = torch.cat([mine, scale * self.normals], dim=1)
            theirs = torch.cat([theirs, scale * normals], dim=2)
        return squared_gaps(mine.expand(len(theirs), -1, -1), theirs)


def refined(cloud: Cloud, figures: Figures, how: Round) -> Figures:
    """The figures moved towards the cloud, nearest first."""
    body = precise(LOD, cloud.points.device)
    free = [each.clone().requires_grad_(True) for each in figures.tensors()]
    adam = torch.optim.Adam(
        [
            {"params": params, "lr": rate}
            for params, rate in zip((free[:1], free[1:]), how.rates, strict=True)
        ]
    )
    with torch.enable_grad():
        for step in range(how.steps):
            part = step / max(1, how.steps - 1)
            for group, rate in zip(adam.param_groups, how.rates, strict=True):
                group["lr"] = rate * (1 - 0.9 * part)
            moved = Figures(*free)
            vertices = moved.vertices(body)
            if step % RENEW == 0:
                matched = matches(cloud, vertices.detach(), body)
            width = how.widths[0] * (how.widths[1] / how.widths[0]) ** part
            loss = distances(cloud, vertices, matched, width).sum() + prior(moved, figures)
            for each, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):
                each.grad = gradient
            adam.step()
    done = Figures(*(each.detach() for each in free))
    vertices = done.vertices(body)
    gaps = cloud.gaps(vertices, vertex_normals(vertices, body.faces)).clamp_min(0)
    scores = robust(gaps.amin(dim=2), JUDGED).mean(dim=1) + robust(gaps.amin(dim=1), JUDGED).mean(
        dim=1
    )
    return done.chosen(scores.argsort())


@dataclass(frozen=True)
class Matches:
    """Of K figures: the vertex nearest to each point, the point nearest to each vertex, normals."""

    vertex: Int[Tensor, "k n"]
    point: Int[Tensor, "k v"]
    normals: Float[Tensor, "k v 3"]


def matches(cloud: Cloud, vertices: Float[Tensor, "k v 3"], body: Body) -> Matches:
    """Nearest points both ways."""
    normals = vertex_normals(vertices, body.faces)
    gaps = cloud.gaps(vertices, normals)
    return Matches(gaps.argmin(dim=2), gaps.argmin(dim=1), normals)


def distances(
    cloud: Cloud, vertices: Float[Tensor, "k v 3"], matched: Matches, width: float
) -> Float[Tensor, "k"]:
    """Mean robust squared distance from points to each surface plus that from it to the points."""
    row = torch.arange(len(vertices), device=vertices.device)[:, None]
    there = gap(cloud.points - vertices[row, matched.vertex], matched.normals[row, matched.vertex])
    back = gap(cloud.points[matched.point] - vertices, matched.normals)
    total: Tensor = robust(there, width).mean(dim=1) + robust(back, width).mean(dim=1)
    return total


def prior(figures: Figures, before: Figures) -> Float[Tensor, ""]:
    """What it costs to leave the start's pose and the mean person."""
    return (
        PRIORS["pose"] * (figures.pose - before.pose).square().mean(dim=(1, 2)).sum()
        + PRIORS["shares"] * figures.shares.square().sum()
        + PRIORS["length"] * figures.length.square().mean(dim=1).sum()
        + PRIORS["girth"] * figures.girth.square().mean(dim=1).sum()
    )
