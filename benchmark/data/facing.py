"""Which way does a body stand and face, and is all of it there? Answers for notes, never refusals.

Our choice: the body is compared with training poses of the embedded body as it stands, turned by
half and quarter turns, and with halves of those bodies. Something is said if that fits much better.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.body import TRAIN_IDENTITIES, load_body, pose_body
from posebench.benchmark.data.poses import LEFT, RIGHT
from posebench.benchmark.meshes.frame import Frame, frame_for
from posebench.benchmark.meshes.types import Points
from posebench.rng import generator_for
from posebench.shapes import Float

SEEN = 200
"""Poses that a body is compared with, and points that it is thinned to."""

BETTER = {"upside down": 1.2, "backwards": 1.35, "facing its left": 1.35, "facing its right": 1.35}
"""How many times nearer a turned body must lie before anything is said. Higher, and bodies that
bend forward while they face away are missed; lower, and wide poses raise false alarms."""

FEET = 0.02
"""Body heights by which soles lie behind shins in a body that is backwards; in standing ones they
lie 0.02 to 0.05 in front."""

BETTER_WITH_FEET = 1.05
"""What is enough if the feet say so, too: from behind arms and trunk look as from the front."""

HALF_BETTER = 1.3
"""The same of halves of bodies; whole bodies in natural poses reach 1.1."""

SHORT = 1.15
"""Metres of the largest side below which a body that fits a half just as well is taken for one."""

VOXEL = 0.04
"""Body heights; one point of each voxel is looked at, so how dense a mesh is does not count."""

STANDING = (0.0, -0.8, -1.2)
"""Radians by which the arms of the known standing poses hang: T-pose, A-pose, almost down."""

ROUGH, NEAREST = 64, 24
"""Points that choose among known poses, and poses that are chosen."""

HALF_POINTS = 90
"""Points of each known half."""

TURNS = {
    "upside down": ("half a turn about z", "half a turn about x"),
    "backwards": ("half a turn about y",),
    "facing its left": ("a quarter to the right",),
    "facing its right": ("a quarter to the left",),
}
"""How a body may stand -> what would mend it."""

MENDS = {
    "half a turn about z": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "half a turn about x": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "half a turn about y": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "a quarter to the right": ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "a quarter to the left": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)),
}
"""Rotations; the body's left is x, its front z."""

HALVES = {"upper": (1, 1), "lower": (1, -1), "left": (0, 1), "right": (0, -1)}
"""Name -> the axis that is cut, and the side that is left."""

Rotation = tuple[tuple[float, ...], ...]


def stands_oddly(points: Points, seed: int = 0) -> str | None:
    """Which of ``TURNS`` a body (N, 3), y up, seems to be; None if it stands well or bent."""
    chosen = thinned(points, seed)
    fits = {
        name: min(misfit(turned(chosen, MENDS[mend])) for mend in mends)
        for name, mends in TURNS.items()
    }
    best = min(fits, key=lambda name: fits[name])
    better = BETTER[best]
    if best == "backwards" and soles_ahead(points) < -FEET:
        better = BETTER_WITH_FEET
    return best if better * fits[best] < misfit(chosen) else None


def soles_ahead(points: Points) -> float:
    """How far the lowest points (N, 3) lie in front of those above them, in body heights."""
    low, height = points[:, 1].min(), np.ptp(points[:, 1])
    share = (points[:, 1] - low) / height
    soles, shins = points[share < 0.05, 2], points[(share > 0.08) & (share < 0.18), 2]
    if not (len(soles) and len(shins)):
        return 0.0
    return float((soles.mean() - shins.mean()) / height)


def half_of(points: Points, seed: int = 0) -> str | None:
    """Which half of a body points (N, 3), metres, y up, seem to be; None for a whole one."""
    chosen = thinned(points, seed)
    fits = {name: misfit(chosen, known_halves()[name]) for name in HALVES}
    best = min(fits, key=lambda name: fits[name])
    short = float(np.ptp(points, axis=0).max()) < SHORT
    better = 1.0 if short and best in ("upper", "lower") else HALF_BETTER
    return best if better * fits[best] < misfit(chosen) else None


