"""Training pairs of the open regime: people, poses and points drawn anew at every step.

Nothing is stored but the body: a step draws two new people a pair (``data.bodies``), two poses
(``data.natural``, a share from the published family's ranges; half of the persons stand as
characters are modelled) and the points of two clouds (``data.tessellation``), and skins these
points alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.bodies import draw_people
from posebench.benchmark.data.body import LODS, Body, bone_transforms, load_body, pose_body
from posebench.benchmark.data.natural import natural_poses
from posebench.benchmark.data.ranged_poses import ranged_poses
from posebench.benchmark.data.skinning import blend
from posebench.benchmark.data.tessellation import (
    Table,
    at_rest,
    draw_points,
    load_table,
    rest_points,
)
from posebench.benchmark.training.pairs import Pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.geometry import centred
from posebench.shapes import Float
from posebench.victims import SIZES

PROTOCOL_SHARE = 0.25
"""Share of poses from the ranges of SMPL-NPT's sampler and its wider relatives (our choice)."""

MODELLED_SHARE = 0.5
"""Share of persons given in a T- or an A-pose, as characters come (our choice): natural poses alone
hold 3 %."""


def open_pairs(recipe: Recipe, generator: Generator, device: str) -> Iterator[Pairs]:
    """Endless (pose, identity, target, faces) batches; nothing waits for the device.

    Clouds are centred by the bounding box of the whole body, as whole meshes are in a test: that of
    the vertices which reach furthest from each bone.
    """
    vertices = SIZES[recipe.size].vertices
    body = load_body(vertices, device=device)
    if recipe.points is None or recipe.pose_points is None:
        while True:
            yield whole_meshes(body, recipe.batch, generator)
    table = load_table(device)
    while True:
        yield point_clouds(body, table, recipe, generator)


def open_poses(count: int, generator: Generator, device: torch.device) -> Float[Tensor, "n 24 3"]:
    """Natural poses, and a share with joints drawn apart."""
    apart = torch.rand((count, 1, 1), generator=generator, device=device) < PROTOCOL_SHARE
    natural = natural_poses(count, generator, device=device)
    return torch.where(apart, ranged_poses(count, generator, device=device), natural)


def pair_poses(pairs: int, generator: Generator, device: torch.device) -> Float[Tensor, "n 24 3"]:
    """Of the givers, then of the persons, the last of whom stand as characters are modelled."""
    each = round(pairs * MODELLED_SHARE / 2)
    modelled = [
        natural_poses(each, generator, family=family, device=device)
        for family in ("t-pose", "a-pose")
    ]
    return torch.cat([open_poses(2 * (pairs - each), generator, device), *modelled])


def point_clouds(body: Body, table: Table, recipe: Recipe, generator: Generator) -> Pairs:
    """One batch of subsets: a giver in a pose, a person in another, the person in that pose."""
    assert recipe.points is not None
    assert recipe.pose_points is not None
    b, device, own_level = recipe.batch, body.rest.device, LODS.index(body.rest.shape[1])
    people = draw_people(2 * b, generator, device=device)
    skeleton = people.of(replace(body, rest=body.rest[:, :0], skin_weights=body.skin_weights[:0]))
    poses = pair_poses(b, generator, device)
    # Rows: the givers in poses p, the persons in poses q, the persons in poses p.
    who = torch.arange(2 * b, device=device)
    who, what = torch.cat([who, who[b:]]), torch.cat([who, who[:b]])
    rotation, translation = bone_transforms(skeleton, who, poses[what])

    def moved(rows: slice, rest: Tensor, weights: Tensor) -> Tensor:
        return blend(weights, rotation[rows], translation[rows], rest) - centre[rows]

    probes = table.rows[table.probes]
    rest, weights = at_rest(probes, people.blend), probes[:, -rotation.shape[1] :]
    low, high = blend(weights, rotation, translation, rest[who]).aminmax(dim=1, keepdim=True)
    centre = (low + high) / 2
    givers, persons, targets = slice(b), slice(b, 2 * b), slice(2 * b, 3 * b)
    places = draw_points(table, rotation[givers], recipe.pose_points, own_level, generator)
    source = moved(givers, *rest_points(table, people.blend[:b], places))
    places = draw_points(table, rotation[persons], recipe.points, own_level, generator)
    found = rest_points(table, people.blend[b:], places)
    return source, moved(persons, *found), moved(targets, *found), None


def whole_meshes(body: Body, batch: int, generator: Generator) -> Pairs:
    """One batch of whole meshes at the body's level of detail, in random vertex orders."""
    device, vertices = body.rest.device, body.rest.shape[1]
    people = draw_people(2 * batch, generator, device=device).of(body)
    poses = pair_poses(batch, generator, device)
    keys = torch.rand((2, batch, vertices), generator=generator, device=device)
    of_pose, of_identity = keys.argsort(dim=2)
    who = torch.arange(2 * batch, device=device)
    meshes = [
        centred(Clouds.dense(pose_body(people, rows, poses[given], vertices=order))).points
        for rows, given, order in (
            (who[:batch], who[:batch], of_pose),
            (who[batch:], who[batch:], of_identity),
            (who[batch:], who[:batch], of_identity),
        )
    ]
    return meshes[0], meshes[1], meshes[2], of_identity.argsort(dim=1)[:, body.faces]
