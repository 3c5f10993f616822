"""The embedded body fitted to a cloud by gradient: analysis by synthesis.

Of a cloud nothing is known but its points: no correspondence, no order, no normals, and some may be
wrong. A body is a pose of SMPL's joints, shares of the training identities, a size and a place.
Adam makes two robust distances least, from each point to its nearest vertex and from each vertex to
its nearest point, after a start from the known pose that lies nearest. Known poses face +z within
20 degrees; a body that stands otherwise ends in a poor fit.

The objective and its numbers are our choice. Distances count mostly across the surface, after Chen
and Medioni (1992); the robust function is Geman and McClure's (1985), and its width shrinks as the
fit comes nearer. Float64 throughout: many steps let rounding grow, and the order of points or a
batch's composition must not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch
from torch import Tensor

from posebench.benchmark.data.bodies import blended
from posebench.benchmark.data.body import TRAIN_IDENTITIES, Body, load_body, pose_body
from posebench.benchmark.data.natural import natural_poses
from posebench.rng import generator_for
from posebench.shapes import Float, Int

LOD = 800
"""Vertices of the body that is fitted."""

KNOWN = 200
"""Training poses of ``anny`` that a fit may start from, and as many natural ones."""

THIN = 20
"""One vertex in so many stands for a known pose when starts are compared."""

REACH = 0.5
"""Metres beyond which a distance counts as this when starts are compared."""

WIDTHS = (0.5, 0.03)
"""Metres: widths of the robust function at the first step and at the last. At first a limb that
lies a forearm's length away must still pull; with 0.2 one of two bodies ended tangled."""

RENEW = 2
"""Steps that keep the same nearest points."""

RATES = (0.04, 0.02)
"""Of Adam: for angles in radians, and for shares, size and place."""

SIDEWAYS = 0.2
"""Weight of squared distances along the tangent plane, against those across it."""

PRIOR = 1e-5
"""Square metres for each squared radian away from the start, mean over angles; angles that no point
sees stay where they are."""

PEOPLE = len(TRAIN_IDENTITIES)


@dataclass(frozen=True)
class Figure:
    """One person in one pose.

    Attributes:
        pose: (24, 3) axis-angle vectors, radians.
        shares: (16,) of the training identities, away from equal shares; only differences count.
        size: () logarithm of a factor on the whole body.
        place: (3,) metres, of the body's origin.
    """

    pose: Float[Tensor, "24 3"]
    shares: Float[Tensor, "16"]
    size: Float[Tensor, ""]
    place: Float[Tensor, "3"]

    def vertices(self, body: Body) -> Float[Tensor, "v 3"]:
        """The figure's surface at the body's level of detail, metres."""
        blend = 1 / PEOPLE + self.shares - self.shares.mean()
        first = torch.zeros(1, dtype=torch.int64, device=blend.device)
        posed = pose_body(blended(body, blend[None]), first, self.pose[None])[0]
        return posed * self.size.exp() + self.place


def fit_body(points: Float[Tensor, "n 3"], *, steps: int = 80) -> Figure:
    """The figure whose surface lies nearest to the points, metres; float64, without gradient."""
    body, goal = precise(LOD, points.device), points.detach().double()
    known = nearest_known(goal)
    free = [getattr(known, each.name).clone().requires_grad_(True) for each in fields(known)]
    adam = torch.optim.Adam(
        [{"params": free[:1], "lr": RATES[0]}, {"params": free[1:], "lr": RATES[1]}]
    )
    with torch.enable_grad():
        for step in range(steps):
            part = step / max(1, steps - 1)
            for group, rate in zip(adam.param_groups, RATES, strict=True):
                group["lr"] = rate * (1 - 0.9 * part)
            vertices = Figure(*free).vertices(body)
            if step % RENEW == 0:
                matched = match(goal, vertices.detach(), body.faces)
            width = WIDTHS[0] * (WIDTHS[1] / WIDTHS[0]) ** part
            loss = distance(goal, vertices, matched, width)
            loss = loss + PRIOR * (free[0] - known.pose).square().mean()
            for each, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):
                each.grad = gradient
            adam.step()
    return Figure(*(each.detach() for each in free))


