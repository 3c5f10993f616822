from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

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
    pairs = training_pairs(replace(RECIPE, surface=share), meshes, faces, generator_for(2))
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
