"""Radius outlier removal: drop points that have few others near them.

As in open3d and PCL: a point stays if more than ``neighbours`` points lie within ``radius`` of it,
itself counted. Unlike SOR it does not look at the rest of the cloud, so an attacker who moves many
points cannot move the limit; what the radius should be depends on how dense the cloud is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from posebench.cloud import Clouds
from posebench.defenses.neighbours import nearest
from posebench.errors import InputError
from posebench.shapes import Bool


@dataclass(frozen=True)
class RadiusOutlierRemoval:
    """Clears the mask of lone points; deterministic, so ``generator`` is not used.

    Attributes:
        neighbours: a point needs more of them within the radius, itself included.
        radius: metres. The default leaves nearly all of an undisturbed body of 1,700 vertices (our
            choice).
    """

    neighbours: int = 2
    radius: float = 0.06

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise InputError(f"neighbours must be at least 1, got {self.neighbours}")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise InputError(f"radius must be a positive number, got {self.radius}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """Clear the mask bits of points with too few neighbours; the densest point always stays.

        Raises:
            InputError: if a cloud has fewer points than the neighbourhood needs.
        """
        return pose.keep(self.kept(pose))

    def kept(self, pose: Clouds) -> Bool[torch.Tensor, "b n"]:
        """Which real points stay, (B, N); False on padding."""
        needed = self.neighbours + 1
        # A full cloud's count is known without asking the device.
        fewest = pose.points.shape[1] if pose.full else int(pose.counts.min())
        if fewest < needed:
            raise InputError(
                f"radius outlier removal with {self.neighbours} neighbours needs clouds of at "
                f"least {needed} points, got one of {fewest}"
            )
        with torch.no_grad():
            squared, _ = nearest(pose.points.detach(), pose.mask, needed)
            farthest = squared[..., -1].masked_fill(~pose.mask, torch.inf)
            # A cloud without any point is no cloud: in one too sparse, the densest place is left.
            limit = farthest.amin(dim=1, keepdim=True).clamp_min(self.radius**2)
            kept: torch.Tensor = (farthest <= limit) & pose.mask
        return kept
