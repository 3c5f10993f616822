"""Statistical outlier removal (SOR): drop points whose neighbours are unusually far.

For each point, d = mean distance to its k nearest neighbours; a point stays if d is below
mean(d) + ratio * std(d) over the cloud (sample standard deviation). Conventions differ and so do
results, so the convention is part of the defence:

* ``open3d``: k neighbours **including** the point itself (distance 0), kept iff 0 < d < limit.
* ``pcl``: k neighbours without the point itself, kept iff d <= limit. Equals open3d at k + 1,
  because the self term only scales d by k / (k + 1).
* ``ifdefense``: k neighbours without itself, **squared** distances, kept iff d <= limit
  (IF-Defense, arXiv 2010.05272, whose defaults k = 2, ratio = 1.1 the paper's code credits).

The paper gives no parameters for its SOR.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.defenses.neighbours import nearest
from posebench.errors import InputError
from posebench.shapes import Bool, Float

Convention = Literal["open3d", "pcl", "ifdefense"]


@dataclass(frozen=True)
class SOR:
    """Clears the mask of outliers; deterministic, so ``generator`` is not used.

    Attributes:
        neighbours: k of the convention, at least 1 (2 for open3d, which counts the point itself).
        ratio: how many standard deviations above the mean a point may lie.
        convention: "ifdefense", "open3d" or "pcl".
    """

    neighbours: int = 2
    ratio: float = 1.1
    convention: Convention = "ifdefense"

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            raise InputError(
                f"SOR convention must be one of {', '.join(get_args(Convention))}, "
                f"got {self.convention!r}"
            )
        least = 2 if self.convention == "open3d" else 1
        if self.neighbours < least:
            raise InputError(
                f"SOR ({self.convention}) needs at least {least} neighbours, got {self.neighbours}"
            )
        if not self.ratio > 0:
            raise InputError(f"SOR ratio must be positive, got {self.ratio}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """Clear the mask bits of outliers.

        Raises:
            InputError: if a cloud has fewer points than the neighbourhood needs or, on a CPU, holds
            NaN or infinity.
        """
        return pose.keep(self.kept(pose))

    def kept(self, pose: Clouds) -> Bool[Tensor, "b n"]:
        """Which real points stay, (B, N); False on padding."""
        own = 0 if self.convention == "open3d" else 1
        needed = self.neighbours + own
        # A full cloud's count is known without asking the device, which training relies on.
        fewest = pose.points.shape[1] if pose.full else int(pose.counts.min())
        if fewest < needed:
            raise InputError(
                f"SOR with {self.neighbours} neighbours needs clouds of at least {needed} points, "
                f"got one of {fewest}"
            )
        with torch.no_grad():
            points = pose.points.detach()
            if points.device.type == "cpu":
                pose.check_finite("SOR")  # elsewhere the question would wait for the device
            if points.device.type == "cpu" and _has_scipy():
                return self._kept_by_tree(points, pose.mask)
            distance = neighbour_distances_pairs(points, pose.mask, needed)
            kept: Tensor = self._decide(distance, pose.mask)
        return kept

    def _kept_by_tree(
        self, points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"]
    ) -> Bool[Tensor, "b n"]:
        """On the CPU, in numpy throughout: torch's waiting threads would slow the tree's down."""
        own = 0 if self.convention == "open3d" else 1
        result = mask.numpy().copy()
        threads = torch.get_num_threads()
        within = threads if len(result) == 1 else 1

        def one(row: NDArray[np.bool_], cloud: NDArray[np.floating]) -> None:
            distance = neighbour_distances_tree(cloud[row], self.neighbours + own, within)
            row[row] = self._decide(distance, np.ones(len(distance)))

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(one, result, points.numpy()))
        return torch.from_numpy(result)

    def _decide(self, distance: Any, mask: Any) -> Any:
        """Which real points stay, from (..., n, k) neighbour distances; torch or numpy alike."""
        if self.convention != "open3d":
            distance = distance[..., 1:]
        score = (distance**2).mean(-1) if self.convention == "ifdefense" else distance.mean(-1)
        # Moments spelled out: padding has no weight, and the deviation is the sample's.
        count = mask.sum(-1)[..., None]
        mean = (score * mask).sum(-1)[..., None] / count
        # open3d leaves points without distance to their neighbours out of the squares alone.
        counted = mask * (score > 0) if self.convention == "open3d" else mask
        spread = (((score - mean) * counted) ** 2).sum(-1)[..., None] / (count - 1)
        limit = mean + self.ratio * spread**0.5
        if self.convention == "open3d":
            return (score > 0) & (score < limit) & (mask > 0)
        return (score <= limit) & (mask > 0)


def _has_scipy() -> bool:
    """Machines that only train or evaluate may lack it; all pairs give the same points there."""
    try:
        import scipy.spatial  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def neighbour_distances_tree(
    points: NDArray[np.floating], k: int, threads: int = 1
) -> NDArray[np.float64]:
    """Distances to the k nearest points, the point itself first, (n, k) float64 metres.

    By scipy's kd-tree; times beside open3d's stand in docs/design/004-sor.md.
    """
    from scipy.spatial import cKDTree

    wide = points.astype(np.float64)
    distance, _ = cKDTree(wide, leafsize=16).query(wide, k=k, workers=threads)
    return np.asarray(distance).reshape(len(wide), k)


def neighbour_distances_pairs(
    points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"], k: int
) -> Float[Tensor, "b n k"]:
    """By all pairs, on any device and without scipy; rows of padding are zero."""
    squared, _ = nearest(points, mask, k)
    return squared.sqrt().masked_fill(~mask[..., None], 0.0)
