"""Jointed mannequins: a capsule for each bone, as far from a human surface as a character gets.

All people of ``anny`` tasks are made of the embedded body. A mannequin shares its joints alone: its
surface is in loose parts that reach into each other, its trunk is a row of rolls, hands and feet
are lumps. Every vertex belongs to one bone, so the truth in every pose is exact.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import trimesh
from torch import Tensor

from posebench.benchmark.data.body import Body
from posebench.shapes import Bool, Float

ROUNDNESS = 2
"""Subdivisions of the icosahedron that a capsule is stretched from: 162 vertices each."""

THICKEST = 0.16
"""Metres: largest radius."""

SHORTEST = 0.02
"""Metres of a bone below which it points to the middle of its flesh instead of the next joint."""

FLESH = 3
"""Vertices that a bone must hold to get a capsule."""

ENDS = (0.05, 0.95)
"""Quantiles of a bone's flesh along it between which its capsule lies."""


def mannequins(body: Body) -> Body:
    """The same people, joints and poses, each bone's flesh replaced by a capsule about as thick."""
    ball = trimesh.creation.icosphere(subdivisions=ROUNDNESS)
    unit = torch.from_numpy(ball.vertices.copy()).float()
    faces = torch.from_numpy(ball.faces.copy()).long()
    holder = body.skin_weights.argmax(dim=1)
    bones = [k for k in range(len(body.parents)) if int((holder == k).sum()) >= FLESH]
    people = range(len(body.rest))
    rest = [torch.cat([capsule(unit, body, i, k, holder == k) for k in bones]) for i in people]
    first = torch.arange(len(bones))[:, None, None] * len(unit)
    weights = torch.eye(len(body.parents))[torch.tensor(bones).repeat_interleave(len(unit))]
    return replace(
        body,
        faces=(first + faces).reshape(-1, 3),
        rest=torch.stack(rest),
        skin_weights=weights,
    )


def capsule(
    unit: Float[Tensor, "n 3"], body: Body, person: int, bone: int, own: Bool[Tensor, "v"]
) -> Float[Tensor, "n 3"]:
    """A unit sphere stretched along a person's bone at rest, as thick as its flesh on average."""
    flesh, joint = body.rest[person, own], body.joints[person, bone]
    children = [k for k, parent in enumerate(body.parents) if parent == bone]
    axis = body.joints[person, children].mean(dim=0) - joint if children else torch.zeros(3)
    if axis.norm() < SHORTEST:
        axis = flesh.mean(dim=0) - joint
    axis = axis / axis.norm()
    along = (flesh - joint) @ axis
    radius = float((flesh - joint - along[:, None] * axis).norm(dim=1).mean().clamp(max=THICKEST))
    low, high = along.quantile(torch.tensor(ENDS))
    straight = (high - low - 2 * radius).clamp_min(0)
    side = (unit @ axis).sign()[:, None]
    middle = joint + (low + high) / 2 * axis
    placed: Tensor = middle + radius * unit + side * straight / 2 * axis
    return placed
