"""The open regime: points of bodies, pairs drawn anew, and training on them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from posebench.benchmark.data import tessellation
from posebench.benchmark.data.bodies import People, draw_people
from posebench.benchmark.data.body import (
    LODS,
    bone_transforms,
    load_body,
    pose_body,
    rotations,
)
from posebench.benchmark.data.natural import natural_poses
from posebench.benchmark.data.skinning import blend
from posebench.benchmark.data.tessellation import (
    Points,
    at_rest,
    draw_points,
    draw_rows,
    load_table,
    rest_points,
)
from posebench.benchmark.training import open_pairs as stream
from posebench.benchmark.training.card_text import PAIRS
from posebench.benchmark.training.loop import train
from posebench.benchmark.training.open_pairs import open_pairs
from posebench.benchmark.training.recipe import Recipe, recipe_changes, recipe_for
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import bbox_centre
from posebench.rng import generator_for
from tests.tiny_training import same_weights, tiny

RECIPE = Recipe("npt-mp", size="tiny", points=40, pose_points=30, batch=16, regime="open")
TABLE = load_table("cpu")
OWN = LODS.index(800)


@pytest.fixture
def plain_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cloud is of vertices, of its own level, drawn by triangles."""
    for name in ("OWN_LEVEL", "ON_VERTICES", "BY_TRIANGLES"):
        monkeypatch.setattr(tessellation, name, 2.0)
    for name in ("UNEVEN", "ONE_SIDED"):
        monkeypatch.setattr(tessellation, name, 0.0)


def turns(count: int) -> Tensor:
    return torch.eye(3).expand(count, 36, 3, 3)


def level_of(points: Points) -> Tensor:
    """The level of detail that each point is on, (B, n)."""
    ends = torch.tensor(LODS).cumsum(0)
    return torch.searchsorted(ends, points.corners[..., 0].contiguous(), right=True)


@pytest.mark.parametrize("vertices", [6890, 800])
def test_skinning_points_equals_the_whole_mesh_then_gather(
    vertices: int, plain_points: None
) -> None:
    body, people = load_body(vertices), draw_people(6, generator_for(0))
    pose, who, level = natural_poses(6, generator_for(1)), torch.arange(6), LODS.index(vertices)
    new = people.of(body)
    points = draw_points(TABLE, turns(6), 200, level, generator_for(2))
    rest, weights = rest_points(TABLE, people.blend, points)
    found = blend(weights, *bone_transforms(new, who, pose), rest)
    chosen = (points.corners * points.weights.long()).sum(dim=2) - sum(LODS[:level])
    whole = pose_body(new, who, pose).gather(1, chosen[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(found, whole, atol=2e-6, rtol=0)


def test_points_between_vertices_lie_on_the_surface_at_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tessellation, "ON_VERTICES", 0.0)
    points = draw_points(TABLE, turns(4), 500, OWN, generator_for(0))
    torch.testing.assert_close(points.weights.sum(dim=2), torch.ones(4, 500))
    assert (points.weights.amax(dim=2) < 0.9999).float().mean() > 0.9
    rest, weights = rest_points(TABLE, torch.eye(16)[:4], points)
    rows = TABLE.rows[points.corners]
    corners = torch.stack([rows[i, ..., i:48:16] for i in range(4)])
    torch.testing.assert_close(
        rest, (corners * points.weights[..., None]).sum(dim=2), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 500))


def test_rows_are_drawn_in_proportion() -> None:
    density = torch.tensor([[1.0, 0, 3, 0], [0, 0, 0, 2]])
    found = draw_rows(density, 40_000, generator_for(0))
    share = (found[0] == 2).float().mean()
    assert abs(float(share) - 0.75) < 0.015
    assert set(found[0].tolist()) == {0, 2}
    assert (found[1] == 3).all()


def test_patterns_of_points(monkeypatch: pytest.MonkeyPatch, plain_points: None) -> None:
    count = 1500
    plain = draw_points(TABLE, turns(8), count, OWN, generator_for(0))
    assert (level_of(plain) == OWN).all()
    monkeypatch.setattr(tessellation, "OWN_LEVEL", 0.5)
    mixed = level_of(draw_points(TABLE, turns(400), 2, OWN, generator_for(0)))[:, 0]
    assert 0.55 < (mixed == OWN).float().mean() < 0.70
    assert set(mixed.tolist()) == {0, 1, 2, 3}


def test_points_seen_from_one_side_and_uneven_points(
    monkeypatch: pytest.MonkeyPatch, plain_points: None
) -> None:
    def normals(points: Points) -> Tensor:
        """Length of the mean normal of each cloud: 0 for a closed surface, 1 for a plane."""
        corner = TABLE.rows[:, :48].view(-1, 3, 16).mean(dim=2)[points.corners]
        sides = corner[:, :, 1:] - corner[:, :, :1]
        normal = torch.linalg.cross(sides[:, :, 0], sides[:, :, 1])
        return torch.nn.functional.normalize(normal, dim=2).mean(dim=1).norm(dim=1)

    def on_hands(points: Points) -> Tensor:
        return TABLE.rows[points.corners[..., 0], 48 + 24].mean(dim=1)

    def drawn() -> Points:
        return draw_points(TABLE, turns(64), 600, OWN, generator_for(0))

    plain = drawn()
    monkeypatch.setattr(tessellation, "ONE_SIDED", 1.0)
    assert normals(drawn()).mean() > 2 * normals(plain).mean()
    turned = rotations(torch.tensor([0.0, torch.pi, 0.0]))
    behind = draw_points(TABLE, turned.expand(64, 36, 3, 3), 600, OWN, generator_for(0))
    assert not torch.equal(behind.corners, drawn().corners), "what is seen follows the pose"
    monkeypatch.setattr(tessellation, "ONE_SIDED", 0.0)
    monkeypatch.setattr(tessellation, "UNEVEN", 1.0)
    assert on_hands(drawn()).std() > 2 * on_hands(plain).std()


