"""Poses with joints drawn apart, on any device: SMPL-NPT's ranges and wider ones (``poses``).

The published sampler runs in numpy on the host; this one draws the same ranges in torch, evenly,
the wide ones too (the frozen split ``wide`` has fewer extremes).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.poses import (
    HEAD,
    LEFT,
    NECK,
    PELVIS,
    RIGHT,
    SPINE1,
    SPINE2,
    SPINE3,
    WIDE,
    WIDE_TRUNK,
    Ranges,
    npt_ranges,
)
from posebench.shapes import Float

TRUNK = [SPINE1, SPINE2, SPINE3, NECK, HEAD]
NPT_TRUNK: Ranges = {
    "spine": ((-1.0, 1.0),) * 3,
    "neck": ((-1.0, 1.0),) * 3,
    "head": ((-1.0, 1.0),) * 3,
    "root": ((-2.0, 2.0),) * 3,
}
BENT, STRAIGHT, WIDER = 0, 1, 2


def ranged_poses(
    count: int, generator: Generator, *, families: int = 3, device: torch.device | str = "cpu"
) -> Float[Tensor, "n 24 3"]:
    """Axis-angle vectors, radians, of the bent, the straight and the wide family in equal parts, or
    of the first two alone."""
    low, high = _ranges(str(device))
    drawn = torch.rand(count, generator=generator, device=device)
    family = (families * drawn).long().clamp(max=families - 1)
    place = torch.rand((count, 24, 3), generator=generator, device=device)
    published = place.clone()
    for side in (LEFT, RIGHT):
        published[:, side["collar"]] = place[:, side["shoulder"]]
    for joint in TRUNK:  # one by one: a list of joints would be sent to the device
        published[:, joint] = place[:, SPINE1, :1]
    place = torch.where((family == WIDER)[:, None, None], place, published)
    return low[family] + (high - low)[family] * place


@lru_cache
def _ranges(device: str) -> tuple[Tensor, Tensor]:
    """Ends of the ranges, (3, 24, 3) each, radians."""
    ends = torch.zeros((3, 24, 3, 2))
    families = [(npt_ranges("bent"), NPT_TRUNK), (npt_ranges("straight"), NPT_TRUNK)]
    for row, (limb, trunk) in enumerate([*families, (WIDE, WIDE_TRUNK)]):
        limb = {**limb, "collar": limb.get("collar", limb["shoulder"])}
        for name, ranges in limb.items():
            ends[row, LEFT[name]] = torch.tensor(ranges)
            # A mirrored range keeps its draw at 0 at the end that mirrors the left side's.
            ends[row, RIGHT[name]] = torch.tensor(ranges) * torch.tensor([[1.0], [-1], [-1]])
        for joint in (SPINE1, SPINE2, SPINE3):
            ends[row, joint] = torch.tensor(trunk["spine"])
        for joint, name in ((NECK, "neck"), (HEAD, "head"), (PELVIS, "root")):
            ends[row, joint] = torch.tensor(trunk[name])
    low, high = torch.deg2rad(ends).to(device).unbind(dim=3)
    return low, high
