"""Distances without correspondence, against closed forms and open3d's ray-casting scene."""

from __future__ import annotations

import numpy as np
import open3d
import pytest

from posebench.benchmark.meshes.surface import (
    Surface,
    apart,
    distances,
    edge_distortion,
    sample_surface,
)
from tests.bad_meshes import FACES, POINTS

RNG = np.random.default_rng(0)
SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def test_samples_are_even_over_the_area_whatever_the_triangles() -> None:
    """A unit square of one triangle and of a half cut into 100 slivers: means and quarters."""
    fan = np.concatenate([SQUARE, np.column_stack([np.linspace(0, 1, 101)] * 2 + [np.zeros(101)])])
    slivers = np.array([[1, 4 + i, 5 + i] for i in range(100)])
    faces = np.concatenate([[[0, 2, 3]], slivers])
    found, triangle = sample_surface(Surface(fan, faces), 40_000, RNG)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(found.mean(axis=0), [0.5, 0.5, 0], atol=0.01)
    share, _, _ = np.histogram2d(found[:, 0], found[:, 1], bins=2, range=[[0, 1], [0, 1]])
    np.testing.assert_allclose(share / len(found), 0.25, atol=0.01)
    assert (triangle == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_cloud_and_flat_mesh_give_their_own_points() -> None:
    for faces in (None, np.array([[0, 0, 1]])):
        found, triangle = sample_surface(Surface(SQUARE, faces), 3, RNG)
        assert len(triangle) == 0
        assert {tuple(row) for row in found} <= {tuple(row) for row in SQUARE}
        assert len(found) == 3


def test_distance_to_a_mesh_is_open3ds() -> None:
    queries = POINTS[RNG.integers(800, size=2000)] + RNG.normal(0, 0.05, (2000, 3))
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(POINTS.astype(np.float32)), open3d.core.Tensor(FACES.astype(np.uint32))
    )
    wanted = scene.compute_distance(open3d.core.Tensor(queries.astype(np.float32))).numpy()
    found = distances(queries, Surface(POINTS, FACES))
    assert (found > wanted - 1e-5).all()  # never too small
    np.testing.assert_allclose(found, wanted, atol=5e-3)
    assert (found - wanted).mean() < 2e-5


def test_distance_to_a_cloud_is_to_its_nearest_point() -> None:
    queries = RNG.random((50, 3))
    wanted = np.linalg.norm(queries[:, None] - POINTS, axis=2).min(axis=1)
    np.testing.assert_allclose(distances(queries, Surface(POINTS, None)), wanted)


def test_two_squares_apart() -> None:
    """The second is 0.1 above and twice as long: half of it has nothing below."""
    above = Surface(SQUARE * [2, 1, 1] + np.array([0, 0, 0.1]), HALVES)
    found = apart(Surface(SQUARE, HALVES), above)
    assert found.there == pytest.approx(0.1, abs=1e-6)
    assert found.there_p95 == pytest.approx(0.1, abs=1e-6)
    beyond = np.sqrt(0.1**2 + np.linspace(0, 1, 10_001) ** 2)
    assert found.back == pytest.approx((0.1 + beyond.mean()) / 2, rel=0.02)
    assert found.back_p95 == pytest.approx(np.quantile(beyond, 0.9), rel=0.02)
    assert found.chamfer == pytest.approx((found.there + found.back) / 2)
    nothing = apart(above, above)
    assert nothing.chamfer == pytest.approx(0, abs=1e-6)


def test_edges_of_a_stretched_body() -> None:
    assert edge_distortion(1.1 * POINTS, POINTS, FACES) == pytest.approx(
        dict.fromkeys(("mean", "median", "p95"), 0.1)
    )
    turned = POINTS[:, [1, 2, 0]] + 5
    assert edge_distortion(turned, POINTS, FACES)["p95"] == pytest.approx(0, abs=1e-9)
    stretched = SQUARE * [2, 1, 1]
    diagonal = np.sqrt(5 / 2) - 1  # edges: 1 -> 2 twice, 1 -> 1 twice, the diagonal twice
    found = edge_distortion(stretched, SQUARE, HALVES)
    assert found["mean"] == pytest.approx((2 * 1 + 2 * diagonal) / 6)
    collapsed = np.array([[0, 0, 1], [0, 1, 2]])
    assert np.isfinite(edge_distortion(stretched, SQUARE, collapsed)["mean"])
