"""Filters that fit a surface: snapping to the embedded body, and moving least squares."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from posebench.benchmark.audit.rebuild import rebuild_defense
from posebench.benchmark.data import snap
from posebench.benchmark.data.body_fit import Figure, fit_body, precise
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.snap import SnapToBody
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES
from posebench.defenses.mls import MLSProjection
from posebench.defenses.snap import nearest_on_surface, snapped
from posebench.errors import InputError
from posebench.rng import generator_for
from posebench.victims import Defended
from tests.toys import Toy, made_defense, random_points

pytestmark = pytest.mark.usefixtures("one_thread")

SQUARE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
FACES_1700 = precise(1700, torch.device("cpu")).faces


@cache
def body_cloud() -> Clouds:
    """A test identity in a training pose, 800 points."""
    return load_task("anny/seen", samples=1, vertices=800).batch(torch.arange(1)).pose


@cache
def fitted() -> Figure:
    return fit_body(body_cloud().points[0])


def surface() -> Tensor:
    return fitted().vertices(precise(1700, torch.device("cpu")))


@pytest.fixture
def fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a fit is tested behind one fit of the undisturbed cloud."""
    monkeypatch.setattr(snap, "fit_body", lambda points, steps: fitted())


# ---- the nearest place of a surface


@pytest.mark.parametrize(
    ("point", "place", "jacobian"),
    [
        ((0.3, 0.6, 0.5), (0.3, 0.6, 0.0), (1.0, 1.0, 0.0)),  # inside: across the plane is lost
        ((1.5, 0.4, 0.2), (1.0, 0.4, 0.0), (0.0, 1.0, 0.0)),  # an edge: along it alone
        ((-2.0, -1.0, 3.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),  # a corner
        ((0.7, 0.2, 0.0), (0.7, 0.2, 0.0), (1.0, 1.0, 0.0)),  # on it already
    ],
)
def test_nearest_place_of_a_square_and_its_gradient(
    point: tuple[float, ...], place: tuple[float, ...], jacobian: tuple[float, ...]
) -> None:
    start = torch.tensor([point], requires_grad=True)
    found = nearest_on_surface(start, SQUARE, FACES)
    torch.testing.assert_close(found.detach(), torch.tensor([place]))
    (gradient,) = torch.autograd.grad(found.sum(), start)
    torch.testing.assert_close(gradient, torch.tensor([jacobian]))


def test_nearest_places_are_those_that_trimesh_finds() -> None:
    """Among all triangles of a body, for points on it, near it and a metre away."""
    body = precise(800, torch.device("cpu"))
    vertices = body.rest[3]
    lengths = torch.tensor([0.0, 0.03, 0.3, 1.0], dtype=torch.float64).repeat_interleave(25)
    points = vertices[:100] + lengths[:, None] * random_points(100, seed=3) / 0.3
    corners = vertices[body.faces]
    everywhere = trimesh.triangles.closest_point(
        corners.repeat(100, 1, 1).numpy(),
        points.repeat_interleave(len(corners), dim=0).numpy(),
    ).reshape(100, -1, 3)
    exact = np.linalg.norm(everywhere - points[:, None].numpy(), axis=2).min(axis=1)
    found = (nearest_on_surface(points, vertices, body.faces) - points).norm(dim=1)
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-9, atol=1e-9)


def test_blend_is_the_share_of_the_way_and_padding_stays_zero() -> None:
    points = torch.tensor([[[0.2, 0.1, 0.4], [0.5, 0.5, -0.8], [0.0, 0.0, 0.0]]])
    pose = Clouds.padded(points, torch.tensor([[True, True, False]])).detach()
    for blend in (0.0, 0.25, 1.0):
        leaf = pose.points.clone().requires_grad_(True)
        moved = snapped(pose.replace(leaf), [SQUARE], FACES, blend)
        expected = points * torch.tensor([1.0, 1.0, 1 - blend])
        torch.testing.assert_close(moved.points.detach(), expected)
        (gradient,) = torch.autograd.grad(moved.points.sum(), leaf)
        slope = torch.tensor([[1.0, 1.0, 1 - blend]] * 2 + [[0.0] * 3])
        torch.testing.assert_close(gradient[0], slope)


# ---- the fit


def test_a_clean_body_is_returned_nearly_unchanged() -> None:
    points = body_cloud().points[0].double()
    distance = (nearest_on_surface(points, surface(), FACES_1700) - points).norm(dim=1)
    assert float(distance.mean()) < 0.007
    assert float(distance.quantile(0.95)) < 0.025


def test_a_fit_is_of_a_cloud_and_not_of_its_order_or_its_neighbours() -> None:
    """And a point that flies does not carry the body with it: it is put back on it."""
    defense, cloud = SnapToBody(steps=6), body_cloud().points[0]
    order = torch.randperm(len(cloud), generator=generator_for(0))
    flying = cloud.clone()
    flying[7] += torch.tensor([0.2, 0.6, 0.9])
    part = cloud[:500]
    alone = [defense(Clouds.dense(each[None])).points[0] for each in (cloud, flying, part)]
    shuffled = defense(Clouds.dense(cloud[order][None])).points[0]
    torch.testing.assert_close(shuffled, alone[0][order], rtol=0, atol=1e-6)
    together = defense(Clouds.from_list([part, flying]))
    assert torch.equal(together.points[0, :500], alone[2])
    assert torch.equal(together.points[1], alone[1])
    assert not together.points[0, 500:].any()
    moved = (alone[1] - alone[0]).norm(dim=1)
    assert float(moved[torch.arange(800) != 7].mean()) < 0.003
    # On the body, where it lies nearest, which need not be where it came from.
    assert float((flying[7] - cloud).norm(dim=1).min()) > 0.3
    assert float((alone[1][7] - cloud).norm(dim=1).min()) < 0.1


