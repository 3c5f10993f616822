from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import load_body
from posebench.benchmark.training.pairs import spread_evenly, training_pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError
from posebench.rng import generator_for

RECIPE = Recipe("npt-mp", size="tiny", points=40, pose_points=30, batch=32)


def test_points_on_a_surface_follow_its_area() -> None:
    """Two triangles in the plane z = 1, three times as large the one at x > 0."""
    corners = [[0.0, 0, 1], [-1, 0, 1], [0, 1, 1], [3, 0, 1]]
    meshes = torch.tensor(corners).expand(2, -1, -1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    spread = spread_evenly(meshes, faces, 20_000, generator_for(0))
    points = spread.on(meshes)
    x, y, z = points.unbind(2)
    torch.testing.assert_close(z, torch.ones_like(z))
    assert (y >= 0).all()
    assert (torch.where(x > 0, x / 3, -x) + y <= 1 + 1e-6).all()
    share = (x > 0).double().mean(dim=1)
    assert share.tolist() == pytest.approx([0.75] * 2, abs=0.02)  # six standard errors
    centroids = [float(row[row > 0].mean()) for row in x]
    assert centroids == pytest.approx([1, 1], abs=0.05)
    assert not torch.equal(points[0], points[1])
    torch.testing.assert_close(spread.on(2 * meshes + 1), 2 * points + 1)


def drawn(share: float) -> tuple[Tensor, Tensor, Tensor]:
    """All identities in one pose are the mesh itself, in the other turned by half a circle."""
    mesh = torch.randn((50, 3), generator=generator_for(0))
    meshes = torch.stack([mesh, mesh * torch.tensor([-1.0, 1, -1])]).expand(3, 2, 50, 3)
    faces = torch.randint(50, (90, 3), generator=generator_for(1))
    body = replace(load_body(800), faces=faces)
    pairs = training_pairs(replace(RECIPE, surface=share), meshes, body, generator_for(2))
    pose, identity, target, _ = next(pairs)
    return pose, identity, target


def test_surface_share_changes_that_share_of_clouds_alone() -> None:
    plain, half, whole = drawn(0.0), drawn(0.5), drawn(1.0)
    for number in (0, 1):
        same = (plain[number] == half[number]).all(dim=2).all(dim=1)
        assert 8 <= same.sum() <= 24
        assert torch.equal(half[number][~same], whole[number][~same])
        assert not (plain[number] == whole[number]).all(dim=2).any()
    for _, identity, target in (plain, half, whole):
        ratio = (target / identity).round()
        assert (ratio[:, :, 1] == 1).all()
        assert (ratio[:, :, 0] == ratio[:, :1, 0]).all(), "target and identity are the same points"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_surface_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="surface must be"):
        replace(RECIPE, surface=share)


def test_surface_points_are_not_for_whole_meshes() -> None:
    with pytest.raises(InputError, match="surface needs points"):
        replace(RECIPE, surface=0.5, points=None, pose_points=None)


def test_fresh_poses_are_new_at_every_step_and_of_the_same_people() -> None:
    """None of them is among the 400, their extents are as those of these, and who is given is the
    same person twice."""
    body = load_body(800)
    known = training_meshes(body)
    recipe = replace(RECIPE, points=None, pose_points=None, batch=64)
    none, half, whole = (
        next(training_pairs(replace(recipe, fresh_poses=s), known, body, generator_for(3)))
        for s in (0.0, 0.5, 1.0)
    )
    pose, identity, target, faces = whole
    assert faces is not None
    extents = known.flatten(0, 1).amax(dim=1)

    def is_old(points: Tensor) -> list[bool]:
        return [bool(((extents - row).abs() < 1e-6).all(1).any()) for row in points.amax(dim=1)]

    assert all(is_old(none[0]))
    assert not any(is_old(pose))
    assert 16 <= sum(is_old(half[0])) <= 48
    assert is_old(half[0]) == is_old(half[1]) == is_old(half[2]), "a pair is fresh as a whole"

    def alike(one: Tensor, two: Tensor) -> Tensor:
        return ((one.amax(dim=1) - two.amax(dim=1)).abs() < 1e-6).all(dim=1)

    assert alike(pose, target).any(), "who gives the pose is at times the person: one mesh"
    assert not alike(identity, target).any()

    def lengths(points: Tensor) -> Tensor:
        corners = points[torch.arange(64)[:, None, None], faces]
        return (corners - corners.roll(1, dims=2)).norm(dim=3).sum(dim=(1, 2))

    ratio = lengths(target) / lengths(identity)
    assert (ratio - 1).abs().max() < 0.05, "one person in two poses"
    low, high = known.amin(dim=(0, 1, 2)), known.amax(dim=(0, 1, 2))
    torch.testing.assert_close(pose.amin(dim=1), -pose.amax(dim=1), msg="not centred")
    assert (pose.amin(dim=1) > low - 0.15).all()
    assert (pose.amax(dim=1) < high + 0.15).all()
    spread = pose.amax(dim=1).std(dim=0) / known.flatten(0, 1).amax(dim=1).std(dim=0)
    assert (spread - 1).abs().max() < 0.35, "as varied as the 400"


def test_fresh_poses_are_the_protocols() -> None:
    with pytest.raises(InputError, match="open regime draws all poses anew"):
        replace(RECIPE, fresh_poses=1.0, regime="open")
    with pytest.raises(InputError, match=r"0\.\.1"):
        replace(RECIPE, fresh_poses=1.5)
