"""Simulated scans: exact against closed forms and open3d, severities, determinism, bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from posebench.benchmark.data.body import load_body, pose_body
from posebench.benchmark.data.depth_camera import (
    AIM,
    HEIGHT,
    WIDTH,
    Hits,
    camera,
    floor_depth,
    rays,
    visible,
)
from posebench.benchmark.data.scan import (
    BODY,
    FLIGHT,
    FLOOR,
    FLYING,
    OUTLIER,
    SEVERITIES,
    TRIM,
    VOLUME,
    Scan,
    Scanner,
    axial_noise,
    capture,
    scan_mesh,
    trimmed_centre,
)
from posebench.errors import InputError
from posebench.rng import generator_for

pytestmark = pytest.mark.usefixtures("one_thread")

BODY_800 = load_body(800)
FACES = BODY_800.faces
PEOPLE = pose_body(BODY_800, torch.tensor([17, 22, 28]), BODY_800.poses["seen"][[3, 110, 300]])

BOX = torch.tensor(
    [[x, y, z] for x in (-0.2, 0.2) for y in (0.0, 1.6) for z in (-0.2, 0.2)], dtype=torch.float64
)
BOX_FACES = torch.tensor(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def scanned(person: int, scanner: Scanner, seed: int = 0) -> Scan:
    return scan_mesh(PEOPLE[person], FACES, scanner, generator_for(seed, "scan"))


def surface(scan: Scan, vertices: Tensor, faces: Tensor) -> Tensor:
    """Where the pixels looked, (n, 3), rebuilt from triangles and weights."""
    corners = vertices.double()[faces[scan.triangle]]
    return (scan.barycentric[..., None] * corners).sum(dim=1)


def test_perfect_scan_lies_on_the_triangles_it_names() -> None:
    scan = scanned(0, SEVERITIES[0])
    assert scan.points.dtype == PEOPLE.dtype
    assert len(scan) > 50_000
    assert bool((scan.label == BODY).all())
    assert scan.barycentric.min() >= 0
    torch.testing.assert_close(scan.barycentric.sum(dim=1), torch.ones(len(scan)).double())
    away = (scan.points - surface(scan, PEOPLE[0], FACES)).norm(dim=1)
    assert away.max() < 1e-6


def test_box_is_seen_where_it_is_and_its_underside_is_not() -> None:
    scan = scan_mesh(BOX, BOX_FACES, Scanner(), generator_for(0))
    assert scan.points.dtype == torch.float64
    x, y, z = scan.points.unbind(dim=1)
    side = torch.maximum(x.abs(), z.abs())
    on_side = ((side - 0.2).abs() < 1e-12) & (y >= -1e-12) & (y <= 1.6 + 1e-12)
    on_top = ((y - 1.6).abs() < 1e-12) & (side <= 0.2 + 1e-12)
    assert bool((on_side | on_top).all())
    assert bool((on_top & ~on_side).any())
    for axis in (x, z):
        for sign in (-1, 1):
            assert int((sign * axis > 0.2 - 1e-12).sum()) > 1000, "every side is seen"


def test_cameras_stand_upright_and_know_the_floor() -> None:
    """Cameras are upright and right-handed; an optical axis that falls ends on the floor."""
    foot = torch.zeros(3, dtype=torch.float64)
    for number in range(12):
        origin, axes = camera(number, 0.3, foot)
        torch.testing.assert_close(axes @ axes.T, torch.eye(3).double())
        assert torch.linalg.det(axes) == pytest.approx(1)
        up = axes @ torch.tensor([0, 1, 0]).double()
        assert up[1] < 0, "image rows go down"
        ray = torch.tensor([[0, 0, 1]]).double()
        landing = origin + ray @ axes * floor_depth(ray, axes, -origin)[:, None]
        if origin[1] > AIM:
            assert landing[0, 1].abs() < 1e-12
        else:
            assert floor_depth(ray, axes, -origin)[0] == math.inf
        toward = AIM * torch.tensor([0, 1, 0]).double() - origin
        torch.testing.assert_close(axes @ toward, toward.norm() * ray[0])


@pytest.mark.parametrize("number", [0, 7])
def test_images_are_those_of_open3d(number: int) -> None:
    open3d = pytest.importorskip("open3d", reason="the oracle is open3d (the open3d extra)")
    mesh = PEOPLE[1].double()
    foot = (mesh.amin(dim=0) + mesh.amax(dim=0)) / 2
    foot[1] = mesh[:, 1].min()
    origin, axes = camera(number, 0.2, foot)
    seen = visible(((mesh - origin) @ axes.T)[FACES])
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(mesh.float().numpy()),
        open3d.core.Tensor(FACES.numpy().astype(np.uint32)),
    )
    direction = rays(torch.arange(WIDTH * HEIGHT)) @ axes
    lines = torch.cat([origin.expand_as(direction), direction], dim=1).float()
    depth = torch.from_numpy(scene.cast_rays(open3d.core.Tensor(lines.numpy()))["t_hit"].numpy())
    assert torch.equal(seen.pixel, depth.isfinite().nonzero()[:, 0])
    torch.testing.assert_close(seen.depth.float(), depth[seen.pixel], atol=1e-4, rtol=0)


def test_scan_follows_its_generator_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (scanned(0, SEVERITIES[4], seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("points", "label", "triangle", "barycentric"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert len(first) != len(other) or not torch.equal(first.points, other.points)


def test_order_is_random() -> None:
    """Any thousand points are spread over the body as all points are."""
    scan = scanned(0, SEVERITIES[0])
    height = scan.points[:, 1]
    spread = float(height.std())
    for part in height.split(1000)[:20]:
        assert abs(float(part.mean() - height.mean())) < 5 * spread / math.sqrt(1000)


def test_severity_grows() -> None:
    noise, covered, counts = [], [], []
    for scanner in SEVERITIES:
        scans = [scanned(person, scanner) for person in (0, 2)]
        error, near = [], []
        for person, scan in zip((0, 2), scans, strict=True):
            body = scan.select(scan.label == BODY)
            away = (body.points - surface(body, PEOPLE[person], FACES)).norm(dim=1)
            error.append(float(away.square().mean().sqrt()))
            distance, _ = cKDTree(body.points.numpy()).query(PEOPLE[person].numpy())
            near.append(float((distance < 0.03).mean()))
        noise.append(np.mean(error))
        covered.append(np.mean(near))
        counts.append(np.mean([int((scan.label == BODY).sum()) for scan in scans]))
    assert noise == sorted(noise)
    assert noise[0] < 1e-6
    assert 0.005 < noise[5] < 0.05
    assert counts == sorted(counts, reverse=True)
    assert covered[0] > 0.99
    assert covered[0] > covered[2] > covered[5] > 0.6


def test_labels_say_where_points_come_from() -> None:
    scan = scanned(2, SEVERITIES[5])
    scanner, low = SEVERITIES[5], PEOPLE[2].amin(dim=0)
    seen = int((scan.label != OUTLIER).sum())
    assert int((scan.label == OUTLIER).sum()) == round(scanner.outliers * seen)
    assert bool(((scan.triangle < 0) == (scan.label >= FLOOR)).all())
    floor = scan.points[scan.label == FLOOR]
    assert len(floor) > 1000
    assert (floor[:, 1] - low[1]).abs().max() < 0.15, "8 mm of noise at 2.3 m, more at low angles"
    stray = scan.points[scan.label == OUTLIER]
    assert stray[:, 1].min() >= low[1] - 1e-6
    assert stray[:, 1].max() <= low[1] + VOLUME[1] + 1e-6
    still = replace(scanner, noise=0.0, misplaced=0.0, flying=1.0, outliers=0.0)
    scan = scanned(2, still)
    flying = scan.select(scan.label == FLYING)
    away = (flying.points - surface(flying, PEOPLE[2], FACES)).norm(dim=1)
    assert away.min() > 0
    assert away.max() < FLIGHT * 1.2, "rays to the image's corners are up to 1.2 long"
    assert flying.points[:, 1].min() > low[1] - 1e-6, "none flies through the floor"
    assert (scan.points[scan.label == FLOOR][:, 1] - low[1]).min() > -1e-6
    assert not bool((scanned(2, SEVERITIES[3]).label == FLOOR).any())


def test_axial_noise_is_the_published_curve() -> None:
    depth, cosine = torch.tensor([0.4, 2.3, 1.0]).double(), torch.tensor([1.0, 1.0, 0.5]).double()
    expected = [0.0012, 0.0012 + 0.0019 * 1.9**2, 0.0012 + 0.0019 * 0.36 + 0.0001 * 4]
    torch.testing.assert_close(axial_noise(depth, cosine), torch.tensor(expected).double())


@pytest.mark.parametrize(("depth", "cosine"), [(0.6, 1.0), (2.3, 1.0), (2.3, 0.5)])
def test_depth_noise_is_as_wide_as_it_says(depth: float, cosine: float) -> None:
    """Pixels of one depth and angle scatter along their rays by the published curve's part."""
    count, part = 40_000, 0.5
    pixel = torch.arange(count)
    ray = rays(pixel)
    even = torch.ones(count).double()
    seen = Hits(ray, pixel, depth * even, cosine * even, torch.zeros_like(pixel), 0 * ray)
    axes, foot = torch.eye(3).double(), torch.tensor([0, 1e3, 0]).double()
    none = torch.zeros(0, 3).double(), torch.zeros(0).double()
    found = capture(seen, axes, foot, Scanner(noise=part), *none, generator_for(3))
    assert len(found) == count
    torch.testing.assert_close(found.points[:, :2], ray[:, :2] * found.points[:, 2:])
    error = found.points[:, 2] - depth
    slant = (math.acos(cosine) / (math.pi / 2 - math.acos(cosine))) ** 2
    sigma = part * (0.0012 + 0.0019 * (depth - 0.4) ** 2 + 0.0001 / math.sqrt(depth) * slant)
    # Five standard errors of a standard deviation over so many Gaussian draws.
    assert float(error.std()) == pytest.approx(sigma, rel=5 / math.sqrt(2 * count))
    assert abs(float(error.mean())) < 5 * sigma / math.sqrt(count)


