"""Deformation transfer: known transfers, exact gradients, what it needs and does without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from posebench.benchmark.checks.of_victims import batch_free, gradient_right
from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.metrics import pmd
from posebench.benchmark.training.loop import train
from posebench.cloud import Clouds, Guide
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Budget
from posebench.rng import generator_for
from posebench.victims import VICTIMS, load_network, write_weights
from posebench.victims.surface_poisson import fitted, system_of, triangle_maps
from tests.tiny_training import tiny
from tests.toys import random_points

DT = VICTIMS["dt"](128)
EXACT = {"atol": 1e-6, "rtol": 0}


def rotation(axis: int, degrees: float) -> Tensor:
    """About a coordinate axis."""
    turn = torch.tensor(degrees).double().deg2rad()
    first, second = (k for k in range(3) if k != axis)
    matrix = torch.eye(3).double()
    matrix[first, first] = matrix[second, second] = turn.cos()
    matrix[first, second], matrix[second, first] = -turn.sin(), turn.sin()
    return matrix


def sheet(width: float, depth: float) -> tuple[Tensor, Tensor]:
    """9 x 7 vertices of a wavy sheet that is straight along the line x = 0, and its triangles."""
    x, y = torch.meshgrid(
        torch.linspace(-1, 1, 9).double(), torch.linspace(-1, 1, 7).double(), indexing="ij"
    )
    points = torch.stack([width * x, y, depth * x * torch.sin(3 * y + 2 * x)], dim=2).flatten(0, 1)
    corner = torch.tensor([7 * i + j for i in range(8) for j in range(6)])
    lower = torch.stack([corner, corner + 7, corner + 8], dim=1)
    upper = torch.stack([corner, corner + 8, corner + 1], dim=1)
    return points, torch.cat([lower, upper])


def guided(identity: Tensor, reference: Tensor, faces: Tensor, match: Tensor) -> Clouds:
    guide = Guide(reference[None], match[None], faces[None])
    return Clouds.dense(identity[None]).guided(guide)


def shuffled(points: Tensor) -> tuple[Clouds, Tensor]:
    """A cloud in another order, and where each of the old points went."""
    order = torch.randperm(len(points), generator=generator_for(3))
    return Clouds.dense(points[None, order]), order.argsort()


def test_a_rigid_motion_is_reproduced() -> None:
    turn = rotation(0, 70) @ rotation(2, -35)
    reference, faces = sheet(1.0, 0.3)
    identity, _ = sheet(1.4, 0.2)
    pose, match = shuffled(reference @ turn.T + 0.7)
    found = DT(pose, guided(identity, reference, faces, match)).points
    expected = centred(Clouds.dense((identity @ turn.T)[None])).points
    torch.testing.assert_close(found, expected, **EXACT)


def test_an_articulated_motion_is_reproduced() -> None:
    """A hinge: one half stays, the other turns about the straight line between both."""
    turn = rotation(1, 80)

    def bent(points: Tensor) -> Tensor:
        return torch.where(points[:, :1] > 0, points @ turn.T, points)

    reference, faces = sheet(1.0, 0.3)
    identity, _ = sheet(1.4, 0.2)
    pose, match = shuffled(bent(reference))
    found = DT(pose, guided(identity, reference, faces, match)).points
    expected = centred(Clouds.dense(bent(identity)[None])).points
    torch.testing.assert_close(found, expected, **EXACT)
    assert (expected - centred(Clouds.dense(identity[None])).points).abs().max() > 0.1


def test_gradients_are_the_central_differences() -> None:
    """First and second ones, along random directions."""
    reference, faces = sheet(1.0, 0.3)
    identity, _ = sheet(1.4, 0.2)
    start = reference + 0.05 * random_points(63, seed=1)
    weights, direction = random_points(1, 63, seed=2), random_points(1, 63, seed=4)
    clouds = guided(identity, reference, faces, torch.arange(63))

    def value(points: Tensor) -> Tensor:
        return (weights * DT(Clouds.dense(points), clouds).points.square()).sum()

    def slope(points: Tensor, graph: bool = False) -> Tensor:
        points = points.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(value(points), points, create_graph=True)
        along = (found * direction).sum()
        return torch.autograd.grad(along, points)[0] if graph else along.detach()

    points, step = start[None], 1e-5
    ends = [points + sign * step * direction for sign in (1, -1)]
    measured = (value(ends[0]) - value(ends[1])) / (2 * step)
    assert float(slope(points)) == pytest.approx(float(measured), rel=1e-5)
    second = (slope(ends[0]) - slope(ends[1])) / (2 * step)
    found = (slope(points, graph=True) * direction).sum()
    assert float(found) == pytest.approx(float(second), rel=1e-5)


def test_the_solver_is_the_least_squares_solution() -> None:
    """Against numpy's dense solver, with maps that no mesh fits, and the fourth vertices written
    out as the paper has them."""
    identity, faces = sheet(1.4, 0.2)
    maps = torch.eye(3).double() + 0.3 * random_points(len(faces), 3, seed=7)
    rows, wanted = [], []
    for number, (triangle, target) in enumerate(zip(faces.tolist(), maps, strict=True)):
        a, b, c = identity[triangle]
        normal = torch.linalg.cross(b - a, c - a)
        edges = torch.stack([b - a, c - a, normal / normal.norm().sqrt()], dim=1)
        inverse = torch.linalg.inv(edges)
        for column in range(3):
            row = torch.zeros(63 + len(faces)).double()
            row[triangle[0]] = -inverse[:, column].sum()
            row[[triangle[1], triangle[2], 63 + number]] = inverse[:, column]
            rows.append(row)
            wanted.append(target[:, column])
    dense = torch.linalg.lstsq(torch.stack(rows), torch.stack(wanted), driver="gelsd").solution[:63]
    found = fitted(system_of(identity, faces), maps, identity)
    offset = identity.mean(dim=0) - dense.mean(dim=0)
    torch.testing.assert_close(found, dense + offset, atol=1e-9, rtol=0)


def test_triangle_maps_of_an_affine_map_are_its_own_in_the_plane() -> None:
    points, faces = sheet(1.0, 0.3)
    matrix = torch.eye(3).double() + 0.4 * random_points(3, seed=9)
    maps = triangle_maps(points, points @ matrix.T, faces)
    edges = points[faces[:, 1]] - points[faces[:, 0]]
    torch.testing.assert_close((maps @ edges[..., None])[..., 0], edges @ matrix.T)


def test_missing_points_leave_the_identity_as_it_is() -> None:
    """Triangles without their corners keep their shape; without any point nothing moves."""
    reference, faces = sheet(1.0, 0.3)
    identity, _ = sheet(1.4, 0.2)
    clouds = guided(identity, reference, faces, torch.arange(63))
    pose = Clouds.dense((reference @ rotation(2, 40).T)[None])
    none = Clouds.padded(pose.points, torch.zeros(1, 63, dtype=torch.bool))
    still = centred(Clouds.dense(identity[None])).points
    torch.testing.assert_close(DT(none, clouds).points, still, **EXACT)
    half = Clouds.padded(pose.points, (torch.arange(63) < 30)[None])
    found = DT(half, clouds).points
    assert bool(torch.isfinite(found).all())
    assert (found - still).abs().max() > 0.01


def test_parts_that_do_not_hang_together_follow_their_own_points() -> None:
    points, faces = sheet(0.4, 0.1)
    reference = torch.cat([points, points + 2])
    pose = torch.cat([points, points + torch.tensor([2.0, 5.0, 2.0]).double()])
    both = torch.cat([faces, faces + 63])
    clouds = guided(reference, reference, both, torch.arange(126))
    found = DT(Clouds.dense(pose[None]), clouds).points
    torch.testing.assert_close(found, centred(Clouds.dense(pose[None])).points, **EXACT)


def test_the_true_correspondence_comes_with_anny() -> None:
    ids = torch.arange(3)
    task = load_task("anny/seen", samples=3, vertices=800)
    batch = task.batch(ids)
    guide = batch.identity.guide
    assert guide is not None
    matched = batch.pose.points.gather(1, guide.match[..., None].expand(-1, -1, 3))
    assert torch.equal(matched, task.trivial_outputs(ids)["copy-pose"].points)
    assert torch.equal(guide.faces, batch.faces)
    output = DT(batch.pose, batch.identity)
    copied = pmd(task.trivial_outputs(ids)["copy-pose"], batch)
    assert pmd(output, batch).mean() < copied.mean() / 20
    assert load_task("anny/scan@1", samples=3, vertices=800).batch(ids).identity.guide is None


def test_a_guide_stays_with_its_clouds() -> None:
    batch = load_task("anny/seen", samples=3, vertices=800).batch(torch.arange(3))
    expected = DT(batch.pose, batch.identity).points
    one, order = batch.select(slice(1, 2)), torch.randperm(800, generator=generator_for(1))
    torch.testing.assert_close(DT(one.pose, one.identity).points, expected[1:2])
    turned = batch.renumbered(order, order.flip(0))
    torch.testing.assert_close(DT(turned.pose, turned.identity).points, expected[:, order])
    stacked = Clouds.stacked([batch.select(slice(k, k + 1)).identity for k in range(3)])
    torch.testing.assert_close(DT(batch.pose, stacked).points, expected)


def test_checks_find_nothing_wrong() -> None:
    batch = load_task("anny/seen", samples=2, vertices=800).batch(torch.arange(2))
    subject = Subject(DT, [batch], Budget(0.08))
    assert batch_free(subject)[0] is False
    assert gradient_right(subject)[0] is False


def test_it_refuses_clouds_without_correspondence() -> None:
    cloud = Clouds.dense(random_points(1, 20))
    with pytest.raises(InputError, match="dt needs to know which point"):
        DT(cloud, cloud)


def test_training_is_over_before_its_first_step_and_the_file_loads(tmp_path: Path) -> None:
    trained = train(tiny("dt"), tmp_path)
    assert (trained.step, trained.curve) == (0, ())
    write_weights(tmp_path / "dt.safetensors", trained.network, {})
    network, _ = load_network("dt", weights=tmp_path / "dt.safetensors")
    assert network.settings() == trained.network.settings()
