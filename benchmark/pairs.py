"""Training pairs drawn on the fly, on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Generator, Tensor

from posebench.benchmark.recipe import Recipe
from posebench.cloud import Clouds
from posebench.interfaces import Batch
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
        source = meshes[giver, pose, of_pose]
        if recipe.surface:
            spread = on_surface(meshes[giver[:, 0], pose[:, 0]], faces, source.shape[1], generator)
            chosen = torch.rand((b, 1, 1), generator=generator, device=device) < recipe.surface
            source = torch.where(chosen, spread, source)
        yield (
            source,
            meshes[who, rest, of_identity],
            meshes[who, pose, of_identity],
            ordered,
        )


def on_surface(
    meshes: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], count: int, generator: Generator
) -> Float[Tensor, "b m 3"]:
    """Points drawn evenly from each mesh's area, in random order."""
    corners = meshes[:, faces]
    first, second = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    area = torch.linalg.cross(first, second).norm(dim=2)
    triangle = torch.multinomial(area, count, replacement=True, generator=generator)[..., None]
    u, v = torch.rand(
        (2, len(meshes), count, 1), generator=generator, device=meshes.device
    ).unbind()
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    origin, first, second = (
        each.gather(1, triangle.expand(-1, -1, 3)) for each in (corners[:, :, 0], first, second)
    )
    return origin + u * first + v * second


def pairs_to_watch(recipe: Recipe, meshes: Tensor, faces: Tensor) -> Batch:
    """16 training pairs that the run is watched on, the same all along."""
    generator = part_generator(recipe, "watch", str(meshes.device))
    pairs = training_pairs(replace(recipe, batch=16), meshes, faces, generator)
    pose, identity, target, _ = next(pairs)
    return Batch(
        Clouds.dense(pose),
        Clouds.dense(identity),
        Clouds.dense(target),
        torch.zeros((16, 1, 3), dtype=torch.int64, device=meshes.device),
        torch.arange(16),
    )