@dataclass(frozen=True)
class Matched:
    """Which vertex is nearest to each point, which point to each vertex, and vertex normals."""

    vertex: Int[Tensor, "n"]
    point: Int[Tensor, "v"]
    normals: Float[Tensor, "v 3"]


def match(
    points: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]
) -> Matched:
    """Nearest points both ways, and the surface's normals."""
    gaps = squared_gaps(points, vertices)
    return Matched(gaps.argmin(dim=1), gaps.argmin(dim=0), vertex_normals(vertices, faces))


def squared_gaps(
    first: Float[Tensor, "*b n d"], second: Float[Tensor, "*b m d"]
) -> Float[Tensor, "*b n m"]:
    """Squared distances of all pairs, by the expanded square: exact enough in float64."""
    products = first @ second.transpose(-1, -2)
    lengths = second.square().sum(dim=-1)[..., None, :]
    return first.square().sum(dim=-1)[..., None] + lengths - 2 * products


def vertex_normals(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b v 3"]:
    """Unit normals: means over each vertex's triangles, weighted by area."""
    a, b, c = (vertices[..., corner, :] for corner in faces.unbind(dim=1))
    across = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices)
    for corner in faces.unbind(dim=1):
        summed = summed.index_add(-2, corner, across)
    return torch.nn.functional.normalize(summed, dim=-1)


def distance(
    points: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"], matched: Matched, width: float
) -> Float[Tensor, ""]:
    """Mean robust squared distance from points to the surface plus that from vertices to points."""
    there = gap(points - vertices[matched.vertex], matched.normals[matched.vertex])
    back = gap(points[matched.point] - vertices, matched.normals)
    loss: Tensor = robust(there, width).mean() + robust(back, width).mean()
    return loss


def gap(offsets: Float[Tensor, "*b 3"], normals: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b"]:
    """Squared length of offsets, mostly across the surface."""
    across = (offsets * normals).sum(dim=-1).square()
    return (1 - SIDEWAYS) * across + SIDEWAYS * offsets.square().sum(dim=-1)


def robust(squared: Tensor, width: float) -> Tensor:
    """Geman and McClure's function: squares of small distances, at most the width's square."""
    return squared * width**2 / (squared + width**2)


@lru_cache(maxsize=4)
def precise(vertices: int, device: torch.device) -> Body:
    """The body in float64."""
    body = load_body(vertices, device=device)
    names = ("rest", "skin_weights", "joints", "to_tpose", "share")
    return replace(body, **{name: getattr(body, name).double() for name in names})


@lru_cache(maxsize=2)
def known_figures(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Poses that a fit may start from (K, 24, 3), a few of their vertices (K, V, 3) about their
    median, and that median (K, 3)."""
    body = precise(LOD, device)
    seen, drawn = body.poses["seen"], natural_poses(KNOWN, generator_for(0, "known poses"))
    poses = torch.cat([seen[:: len(seen) // KNOWN].cpu(), drawn]).double().to(device)
    mean = blended(body, torch.full((1, PEOPLE), 1 / PEOPLE, dtype=torch.float64, device=device))
    posed = pose_body(mean, torch.zeros(len(poses), dtype=torch.int64, device=device), poses)
    middle = posed.median(dim=1).values
    return poses, posed[:, ::THIN] - middle[:, None], middle


def nearest_known(points: Float[Tensor, "n 3"]) -> Figure:
    """The mean person in the known pose that lies nearest, both about their medians."""
    poses, thinned, middle = known_figures(points.device)
    here = points.median(dim=0).values
    scores = []
    for each in thinned:
        gaps = squared_gaps(points - here, each).clamp(0, REACH**2)
        scores.append(gaps.amin(dim=0).mean() + gaps.amin(dim=1).mean())
    best = int(torch.stack(scores).argmin())
    zeros = points.new_zeros(PEOPLE)
    return Figure(poses[best], zeros, points.new_zeros(()), here - middle[best])