def fitting_axis(points: Points, frame: Frame, seed: int = 0) -> tuple[str, float]:
    """The up axis and the turn, 0 or 180 degrees, in which a body fits best.

    Args:
        points: (N, 3) metres, as the frame brought them to our axes.
        frame: the frame that they were read with.
        seed: of the choice of points.
    """
    file = frame.outwards(points)
    found = {}
    for axis in ("y", "z", "-z", "-y", "x", "-x"):
        for turn in (0.0, 180.0):
            placed = frame_for(str(frame.unit), axis, turn).inwards(file)
            found[axis, turn] = misfit(thinned(placed, seed))
    return min(found, key=lambda each: found[each])


def thinned(points: Points, seed: int) -> Float[Tensor, "n 3"]:
    """``SEEN`` points in a box 1 high, evenly over the body whatever the file's density."""
    chosen = torch.from_numpy(points).float()
    order = torch.randperm(len(chosen), generator=generator_for(seed, "facing"))
    return evenly(in_unit_height(chosen[order]), SEEN)


def evenly(points: Float[Tensor, "n 3"], count: int) -> Float[Tensor, "m 3"]:
    """``count`` points of different voxels, or some of them twice, in a box 1 high."""
    cells = torch.floor(points / VOXEL).long()
    _, cell = torch.unique(cells, dim=0, return_inverse=True)
    numbers = torch.arange(len(points))
    first = torch.full((int(cell.max()) + 1,), len(points)).scatter_reduce(0, cell, numbers, "amin")
    kept = points[first.sort().values]
    return in_unit_height(kept[torch.arange(count) * len(kept) // count])


def turned(points: Float[Tensor, "n 3"], rotation: Rotation) -> Float[Tensor, "n 3"]:
    """Points (n, 3) under a rotation (3, 3)."""
    result: Tensor = points @ torch.tensor(rotation, dtype=points.dtype).T
    return result


def misfit(points: Float[Tensor, "n 3"], known: Float[Tensor, "p m 3"] | None = None) -> float:
    """Chamfer distance to the nearest of the known poses, in body heights.

    Few points choose the poses that are compared in full, which makes it five times as fast.
    """
    known = known_poses() if known is None else known
    rough = chamfer(points[:ROUGH], known[:, :ROUGH])
    near = rough.topk(min(NEAREST, len(known)), largest=False).indices
    return float(chamfer(points, known[near]).min())


def chamfer(points: Float[Tensor, "n 3"], known: Float[Tensor, "p m 3"]) -> Float[Tensor, "p"]:
    """Mean distances to the nearest points, there and back, to each of the known poses."""
    gaps = torch.cdist(points.expand(len(known), -1, -1), known)
    there_and_back: Tensor = gaps.amin(dim=2).mean(dim=1) + gaps.amin(dim=1).mean(dim=1)
    return there_and_back


@cache
def known_poses() -> Float[Tensor, "p n 3"]:
    """Training people in training poses and standing still, thinned as bodies are."""
    body = load_body(1700)
    poses = body.poses["seen"][:: len(body.poses["seen"]) // SEEN][:SEEN]
    still = torch.zeros(len(STANDING), *poses.shape[1:])
    for row, angle in enumerate(STANDING):
        still[row, LEFT["shoulder"], 2], still[row, RIGHT["shoulder"], 2] = angle, -angle
    still = still.repeat_interleave(len(TRAIN_IDENTITIES), dim=0)
    people = torch.tensor(TRAIN_IDENTITIES)[torch.arange(SEEN + len(still)) % len(TRAIN_IDENTITIES)]
    made = pose_body(body, people, torch.cat([poses, still]))
    generator = generator_for(0, "known")
    order = torch.randperm(made.shape[1], generator=generator)
    return torch.stack([evenly(in_unit_height(person[order]), SEEN) for person in made])


@cache
def known_halves() -> dict[str, Float[Tensor, "p n 3"]]:
    """The same people cut through the middle of their boxes, name of the half -> its points."""
    found = {}
    for name, (axis, side) in HALVES.items():
        halves = [person[side * person[:, axis] > 0] for person in known_poses()]
        rows = [half[torch.arange(HALF_POINTS) * len(half) // HALF_POINTS] for half in halves]
        found[name] = in_unit_height(torch.stack(rows))
    return found


def in_unit_height(points: Float[Tensor, "... n 3"]) -> Tensor:
    """Centred by the bounding box, which becomes 1 high."""
    low, high = points.amin(dim=-2, keepdim=True), points.amax(dim=-2, keepdim=True)
    return (points - (low + high) / 2) / (high - low)[..., 1:2]