def test_a_body_of_the_family_is_approached() -> None:
    """Shape, size, place and turned limbs that no known figure has: half of the way at least."""
    body = precise(800, torch.device("cpu"))
    shares = torch.zeros(16, dtype=torch.float64)
    shares[2] = 0.5
    turned = body.poses["seen"][5].double()
    turned[[1, 2, 16, 17]] += torch.tensor([0.2, 0.0, 0.1], dtype=torch.float64)
    place = torch.tensor([0.1, 0.2, -0.1], dtype=torch.float64)
    points = Figure(turned, shares, place.new_tensor(0.05), place).vertices(body)
    before, after = (
        float((fit_body(points, steps=steps).vertices(body) - points).norm(dim=1).mean())
        for steps in (0, 40)
    )
    assert before > 0.03
    assert after < before / 2


# ---- as a defence


@pytest.mark.usefixtures("fitted_once")
def test_one_flying_point_is_brought_back_to_the_surface() -> None:
    pose = body_cloud()
    attacked = pose.points.clone()
    attacked[0, 40] = torch.tensor([0.9, 0.9, 0.9])
    clean, cleaned = (
        SnapToBody()(Clouds.dense(each)).points[0] for each in (pose.points, attacked)
    )
    others = torch.arange(800) != 40
    assert torch.equal(clean[others], cleaned[others])
    gap = nearest_on_surface(cleaned[40:41].double(), surface(), FACES_1700) - cleaned[40]
    assert float(gap.norm()) < 1e-6
    assert float((cleaned[40] - attacked[0, 40]).norm()) > 0.3


@pytest.mark.usefixtures("fitted_once")
@pytest.mark.parametrize("name", ["snap", "mls"])
def test_straight_through_gives_the_bare_gradient_at_the_defended_points(name: str) -> None:
    defense, pose = made_defense(name), body_cloud()
    weights = random_points(1, 800, seed=5).float()
    victim = Toy(lambda given, identity: identity.replace(given.points.square() * weights))
    start = pose.points.clone().requires_grad_(True)
    around = Defended(victim, defense, straight_through=True)(pose.replace(start), pose).points
    through = Defended(victim, defense)(pose.replace(start), pose).points
    torch.testing.assert_close(around, through)
    (gradient,) = torch.autograd.grad(around.sum(), start)
    torch.testing.assert_close(gradient, 2 * defense(pose).points * weights)
    (other,) = torch.autograd.grad(through.sum(), start)
    assert torch.allclose(other, gradient) == (name == "mls")  # which has no gradient of its own


def test_settings_that_cannot_be_are_refused() -> None:
    for bad in ({"steps": -1}, {"blend": 1.5}, {"vertices": 1000}):
        with pytest.raises(InputError, match=next(iter(bad))):
            SnapToBody(**bad)  # type: ignore[arg-type]
    made = SnapToBody(steps=3, blend=0.5)
    assert rebuild_defense("snap", repr(made)) == made
    with pytest.raises(InputError, match="snap: coordinates must be finite"):
        SnapToBody()(Clouds.dense(torch.full((1, 20, 3), torch.nan)))


# ---- moving least squares


def test_mls_keeps_planes_and_thins_the_noise_of_a_sphere() -> None:
    """A plane is a quadric: nothing moves. Of k points that weigh alike a fit of six coefficients
    keeps 6 / k of the noise's variance on average."""
    defense = made_defense("mls")
    flat = random_points(1, 300).float() * torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(defense(Clouds.dense(flat)).points, flat, rtol=0, atol=1e-6)
    sphere = torch.nn.functional.normalize(random_points(1, 4000, seed=1), dim=2)
    clean = defense(Clouds.dense(sphere)).points.norm(dim=2) - 1
    assert float(clean.abs().max()) < 1e-3
    noisy = sphere * (1 + 0.03 * random_points(1, 4000, seed=2)[..., :1])
    spreads = []
    for neighbours in (12, 24):
        smooth = replace(MLSProjection(), neighbours=neighbours)(Clouds.dense(noisy)).points
        spreads.append(float((smooth.norm(dim=2) - 1).std() / (noisy.norm(dim=2) - 1).std()))
    np.testing.assert_allclose(spreads, [(6 / 12) ** 0.5, (6 / 24) ** 0.5], atol=0.15)


def test_mls_keeps_order_and_rows_apart() -> None:
    defense, points = made_defense("mls"), random_points(2, 60)
    pose = Clouds.from_list([points[0], points[1, :30]])
    order = torch.randperm(60, generator=generator_for(1))
    both = defense(pose)
    assert torch.equal(both.mask, pose.mask)
    assert not both.points[1, 30:].any()
    alone = defense(Clouds.dense(points[1:, :30])).points
    assert torch.equal(both.points[1:, :30], alone)
    shuffled = defense(pose.select(slice(0, 1)).permuted(order)).points[0]
    torch.testing.assert_close(shuffled, both.points[0, order], rtol=0, atol=1e-6)
    start = points.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(defense(Clouds.dense(start)).points.sum(), start)
    assert torch.equal(gradient, torch.ones_like(points))


def test_mls_refuses_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    defense = made_defense("mls")
    with pytest.raises(InputError, match="at least as many points, got one of 11"):
        defense(Clouds.dense(random_points(1, 11)))
    with pytest.raises(InputError, match="neighbours must be at least 6"):
        MLSProjection(neighbours=5)
    with pytest.raises(InputError, match="iterations must be"):
        MLSProjection(iterations=0)


def test_mls_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posebench.defenses.mls.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'posebench\[mls\]'"):
        DEFENSES["mls"]()