def test_noise_of_a_whole_scan_is_a_kinects() -> None:
    """At 1.9 to 2.6 m: 5.5 mm at least, at most 1.3 ray lengths of 11 mm and 4 mm of slant."""
    still, noisy = (scanned(1, Scanner(noise=part)) for part in (0.0, 1.0))
    assert torch.equal(still.triangle, noisy.triangle)
    away = (noisy.points - still.points).double().norm(dim=1).square().mean().sqrt()
    assert 0.0055 < float(away) < 0.014


def test_centre_leaves_outliers_out() -> None:
    points = torch.rand(10_000, 3, generator=generator_for(0)) - 0.5
    far = torch.full((int(TRIM * len(points)) - 1, 3), 50.0)
    assert trimmed_centre(torch.cat([points, far])).abs().max() < 0.01
    one = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(trimmed_centre(one), one[0])


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        (BOX * torch.nan, "must be finite"),
        (BOX * 100, "160 m reaches into a camera"),
        (torch.tensor([[0.9, 0, 0.9], [0.95, 0, 0.9], [0.9, 0, 0.95]] * 3)[:8], "no camera"),
    ],
)
def test_bad_meshes_are_refused_in_one_line(vertices: Tensor, message: str) -> None:
    faces = BOX_FACES if "no camera" not in message else torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(InputError, match=message):
        scan_mesh(vertices, faces, Scanner(), generator_for(0))


def test_a_scanner_needs_a_camera() -> None:
    with pytest.raises(InputError, match=r"0\.\.11, got 12"):
        Scanner(missing=12)
