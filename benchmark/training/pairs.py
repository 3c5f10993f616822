"""Training pairs drawn on the fly, on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.body import Body, pose_body
from posebench.benchmark.data.ranged_poses import ranged_poses
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.geometry import centred
from posebench.rng import generator_for
from posebench.shapes import Float, Int

Pairs = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""(pose (B, M, 3), identity (B, N, 3), target (B, N, 3), faces (B, F, 3) or None)."""


def part_generator(recipe: Recipe, part: str, device: str) -> Generator:
    """The random numbers of one part of the run."""
    return generator_for(recipe.seed, part, recipe.victim, device=device)


def training_pairs(
    recipe: Recipe, meshes: Float[Tensor, "identities poses v 3"], body: Body, generator: Generator
) -> Iterator[Pairs]:
    """Endless (pose, identity, target, faces) batches drawn on the meshes' device.

    A share ``recipe.fresh_poses`` of the pairs is skinned in poses of their own. Vertex subsets are
    drawn with replacement (our choice: no sort, no host sync) and have no faces.
    """
    identities, poses = meshes.shape[:2]
    device = meshes.device

    def draw(high: int) -> Tensor:
        return torch.randint(high, (recipe.batch,), generator=generator, device=device)

    while True:
        who, giver, rest, pose = draw(identities), draw(identities), draw(poses), draw(poses)
        whole = torch.stack([meshes[giver, pose], meshes[who, rest], meshes[who, pose]])
        if recipe.fresh_poses:
            chosen = torch.rand((recipe.batch, 1, 1), generator=generator, device=device)
            new = in_fresh_poses(body, giver, who, generator)
            whole = torch.where(chosen < recipe.fresh_poses, new, whole)
        source, person, truth = whole
        yield points_of(recipe, source, person, truth, body.faces, generator)


def in_fresh_poses(
    body: Body, giver: Int[Tensor, "b"], who: Int[Tensor, "b"], generator: Generator
) -> Float[Tensor, "3 b v 3"]:
    """Centred meshes of the givers in poses p, of the persons in poses q, and of these in poses p,
    drawn from the ranges of the 400 poses."""
    b = len(who)
    poses = ranged_poses(2 * b, generator, families=2, device=body.rest.device)
    posed = pose_body(body, torch.cat([giver, who, who]), torch.cat([poses, poses[:b]]))
    rows: Tensor = centred(Clouds.dense(posed)).points
    return rows.view(3, b, *rows.shape[1:])


def points_of(
    recipe: Recipe,
    source: Float[Tensor, "b v 3"],
    person: Float[Tensor, "b v 3"],
    truth: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    generator: Generator,
) -> Pairs:
    """The points that a step sees of whole meshes: the pose source, and the person in two poses."""
    b, vertices = source.shape[:2]
    device = source.device
    rows = torch.arange(b, device=device)[:, None]
    ordered = None
    if recipe.points is None or recipe.pose_points is None:
        keys = torch.rand((2, b, vertices), generator=generator, device=device)
        of_pose, of_identity = keys.argsort(dim=2)
        ordered = of_identity.argsort(dim=1)[:, faces]
    else:
        of_pose, of_identity = (
            torch.randint(vertices, (b, count), generator=generator, device=device)
            for count in (recipe.pose_points, recipe.points)
        )
    seen = source[rows, of_pose], person[rows, of_identity], truth[rows, of_identity]
    if not recipe.surface:
        return (*seen, ordered)
    chosen = torch.rand((2, b, 1, 1), generator=generator, device=device) < recipe.surface
    spread = spread_evenly(source, faces, seen[0].shape[1], generator)
    drawn = torch.where(chosen[0], spread.on(source), seen[0])
    spread = spread_evenly(person, faces, seen[1].shape[1], generator)
    moved = [
        torch.where(chosen[1], spread.on(mesh), points)
        for mesh, points in zip((person, truth), seen[1:], strict=True)
    ]
    return drawn, moved[0], moved[1], ordered


@dataclass(frozen=True)
class SurfacePoints:
    """Places on triangles: of M corners indices (B, M, 3) and weights that sum to one (B, M, 3)."""

    corners: Int[Tensor, "b m 3"]
    weights: Float[Tensor, "b m 3"]

    def on(self, meshes: Float[Tensor, "b v 3"]) -> Float[Tensor, "b m 3"]:
        """Where they are on meshes of the same faces."""
        rows = torch.arange(len(meshes), device=meshes.device)[:, None, None]
        return (meshes[rows, self.corners] * self.weights[..., None]).sum(dim=2)


def spread_evenly(
    meshes: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], count: int, generator: Generator
) -> SurfacePoints:
    """Places drawn evenly from each mesh's area, in random order."""
    first, second, third = meshes[:, faces].unbind(2)
    area = torch.linalg.cross(second - first, third - first).norm(dim=2)
    triangle = torch.multinomial(area, count, replacement=True, generator=generator)
    shape = (len(meshes), count, 2)
    weights = torch.rand(shape, generator=generator, device=meshes.device)
    outside = weights.sum(dim=2, keepdim=True) > 1
    weights = torch.where(outside, 1 - weights, weights)
    return SurfacePoints(
        faces[triangle], torch.cat([1 - weights.sum(dim=2, keepdim=True), weights], dim=2)
    )
