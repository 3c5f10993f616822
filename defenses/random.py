"""Randomised and smoothing defences. What they cost on clean poses stands beside them in a record.

* ``drop``: a random share of the points is kept (random sampling, the plainest baseline).
* ``smooth``: Gaussian noise on every point, several times; the median of the outputs, per
  coordinate (median smoothing, Chiang et al., arXiv 2007.03730).
* ``knn``: every point is replaced by the mean of its nearest neighbours, itself included: a
  denoiser without parameters to train. Not random.

The random ones make a victim stochastic: attacks then average their gradient over draws (EOT,
Athalye et al., arXiv 1707.07397), and evaluation takes fresh draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.defenses.neighbours import nearest
from posebench.errors import InputError
from posebench.rng import generator_for


@dataclass(frozen=True)
class RandomDrop:
    """Keeps ``round(keep * n)`` random points of each cloud, at least one."""

    keep: float = 0.5
    stochastic = True

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise InputError(f"keep must be in (0, 1], got {self.keep}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        draws = (
            _random(torch.rand, pose.mask.shape, generator)
            .to(pose.mask.device)
            .masked_fill(~pose.mask, 2.0)
        )
        rank = draws.argsort(dim=1).argsort(dim=1)
        count = (self.keep * pose.counts).round().clamp_min(1)
        return pose.keep(rank < count[:, None])


@dataclass(frozen=True)
class GaussianSmoothing:
    """Adds Gaussian noise of ``sigma`` metres; outputs are combined by the median of ``votes``."""

    sigma: float = 0.02
    votes: int = 5
    stochastic = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise InputError(f"sigma must be a finite number >= 0, got {self.sigma}")
        if self.votes < 1:
            raise InputError(f"votes must be at least 1, got {self.votes}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        noise = _random(torch.randn, pose.points.shape, generator).to(pose.points)
        return pose.replace(pose.points + self.sigma * noise * pose.mask[..., None])


@dataclass(frozen=True)
class KNNMean:
    """Replaces each point by the mean of its ``neighbours`` nearest, itself included."""

    neighbours: int = 8

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise InputError(f"neighbours must be at least 1, got {self.neighbours}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """Smooth each cloud; which points are neighbours is treated as constant.

        Raises:
            InputError: if a cloud has fewer points than neighbours.
        """
        # A full cloud's count is known without asking the device.
        fewest = pose.points.shape[1] if pose.full else int(pose.counts.min())
        if fewest < self.neighbours:
            raise InputError(
                f"a mean of {self.neighbours} neighbours needs clouds of at least as many points, "
                f"got one of {fewest}"
            )
        points = pose.points
        _, index = nearest(points.detach(), pose.mask, self.neighbours)
        batch = torch.arange(len(points), device=points.device)[:, None, None]
        return Clouds(points[batch, index].mean(dim=2) * pose.mask[..., None], pose.mask, pose.full)


def _random(draw: Callable[..., Tensor], shape: torch.Size, generator: Generator | None) -> Tensor:
    """Draws on the generator's device; without one, from seed 0."""
    if generator is None:
        generator = generator_for(0, "defense")
    return draw(shape, generator=generator, device=generator.device)
