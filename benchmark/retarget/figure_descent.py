"""Figures moved towards a cloud by gradient, many at once: analysis by synthesis.

Adam makes two robust distances least, from each point to its nearest vertex and from each vertex to
its nearest point, as in ``posebench.benchmark.data.body_fit``. Where the cloud has a surface,
matched normals must agree, or an arm that touches the trunk is taken for it. All numbers are our
choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.benchmark.data.body import Body
from posebench.benchmark.data.body_fit import gap, precise, robust, squared_gaps, vertex_normals
from posebench.benchmark.retarget.figures import Figures
from posebench.shapes import Float, Int

LOD = 800
"""Vertices of the body that is fitted."""

TURN = 0.1
"""Metres that a matched normal at a right angle counts for."""

JUDGED = 0.1
"""Metres: width of the robust function that ranks fits."""

TOGETHER = 40
"""Figures that are ranked at once, some 100 MB."""

RENEW = 2
"""Steps that keep the same nearest points."""

PRIORS = {"pose": 1e-5, "shares": 1e-5, "length": 1e-4, "girth": 1e-4}
"""Square metres for each square of what leaves the start, means over angles and parts, a sum over
people: what no point shows stays as it was."""


@dataclass(frozen=True)
class Round:
    """How figures are moved.

    Attributes:
        steps: of Adam.
        widths: metres, of the robust function at the first step and at the last.
        points: of the cloud.
        rates: of Adam at the first step, for angles in radians and for all else.
    """

    steps: int
    widths: tuple[float, float]
    points: int
    rates: tuple[float, float]


def spread(count: int, wanted: int) -> Int[Tensor, "m"]:
    """Which of so many points to take, evenly over their order."""
    return torch.linspace(0, count - 1, min(count, wanted)).long()


@dataclass(frozen=True)
class Cloud:
    """Points (N, 3) in metres and, where there is a surface, their unit normals (N, 3)."""

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"] | None

    def double(self) -> Cloud:
        """In float64, without gradient."""
        normals = None if self.normals is None else self.normals.detach().double()
        return Cloud(self.points.detach().double(), normals)

    def rows(self, rows: Int[Tensor, "m"]) -> Cloud:
        """Some of the points."""
        return Cloud(self.points[rows], None if self.normals is None else self.normals[rows])

    def some(self, count: int) -> Cloud:
        """So many of the points, evenly over their order."""
        return self.rows(spread(len(self.points), count))

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
    return done.chosen(scores(cloud, done).argsort())


def scores(cloud: Cloud, figures: Figures) -> Float[Tensor, "k"]:
    """How far each figure is from the cloud, square metres: what ranks fits."""
    body, found = precise(LOD, cloud.points.device), []
    for rows in torch.arange(len(figures)).split(TOGETHER):
        vertices = figures.chosen(rows).vertices(body)
        gaps = cloud.gaps(vertices, vertex_normals(vertices, body.faces)).clamp_min(0)
        there, back = (robust(gaps.amin(dim=dim), JUDGED).mean(dim=1) for dim in (2, 1))
        found.append(there + back)
    return torch.cat(found)


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
