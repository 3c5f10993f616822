"""Training pairs drawn on the fly, on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.benchmark.training.recipe import Recipe
from posebench.rng import generator_for
from posebench.shapes import Float, Int

Pairs = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""(pose (B, M, 3), identity (B, N, 3), target (B, N, 3), faces (B, F, 3) or None)."""


def part_generator(recipe: Recipe, part: str, device: str) -> Generator:
    """The random numbers of one part of the run."""
    return generator_for(recipe.seed, part, recipe.victim, device=device)


def training_pairs(
    recipe: Recipe,
    meshes: Float[Tensor, "identities poses v 3"],
    faces: Int[Tensor, "f 3"],
    generator: Generator,
) -> Iterator[Pairs]:
    """Endless (pose, identity, target, faces) batches drawn on the meshes' device.

    Vertex subsets are drawn with replacement (our choice: no sort, no host sync) and have no
    faces.
    """
    identities, poses, vertices = meshes.shape[:3]
    device = meshes.device

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, device=device)

    while True:
        b = recipe.batch
        who, giver, rest, pose = (
            draw(identities, b, 1),
            draw(identities, b, 1),
            draw(poses, b, 1),
            draw(poses, b, 1),
        )
        ordered = None
        if recipe.points is None or recipe.pose_points is None:
            keys = torch.rand((2, b, vertices), generator=generator, device=device)
            of_pose, of_identity = keys.argsort(dim=2)
            ordered = of_identity.argsort(dim=1)[:, faces]
        else:
            of_pose = draw(vertices, b, recipe.pose_points)
            of_identity = draw(vertices, b, recipe.points)
        source, person, truth = (
            meshes[giver, pose, of_pose],
            meshes[who, rest, of_identity],
            meshes[who, pose, of_identity],
        )
        if recipe.surface:
            chosen = torch.rand((2, b, 1, 1), generator=generator, device=device) < recipe.surface
            whole = meshes[giver[:, 0], pose[:, 0]]
            spread = spread_evenly(whole, faces, source.shape[1], generator)
            source = torch.where(chosen[0], spread.on(whole), source)
            whole, posed = meshes[who[:, 0], rest[:, 0]], meshes[who[:, 0], pose[:, 0]]
            spread = spread_evenly(whole, faces, person.shape[1], generator)
            person = torch.where(chosen[1], spread.on(whole), person)
            truth = torch.where(chosen[1], spread.on(posed), truth)
        yield source, person, truth, ordered


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
