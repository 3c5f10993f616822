"""Virtual depth cameras around a mesh: what each pixel sees, exactly.

Images are made by a z-buffer of ray-triangle hits at pixel centres, in float64: the same pixels,
triangles and depths as open3d's ray casting, about as fast, without its 270 MB (see tests and
docs/design/006-scans.md). Frame: metres, y up. Camera coordinates: x right, y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from posebench.shapes import Float, Int

Part = TypeVar("Part")  # a dataclass of tensors

CAMERAS = 12
DISTANCE = 2.3
HEIGHTS = (0.4, 1.1, 1.9)
"""Cameras stand on a ring, 30 degrees apart, at these heights in turn, and look at its axis."""

AIM = 0.9
"""Height of the point that all cameras look at: the middle of a person."""

WIDTH, HEIGHT, FOCAL = 360, 480, 390.0
"""Pixels. 49 x 63 degrees hold a person of 2 m with stretched arms; about 120,000 body points."""


@dataclass(frozen=True)
class Hits:
    """What a camera sees: n pixels with something in front of them.

    Attributes:
        ray: (n, 3) camera coordinates, 1 deep.
        pixel: (n,) row * WIDTH + column.
        depth: (n,) metres along the camera's axis.
        cosine: (n,) of the angle between ray and surface normal, 0 to 1.
        triangle: (n,), -1 for the floor.
        barycentric: (n, 3).
    """

    ray: Float[Tensor, "n 3"]
    pixel: Int[Tensor, "n"]
    depth: Float[Tensor, "n"]
    cosine: Float[Tensor, "n"]
    triangle: Int[Tensor, "n"]
    barycentric: Float[Tensor, "n 3"]


def camera(
    number: int, turn: float, foot: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3 3"]]:
    """A camera's position and its axes (rows: right, down, forward) in the mesh's frame."""
    angle = turn + 2 * math.pi * number / CAMERAS
    height = HEIGHTS[number % len(HEIGHTS)]
    offset = foot.new_tensor([DISTANCE * math.sin(angle), height, DISTANCE * math.cos(angle)])
    forward = foot.new_tensor([0, AIM, 0]) - offset
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, foot.new_tensor([0, 1, 0]))
    right = right / right.norm()
    return foot + offset, torch.stack([right, torch.linalg.cross(forward, right), forward])


def rays(pixel: Int[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """Rays through pixel centres in camera coordinates, 1 deep."""
    row, column = (pixel // WIDTH).double(), (pixel % WIDTH).double()
    x, y = (column - (WIDTH - 1) / 2) / FOCAL, (row - (HEIGHT - 1) / 2) / FOCAL
    return torch.stack([x, y, torch.ones_like(x)], dim=1)


def visible(corners: Float[Tensor, "f 3 3"]) -> Hits:
    """The nearest triangle behind each pixel; ``corners`` in camera coordinates, all in front.

    Homogeneous rasterisation (Olano and Greer 1997): with edges e_i = v_j x v_k a ray r meets the
    triangle where all r . e_i have one sign, at barycentric weights r . e_i / sum and at depth
    det(v) / sum. Only pixels inside a triangle's bounding box are tried.
    """
    limit = corners.new_tensor([WIDTH - 1, HEIGHT - 1])
    projected = corners[..., :2] / corners[..., 2:] * FOCAL + limit / 2
    first = projected.amin(dim=1).ceil().clamp_min(0).long()
    last = projected.amax(dim=1).floor().minimum(limit).long()
    columns, rows = (last - first + 1).clamp_min(0).unbind(dim=1)
    count = columns * rows
    face = torch.repeat_interleave(count)
    number = torch.arange(len(face)) - (count.cumsum(0) - count)[face]
    row = number // columns[face]
    column = number - row * columns[face] + first[face, 0]
    row += first[face, 1]
    edges = torch.linalg.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
    x, y = (column.double() - limit[0] / 2) / FOCAL, (row.double() - limit[1] / 2) / FOCAL
    # One vector per number: sums over axes of length 3 would take most of the time.
    sides = [a[face] * x + b[face] * y + c[face] for a, b, c in edges.permute(1, 2, 0).contiguous()]
    inside = (sides[0] >= 0) & (sides[1] >= 0) & (sides[2] >= 0)
    inside |= (sides[0] <= 0) & (sides[1] <= 0) & (sides[2] <= 0)
    total = sides[0] + sides[1] + sides[2]
    met = (inside & (total != 0)).nonzero()[:, 0]
    face, pixel, total = face[met], (row * WIDTH + column)[met], total[met]
    volume = (corners[:, 0] * edges[:, 0]).sum(dim=1)
    depth = volume[face] / total
    # Rays through a shared edge meet two triangles at one depth: the first of them counts.
    tied = (depth == _least(depth, pixel)[pixel]).nonzero()[:, 0]
    winner = _least(tied.double(), pixel[tied])
    hit = winner[winner.isfinite()].long()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-300)
    ray = rays(pixel[hit])
    cosine = (normal[face[hit]] * ray).sum(dim=1).abs() / ray.norm(dim=1)
    weights = torch.stack([side[met][hit] / total[hit] for side in sides], dim=1)
    return Hits(ray, pixel[hit], depth[hit], cosine, face[hit], weights)


def floor_depth(
    ray: Float[Tensor, "n 3"], axes: Float[Tensor, "3 3"], foot: Float[Tensor, "3"]
) -> Float[Tensor, "n"]:
    """Depth at which rays reach the floor, infinity for those that do not fall.

    ``foot`` is a point of the floor relative to the camera, in the mesh's directions.
    """
    fall = ray @ axes[:, 1]
    return torch.where(fall < 0, foot[1] / fall, torch.inf)


def floor_around(
    seen: Hits, axes: Float[Tensor, "3 3"], foot: Float[Tensor, "3"], radius: float
) -> Hits:
    """The floor in the pixels that the mesh leaves free, up to a radius around the foot."""
    free = torch.ones(WIDTH * HEIGHT, dtype=torch.bool)
    free[seen.pixel] = False
    pixel = free.nonzero()[:, 0]
    ray = rays(pixel)
    depth = floor_depth(ray, axes, foot)
    aside = ((ray * depth[:, None]) @ axes - foot)[:, [0, 2]].norm(dim=1)
    near = aside <= radius  # false where the depth is infinite
    pixel, ray, depth = pixel[near], ray[near], depth[near]
    cosine = -(ray @ axes[:, 1]) / ray.norm(dim=1)
    none = torch.full_like(pixel, -1)
    return Hits(ray, pixel, depth, cosine, none, torch.zeros_like(ray))


def step_behind(seen: Hits) -> Float[Tensor, "n"]:
    """Metres from each pixel's surface back to the farthest of its four neighbours'.

    Infinite where a neighbour sees nothing.
    """
    depth = torch.full((HEIGHT + 2, WIDTH + 2), torch.inf, dtype=torch.float64)
    row, column = seen.pixel // WIDTH + 1, seen.pixel % WIDTH + 1
    depth[row, column] = seen.depth
    sides = [depth[row + i, column + j] for i, j in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    return torch.stack(sides).amax(dim=0) - seen.depth


def joined(*parts: Part) -> Part:
    """Dataclasses of tensors, end to end."""
    names = [field.name for field in fields(cast(Any, parts[0]))]
    return type(parts[0])(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def _least(values: Float[Tensor, "n"], pixel: Int[Tensor, "n"]) -> Float[Tensor, "p"]:
    """Smallest value of each pixel of the image, infinity where there is none."""
    image = values.new_full((WIDTH * HEIGHT,), torch.inf)
    return image.scatter_reduce_(0, pixel, values, "amin")
