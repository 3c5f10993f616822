"""Points of a body as other makers and scanners place them: vertices or surface, uneven.

All four levels of detail lie in one table of vertices. A point is a place on a triangle of one
level; its rest position and skin weights are interpolated from the corners, as if the body had
been meshed with a vertex there (the levels themselves were made so from the finest). Every cloud
draws its own pattern:

* level of detail: half the clouds have the level that the network is tested on;
* a corner of the triangle (the mesh's vertices) or any place on it;
* triangles alike (as vertices are, dense at hands, feet and face), by area, or between the two;
* denser and thinner parts of the body: a random log-density per bone, blended over the skin;
* one side only, more or less: less of what faces away from a random direction, as scans have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding_bag, normalize

from posebench.benchmark.data.body import LODS, TRAIN_IDENTITIES, load_body
from posebench.shapes import Float, Int

OWN_LEVEL = 0.5
"""Share of clouds of the level of detail that the network is tested on."""

ON_VERTICES = 0.65
BY_TRIANGLES = 0.5
"""Share of clouds whose triangles count alike; the others lie evenly between that and area."""

UNEVEN = 0.4
"""Share of clouds with denser and thinner parts, and their spread of log-density at most 1."""

ONE_SIDED = 0.25
"""Share of clouds seen from one side, with up to the whole back missing."""


CANDIDATES = 4
"""Triangles that are looked at for every point; points are drawn among them by their density."""


@dataclass(frozen=True)
class Table:
    """All levels of detail of the training identities in one; V vertices, F triangles, J bones.

    Attributes:
        rows: (V, 3 * 16 + J) each coordinate at rest in every training identity; skin weights.
        faces: (F, 3) int64.
        starts: (levels + 1,) where each level's triangles begin; the last is F.
        bone: (F,) the bone that moves a triangle most.
        shapes: (F, 4) of the mean training identity at rest: unit normal, and logarithm of the area
            over the level's mean.
        probes: (P,) vertices that reach furthest from each bone: they span bounding boxes.
    """

    rows: Float[Tensor, "v c"]
    faces: Int[Tensor, "f 3"]
    starts: Int[Tensor, "l"]
    bone: Int[Tensor, "f"]
    shapes: Float[Tensor, "f 4"]
    probes: Int[Tensor, "p"]


@dataclass(frozen=True)
class Points:
    """Places on the body: of n points corners (B, n, 3) and weights that sum to one (B, n, 3)."""

    corners: Int[Tensor, "b n 3"]
    weights: Float[Tensor, "b n 3"]


@lru_cache
def load_table(device: str = "cpu") -> Table:
    """The table on a device."""
    people = list(TRAIN_IDENTITIES)
    rows, faces, bone, shapes = [], [], [], []
    start, starts = 0, [0]
    for vertices in LODS:
        body = load_body(vertices)
        rest = body.rest[people]
        rows.append(torch.cat([rest.permute(1, 2, 0).flatten(1), body.skin_weights], dim=1))
        corners = rest.mean(dim=0)[body.faces]
        crossed = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = crossed.norm(dim=1).clamp(min=1e-9).log()
        faces.append(body.faces + start)
        starts.append(starts[-1] + len(body.faces))
        bone.append(body.skin_weights[body.faces].sum(dim=1).argmax(dim=1))
        area = size - size.exp().mean().log()
        shapes.append(torch.cat([normalize(crossed, dim=1), area[:, None]], dim=1))
        start += vertices
    return Table(
        torch.cat(rows).to(device),
        torch.cat(faces).to(device),
        torch.tensor(starts, device=device),
        torch.cat(bone).to(device),
        torch.cat(shapes).to(device),
        furthest().to(device),
    )


def furthest() -> Int[Tensor, "p"]:
    """Vertices of the second level that reach furthest from each bone, in 14 directions."""
    level = 1
    body = load_body(LODS[level])
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0, 1])] * 3)
    # Towards faces and corners of a cube.
    directions = normalize(steps[steps.abs().sum(dim=1) % 2 == 1], dim=1)
    reach = body.rest[list(TRAIN_IDENTITIES)].mean(dim=0) @ directions.T
    owner = body.skin_weights.argmax(dim=1)
    found = [
        torch.where(owner[:, None] == bone, reach, -torch.inf).argmax(dim=0)
        for bone in owner.unique()
    ]
    chosen: Tensor = torch.cat(found).unique()
    return chosen + sum(LODS[:level])


def draw_points(
    table: Table,
    turns: Float[Tensor, "b j 3 3"],
    count: int,
    own_level: int,
    generator: Generator,
) -> Points:
    """Points of one cloud a row, each row in its own pattern.

    Args:
        turns: the bones' rotations in the pose that a one-sided pattern looks at.
        own_level: index into LODS of the level that the network is tested on.
    """
    b, device = len(turns), turns.device
    share = torch.rand((7, b, 1), generator=generator, device=device)
    other = (share[1] * len(LODS)).long().clamp(max=len(LODS) - 1)
    level = torch.where(share[0] < OWN_LEVEL, own_level, other)
    by_area = torch.where(share[2] < BY_TRIANGLES, 0.0, share[3])
    uneven = torch.where(share[4] < UNEVEN, share[4] / UNEVEN, 0.0)
    one_sided = torch.where(share[5] < ONE_SIDED, share[5] / ONE_SIDED, 0.0)

    place = torch.rand((b, count * CANDIDATES), generator=generator, device=device)
    first, last = table.starts[level], table.starts[level + 1]
    maybe = torch.minimum(first + (place * (last - first)).long(), last - 1)
    noise = uneven * torch.randn((b, turns.shape[1]), generator=generator, device=device)
    view = normalize(torch.randn((b, 3), generator=generator, device=device), dim=1)
    local = (view[:, None, :, None] * turns).sum(dim=2)  # R^T v for every bone
    of_bones = torch.cat([local, noise[..., None]], dim=2).flatten(0, 1)
    first_bone = turns.shape[1] * torch.arange(b, device=device)[:, None]
    bone = first_bone + table.bone.index_select(0, maybe.flatten()).view_as(maybe)
    moving = of_bones.index_select(0, bone.flatten()).view(*maybe.shape, 4)
    shape = table.shapes.index_select(0, maybe.flatten()).view(*maybe.shape, 4)
    facing = (moving[..., :3] * shape[..., :3]).sum(dim=2)
    # From front to back within some 30 degrees, times how one-sided the cloud is.
    seen = 1 - one_sided * torch.sigmoid(-8 * facing)
    density = seen * (by_area * shape[..., 3] + moving[..., 3]).exp()
    triangle = maybe.gather(1, draw_rows(density, count, generator))
    weights = corner_weights(b, count, share[6] < ON_VERTICES, generator, device)
    return Points(table.faces[triangle], weights)


def draw_rows(
    density: Float[Tensor, "b f"], count: int, generator: Generator
) -> Int[Tensor, "b n"]:
    """Indices drawn with replacement in proportion to each row; nothing waits for the device."""
    total = density.cumsum(dim=1)
    draw = torch.rand((len(density), count), generator=generator, device=density.device)
    found = torch.searchsorted(total, draw * total[:, -1:], right=True)
    return found.clamp(max=density.shape[1] - 1)


def corner_weights(
    rows: int,
    count: int,
    on_vertices: Tensor,
    generator: Generator,
    device: torch.device,
) -> Float[Tensor, "b n 3"]:
    """Weights of even places on triangles, or of a random corner in the rows ``on_vertices``."""
    first, second = torch.rand((2, rows, count), generator=generator, device=device)
    root = first.sqrt()
    even = torch.stack([1 - root, root * (1 - second), root * second], dim=2)
    corner = (even == even.amax(dim=2, keepdim=True)).to(even.dtype)
    return torch.where(on_vertices[..., None], corner, even)


def rest_points(
    table: Table, blend: Float[Tensor, "b 16"], points: Points
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b n j"]]:
    """Rest positions in blended people, and skin weights, of the points."""
    b, n, _ = points.corners.shape
    rows = embedding_bag(
        points.corners.flatten(0, 1),
        table.rows,
        mode="sum",
        per_sample_weights=points.weights.flatten(0, 1),
    ).view(b, n, -1)
    return at_rest(rows, blend), rows[..., 3 * blend.shape[1] :]


def at_rest(rows: Float[Tensor, "*b n c"], blend: Float[Tensor, "b 16"]) -> Float[Tensor, "b n 3"]:
    """Rest positions in blended people of rows of the table."""
    places = rows[..., : 3 * blend.shape[1]].unflatten(-1, (3, -1)).flatten(-3, -2)
    mean: Tensor = (places @ blend[..., None]).unflatten(1, (-1, 3))[..., 0]
    return mean
