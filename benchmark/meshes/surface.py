"""Distances between surfaces and clouds that share no vertices, for results without a ground truth.

Where nobody knows where each vertex should be, as with real scans, PMD does not exist. What can be
measured is how far two surfaces lie apart, in metres, and how much the identity was distorted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.benchmark.meshes.types import Faces, Points
from posebench.geometry import edge_lengths

SAMPLES = 10_000
"""Points of each surface that distances are measured from."""

COVER = 50_000
"""Samples among which the nearest triangles are looked for: 6 mm apart on a body."""

CANDIDATES = 4


@dataclass(frozen=True)
class Surface:
    """Triangles, or a cloud where ``faces`` is None; metres."""

    points: Points
    faces: Faces | None


def sample_surface(
    surface: Surface, count: int, generator: np.random.Generator
) -> tuple[Points, NDArray[np.int64]]:
    """Points spread evenly over the area, (count, 3), and the triangle of each.

    Of a cloud, or of triangles without area, the points themselves (thinned to ``count``), and no
    triangles. By area and not by vertex, so that a mesh's own density does not count.
    """
    points, faces = surface.points, surface.faces
    corners = points[faces] if faces is not None else np.zeros((0, 3, 3))
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    if not area.sum() > 0:
        pick = generator.permutation(len(points))[:count]
        return points[pick], np.zeros(0, np.int64)
    triangle = np.searchsorted(np.cumsum(area), generator.random(count) * area.sum())
    triangle = triangle.clip(0, len(area) - 1)
    weights = generator.random((count, 2))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    placed = corners[triangle, 0] + (weights[..., None] * sides[triangle]).sum(axis=1)
    return placed, triangle


def distances(queries: Points, surface: Surface, *, seed: int = 0) -> NDArray[np.float64]:
    """Distance of each query (Q, 3) to a surface or to the nearest point of a cloud, (Q,) metres.

    The exact distance to the nearest of a few triangles: those that hold the samples nearest to
    the query. Never too small; 0.06 mm too large on average on a body of 6,890 vertices, 4 mm at
    most.
    """
    from scipy.spatial import cKDTree

    cover, triangle = sample_surface(surface, COVER, np.random.default_rng(seed))
    if len(triangle) == 0:
        return np.asarray(cKDTree(surface.points).query(queries)[0])
    assert surface.faces is not None
    gaps, near = cKDTree(cover).query(queries, k=CANDIDATES)
    to_cover = np.asarray(gaps)[:, 0]
    corners = surface.points[surface.faces[triangle[near]]]
    flat = np.repeat(queries, CANDIDATES, axis=0)
    gap = flat - nearest_on_triangles(flat, corners.reshape(-1, 3, 3))
    exact = np.linalg.norm(gap, axis=1).reshape(near.shape).min(axis=1)
    result: NDArray[np.float64] = np.fmin(exact, to_cover)
    return result


def nearest_on_triangles(points: Points, corners: NDArray[np.float64]) -> Points:
    """The nearest point of triangle k (N, 3, 3) to point k (N, 3)."""
    from trimesh.triangles import closest_point

    return np.asarray(closest_point(corners, points))


@dataclass(frozen=True)
class Apart:
    """How far two surfaces lie apart: mean and 95th percentile each way, metres.

    ``chamfer`` is the mean of both means.
    """

    there: float
    there_p95: float
    back: float
    back_p95: float

    @property
    def chamfer(self) -> float:
        """Mean distance, averaged over both directions."""
        return (self.there + self.back) / 2


def apart(first: Surface, second: Surface, *, seed: int = 0) -> Apart:
    """Distances from the first surface to the second, and back; both where they stand."""
    there, back = (
        distances(sample_surface(a, SAMPLES, np.random.default_rng(seed))[0], b, seed=seed)
        for a, b in ((first, second), (second, first))
    )
    p95 = [float(np.quantile(part, 0.95)) for part in (there, back)]
    return Apart(float(there.mean()), p95[0], float(back.mean()), p95[1])


def edge_distortion(points: Points, identity: Points, faces: Faces) -> dict[str, float]:
    """| length / identity's length - 1 | over the edges of all triangles: mean, median, p95.

    Edges without length are left out.
    """
    corners = torch.from_numpy(faces)[None]
    new, old = (
        edge_lengths(torch.from_numpy(np.ascontiguousarray(p))[None], corners).flatten()
        for p in (points, identity)
    )
    change = (new / old - 1).abs()[old > 0].numpy()
    if len(change) == 0:
        return {"mean": 0.0, "median": 0.0, "p95": 0.0}
    mean, median, p95 = change.mean(), np.median(change), np.quantile(change, 0.95)
    return {"mean": float(mean), "median": float(median), "p95": float(p95)}
