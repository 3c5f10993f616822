"""Does a body stand on its head, or turn its back? A note for the user, never a refusal.

Our choice: the body is compared with training poses of the embedded body as it stands, and turned
by half a turn about each axis. It is noted if a turned one fits much better.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from posebench.benchmark.data.body import TRAIN_IDENTITIES, load_body, pose_body
from posebench.benchmark.meshes.types import Points
from posebench.rng import generator_for
from posebench.shapes import Float

SEEN = 200
"""Poses that a body is compared with, and points that it is thinned to."""

BETTER = 1.35
"""How many times nearer a turned body must lie before anything is said. Higher, and bodies that
bend forward while they face away are missed; lower, and wide poses raise false alarms."""

TURNS = {
    "upside down": ((-1, -1, 1), (1, -1, -1)),
    "backwards": ((-1, 1, -1),),
}
"""Signs of the axes after half a turn about z or x, and about y."""


def stands_oddly(points: Points, seed: int = 0) -> str | None:
    """Which of ``TURNS`` a body (N, 3), y up, seems to need; None if it stands well or bent."""
    chosen = torch.from_numpy(points).float()
    order = torch.randperm(len(chosen), generator=generator_for(seed, "facing"))
    chosen = in_unit_height(chosen[order[:SEEN]])
    fits = {name: min(misfit(chosen, signs) for signs in turns) for name, turns in TURNS.items()}
    best = min(fits, key=lambda name: fits[name])
    return best if BETTER * fits[best] < misfit(chosen, (1, 1, 1)) else None


def misfit(points: Float[Tensor, "n 3"], signs: tuple[int, int, int]) -> float:
    """Chamfer distance to the nearest of the known poses, in body heights."""
    turned = points * torch.tensor(signs)
    gaps = torch.cdist(turned.expand(SEEN, -1, -1), known_poses())
    return float((gaps.amin(dim=2).mean(dim=1) + gaps.amin(dim=1).mean(dim=1)).min())


@cache
def known_poses() -> Float[Tensor, "p n 3"]:
    """Training people in training poses, every fourth vertex of the smallest body."""
    body = load_body(800)
    poses = body.poses["seen"][:: len(body.poses["seen"]) // SEEN][:SEEN]
    people = torch.tensor(TRAIN_IDENTITIES)[torch.arange(SEEN) % len(TRAIN_IDENTITIES)]
    return in_unit_height(pose_body(body, people, poses)[:, ::4])


def in_unit_height(points: Float[Tensor, "... n 3"]) -> Tensor:
    """Centred by the bounding box, which becomes 1 high."""
    low, high = points.amin(dim=-2, keepdim=True), points.amax(dim=-2, keepdim=True)
    return (points - (low + high) / 2) / (high - low)[..., 1:2]