def first(recipe: Recipe, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    return next(open_pairs(recipe, generator_for(seed), "cpu"))


def test_pairs_follow_their_generator_and_are_new_at_every_step() -> None:
    pairs = open_pairs(RECIPE, generator_for(0), "cpu")
    one, two = next(pairs), next(pairs)
    assert one[0].shape == (16, 30, 3)
    assert one[1].shape == one[2].shape == (16, 40, 3)
    assert one[3] is None
    for before, again, after in zip(one[:3], first(RECIPE)[:3], two[:3], strict=True):
        assert isinstance(before, Tensor)
        assert isinstance(after, Tensor)
        assert torch.equal(before, again)  # type: ignore[arg-type]
        assert before.isfinite().all()
        assert not torch.isclose(before, after).all(dim=2).any()


def test_identity_and_target_are_the_same_points_of_the_same_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were all poses the T-pose, identity and target would be equal; the source another body."""
    monkeypatch.setattr(stream, "pair_poses", lambda pairs, *_: torch.zeros(2 * pairs, 24, 3))
    pose, identity, target, _ = first(replace(RECIPE, points=400, pose_points=400))
    torch.testing.assert_close(identity, target, atol=1e-6, rtol=0)
    spans = [(c.amax(dim=1) - c.amin(dim=1))[:, 1] for c in (pose, identity)]
    assert (spans[0] - spans[1]).abs().min() > 1e-3


def test_half_of_the_persons_stand_as_characters_are_modelled() -> None:
    poses = stream.pair_poses(64, generator_for(0), torch.device("cpu"))
    assert poses.shape == (128, 24, 3)
    knees = poses[:, 4:6].norm(dim=2).amax(dim=1)
    assert knees[96:].max() < 0.5, "the last persons have straight legs"
    assert (knees[:96] > 0.5).float().mean() > 0.3, "the others bend them"
    lifted = poses[96:, 16:18].norm(dim=2).mean(dim=1)
    assert (lifted[:16].mean() - lifted[16:].mean()).abs() > 0.3, "T-poses and A-poses"


def test_source_and_target_are_in_the_same_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one person for all, source and target are points of one and the same mesh."""
    one = draw_people(1, generator_for(0))

    def same(count: int, *_: object, **__: object) -> People:
        return People(*(part.expand(count, -1) for part in (one.blend, one.length, one.girth)))

    monkeypatch.setattr(stream, "draw_people", same)
    monkeypatch.setattr(tessellation, "ON_VERTICES", 2.0)
    monkeypatch.setattr(tessellation, "OWN_LEVEL", 2.0)
    pose, identity, target, _ = first(replace(RECIPE, points=500, pose_points=500))
    near = torch.cdist(pose, target).amin(dim=2)
    far = torch.cdist(pose, identity).amin(dim=2)
    assert (near < 1e-5).float().mean() > 0.2  # vertices that both clouds have drawn
    assert near.mean() < 0.04 < far.mean()


def test_clouds_are_centred_by_the_whole_body() -> None:
    body, people = load_body(6890), draw_people(40, generator_for(0))
    pose, who = natural_poses(40, generator_for(1)), torch.arange(40)
    new = people.of(body)
    probes = TABLE.rows[TABLE.probes]
    transforms = bone_transforms(new, who, pose)
    low, high = blend(probes[:, 48:], *transforms, at_rest(probes, people.blend)).aminmax(dim=1)
    exact = bbox_centre(Clouds.dense(pose_body(new, who, pose)))[:, 0]
    away = ((low + high) / 2 - exact).norm(dim=1)
    assert away.mean() < 0.004
    assert away.max() < 0.02


def test_whole_meshes_come_with_their_faces() -> None:
    recipe = replace(RECIPE, points=None, pose_points=None, batch=2)
    pose, identity, target, faces = first(recipe)
    assert pose.shape == identity.shape == target.shape == (2, 800, 3)
    assert faces is not None
    for mesh in (identity, target):
        volume = torch.linalg.det(mesh[torch.arange(2)[:, None, None], faces]).sum(dim=1) / 6
        assert (volume > 0.02).all()  # closed and outward: the faces are the shuffled vertices'
        torch.testing.assert_close(mesh.amax(dim=1), -mesh.amin(dim=1), atol=1e-5, rtol=0)


def test_regime_is_refused_where_it_means_nothing() -> None:
    with pytest.raises(InputError, match="open, protocol"):
        replace(RECIPE, regime="opn")
    with pytest.raises(InputError, match="surface is the protocol's"):
        replace(RECIPE, surface=0.5)
    made = recipe_for("npt", regime="open")
    assert recipe_changes({"victim": "npt", "regime": made.regime}) == "regime open"
    assert set(PAIRS) == {None, "protocol", "open"}


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_run_of_the_open_regime_goes_on_to_the_bit(tmp_path: Path) -> None:
    recipe = tiny("npt", regime="open")
    whole = train(recipe, tmp_path / "whole")
    stopped = train(recipe, tmp_path / "parts", deadline=time.monotonic())
    assert stopped.step == 1
    assert same_weights(train(recipe, tmp_path / "parts").network, whole.network)
    assert not same_weights(train(tiny("npt"), tmp_path / "other").network, whole.network)
