"""Moving least squares (MLS): each point is put on a quadric through its neighbours.

By CGAL's ``jet_smooth_point_set`` (Cazals and Pouget, 2005): a polynomial of degree two is fitted
to the k nearest points, all weighing alike, over their plane of least squares, and the point is
projected onto it. The binding is compas_cgal, the extra ``mls``; docs/design/014-filters.md says
why that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError

FEWEST = 6
"""Coefficients of a polynomial of degree two in two variables."""


@dataclass(frozen=True)
class MLSProjection:
    """Smooths each cloud on the CPU; deterministic, counts and order stay.

    No gradient passes: the library has none. What it moves is a constant to autograd and the
    gradient is the identity's, through this defence as around it.

    Attributes:
        neighbours: k, the point itself included.
        iterations: times that the whole cloud is smoothed.
    """

    neighbours: int = 12
    iterations: int = 1

    def __post_init__(self) -> None:
        if self.neighbours < FEWEST:
            raise InputError(f"neighbours must be at least {FEWEST}, got {self.neighbours}")
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations}")
        if find_spec("compas_cgal") is None:
            raise InputError("defence 'mls' needs compas_cgal: pip install 'posebench[mls]'")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """The same points in the same order, each on the quadric of its neighbours.

        Raises:
            InputError: if a cloud has fewer points than neighbours, or holds NaN or infinity.
        """
        pose.check_finite("mls")
        if int(pose.counts.min()) < self.neighbours:
            raise InputError(
                f"mls with {self.neighbours} neighbours needs clouds of at least as many points, "
                f"got one of {int(pose.counts.min())}"
            )
        points, mask = pose.points.detach().cpu(), pose.mask.cpu()
        smooth = points.clone()
        for row, (cloud, real) in enumerate(zip(points, mask, strict=True)):
            smooth[row, real] = self.smoothed(cloud[real])
        moved = smooth.to(pose.points.device)
        return pose.replace(pose.points + (moved - pose.points).detach())

    def smoothed(self, points: Tensor) -> Tensor:
        """One cloud (n, 3), smoothed in float64."""
        from compas_cgal.reconstruction import pointset_smoothing

        wide: NDArray[np.float64] = np.ascontiguousarray(points.double().numpy())
        found = pointset_smoothing(wide, self.neighbours, self.iterations)
        return torch.from_numpy(np.ascontiguousarray(found)).to(points.dtype)
