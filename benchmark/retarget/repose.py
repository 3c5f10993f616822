"""A mesh carried from one figure's pose to another's: what a fitted body knows, it is told.

Each vertex hangs on the nearest places of the figure that was fitted to it, and goes with them;
what lies off the surface (clothes, hair, other makers' shapes) turns as the bones there do, without
being stretched. Skinning by an inverse of blended matrices, the other way, blows up where a fit is
poor. Our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.benchmark.data.body import Body, bone_transforms, pose_body
from posebench.benchmark.data.body_fit import precise, squared_gaps, vertex_normals
from posebench.benchmark.retarget.figure_descent import Cloud
from posebench.benchmark.retarget.figures import Figures
from posebench.shapes import Float

LOD = 1700
"""Vertices of the body that meshes hang on."""

NEAR = 4
"""Vertices of the body that one of the mesh hangs on."""

SOFT = 1e-4
"""Square metres added to squared distances before they are inverted into weights."""

TURN = 0.05
"""Metres that a normal at a right angle counts for."""

PART = 5_000
"""Vertices at a time."""


@dataclass(frozen=True)
class Move:
    """One person in two poses: surfaces (V, 3) and normals (V, 3) in metres, and how bones turn
    (J, 3, 3) from the first to the second."""

    body: Body
    before: Float[Tensor, "v 3"]
    after: Float[Tensor, "v 3"]
    normals: Float[Tensor, "v 3"]
    turns: Float[Tensor, "j 3 3"]


def reposed(cloud: Cloud, person: Figures, goal: Figures) -> Float[Tensor, "n 3"]:
    """The points of a cloud in the goal's pose and place, metres, float64.

    ``person`` is the figure that was fitted to the cloud, ``goal`` the one fitted to the pose
    source.
    """
    move, whole = move_of(person, goal), cloud.double()
    rows = torch.arange(len(whole.points)).split(PART)
    return torch.cat([carried(whole.rows(each), move) for each in rows])


def move_of(person: Figures, goal: Figures) -> Move:
    """The one person in both poses, at the goal's place."""
    body = precise(LOD, person.pose.device)
    owner, first = person.people(body), torch.zeros(1, dtype=torch.int64, device=person.pose.device)
    before = pose_body(owner, first, person.pose)[0] * person.size.exp() + person.place
    after = pose_body(owner, first, goal.pose)[0] * person.size.exp() + goal.place
    here, _ = bone_transforms(owner, first, person.pose)
    there, _ = bone_transforms(owner, first, goal.pose)
    turns = nearest_rotations(there[0] @ torch.linalg.inv(here[0]))
    return Move(body, before, after, vertex_normals(before, body.faces), turns)


def carried(cloud: Cloud, move: Move) -> Float[Tensor, "n 3"]:
    """Points moved along with the vertices that they hang on."""
    gaps = squared_gaps(cloud.points, move.before).clamp_min(0)
    if cloud.normals is not None:
        gaps = gaps + TURN**2 * (1 - cloud.normals @ move.normals.T)
    found = gaps.topk(NEAR, dim=1, largest=False)
    weights = 1 / (found.values + SOFT)
    weights = (weights / weights.sum(dim=1, keepdim=True))[..., None]
    bones = (move.body.skin_weights[found.indices] * weights).sum(dim=1)
    turns = nearest_rotations((bones @ move.turns.flatten(1)).unflatten(1, (3, 3)))
    before = (move.before[found.indices] * weights).sum(dim=1)
    after = (move.after[found.indices] * weights).sum(dim=1)
    moved: Tensor = after + (turns @ (cloud.points - before)[..., None])[..., 0]
    return moved


def nearest_rotations(matrices: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
    """The rotation nearest to each matrix (orthogonal Procrustes)."""
    u, _, v = torch.linalg.svd(matrices)
    signs = torch.ones_like(matrices[:, 0])
    signs[:, 2] = torch.linalg.det(u @ v)
    turned: Tensor = u @ (signs[..., None] * v)
    return turned
