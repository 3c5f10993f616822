"""The embedded body: counts, topology, skinning and the pose samplers."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from posebench.benchmark.data import body as body_module
from posebench.benchmark.data.body import (
    LODS,
    POSE_SETS,
    TEST_IDENTITIES,
    TRAIN_IDENTITIES,
    Body,
    body_fingerprint,
    bone_transforms,
    load_body,
    pose_body,
    rotations,
)
from posebench.benchmark.data.poses import LEFT, RIGHT, npt_poses, wide_poses
from posebench.errors import InputError

EVERYBODY = torch.arange(30)
BODY = load_body(800)
BONES = [str(b) for b in np.load(str(files("posebench.benchmark.data") / "body.npz"))["bones"]]


def draw(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random identities and poses, from the bent training poses and the wide ones."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.cat([BODY.poses["seen"][:200], BODY.poses["wide"]])
    identity = torch.randint(30, (count,), generator=generator)
    return identity, pool[torch.randint(len(pool), (count,), generator=generator)]


def posed_joints(body: Body, identity: Tensor, pose: Tensor) -> Tensor:
    rotation, translation = bone_transforms(body, identity, pose)
    return (rotation @ body.joints[identity][..., None])[..., 0] + translation


@pytest.mark.parametrize("vertices", LODS)
def test_every_level_is_closed_oriented_and_of_genus_zero(vertices: int) -> None:
    body = load_body(vertices)
    faces = body.faces.numpy()
    assert faces.shape == (2 * vertices - 4, 3)
    assert np.array_equal(np.unique(faces), np.arange(vertices))
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward, backward = directed @ [vertices, 1], directed @ [1, vertices]
    # Each directed edge once, and its reverse once: closed, manifold edges, one orientation.
    assert len(np.unique(forward)) == len(forward)
    assert np.array_equal(np.sort(forward), np.sort(backward))
    edges = len(forward) // 2
    assert vertices - edges + len(faces) == 2
    # Outward: the volume is positive, that of a person of 30 to 120 kg.
    corners = body.rest[:, body.faces].double()
    volume = torch.linalg.det(corners).sum(dim=1) / 6
    assert volume.min() > 0.03
    assert volume.max() < 0.12


@pytest.mark.parametrize("vertices", LODS)
def test_shapes_and_weights(vertices: int) -> None:
    body = load_body(vertices)
    assert body.rest.shape == (30, vertices, 3)
    assert body.skin_weights.shape == (vertices, 36)
    assert body.joints.shape == (30, 36, 3)
    assert body.to_tpose.shape == (30, 36, 3, 3)
    assert body.rest.dtype == body.skin_weights.dtype == torch.float32
    assert body.faces.dtype == torch.int64
    assert body.skin_weights.min() >= 0
    torch.testing.assert_close(body.skin_weights.sum(dim=1), torch.ones(vertices))
    # Levels of detail share the skeleton, so they also share the pose.
    assert torch.equal(body.joints, BODY.joints)


def test_constants_describe_the_file() -> None:
    assert [*TRAIN_IDENTITIES, *TEST_IDENTITIES] == list(range(30))
    assert {name: len(BODY.poses[name]) for name in POSE_SETS} == {
        "seen": 400,
        "unseen": 200,
        "unseen-bent": 200,
        "wide": 200,
    }
    assert BODY.parents[0] == -1
    assert all(0 <= p < k for k, p in enumerate(BODY.parents) if k)
    raw = files("posebench.benchmark.data").joinpath("body.npz").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == body_fingerprint()


def test_unknown_vertex_count_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="6890, 3500, 1700, 800"):
        load_body(1000)


def test_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "body.npz").write_bytes(b"not the body")
    monkeypatch.setattr(body_module, "files", lambda package: tmp_path)
    body_module._load.cache_clear()
    with pytest.raises(InputError, match="sha256"):
        load_body(800)


def test_rotations_match_the_matrix_exponential() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(200, 3, dtype=torch.float64, generator=generator)
    vectors[:10] *= 1e-9
    vectors[0] = 0
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    torch.testing.assert_close(rotations(vectors), torch.linalg.matrix_exp(cross))
    assert torch.equal(rotations(torch.zeros(1, 3))[0], torch.eye(3))


def test_zero_pose_is_the_same_t_pose_for_everybody() -> None:
    joints = posed_joints(BODY, EVERYBODY, torch.zeros(30, 24, 3))
    limbs = {
        ("upperarm01.L", "lowerarm01.L"): [1.0, 0, 0],
        ("lowerarm01.L", "wrist.L"): [1.0, 0, 0],
        ("upperarm01.R", "lowerarm01.R"): [-1.0, 0, 0],
        ("lowerarm01.R", "wrist.R"): [-1.0, 0, 0],
        ("upperleg01.L", "lowerleg01.L"): None,
        ("lowerleg01.L", "foot.L"): None,
        ("upperleg01.R", "lowerleg01.R"): None,
        ("lowerleg01.R", "foot.R"): None,
        ("spine05", "neck01"): [0, 1.0, 0],
    }
    for (head, tail), expected in limbs.items():
        along = normalize(joints[:, BONES.index(tail)] - joints[:, BONES.index(head)], dim=1)
        common = normalize(along.mean(dim=0), dim=0)
        # Proportions move joints inside the body; rest poses alone differ by up to 13 degrees.
        assert torch.rad2deg(torch.acos((along @ common).clamp(-1, 1))).max() < 5, head
        if expected is not None:
            assert common @ torch.tensor(expected) > np.cos(np.deg2rad(10)), head


def test_axes_are_x_left_y_up_z_front() -> None:
    vertices = pose_body(BODY, EVERYBODY, torch.zeros(30, 24, 3))
    joints = posed_joints(BODY, EVERYBODY, torch.zeros(30, 24, 3))
    assert (joints[:, BONES.index("wrist.L"), 0] > joints[:, BONES.index("wrist.R"), 0]).all()
    assert (joints[:, BONES.index("head"), 1] > joints[:, BONES.index("foot.L"), 1]).all()
    # Toes point to the front: the lowest vertices reach further forward of the ankle than back.
    for person, ankle in zip(vertices, joints[:, BONES.index("foot.L")], strict=True):
        sole = person[person[:, 1] < person[:, 1].min() + 0.04]
        assert sole[:, 2].max() - ankle[2] > ankle[2] - sole[:, 2].min()


def test_statures_and_both_splits_cover_them() -> None:
    vertices = pose_body(BODY, EVERYBODY, torch.zeros(30, 24, 3))
    stature = vertices[..., 1].amax(dim=1) - vertices[..., 1].amin(dim=1)
    assert stature.min() > 1.2
    assert stature.max() < 2.0
    train, test = stature[:16], stature[16:]
    assert abs(float(train.mean() - test.mean())) < 0.05
    assert train.min() < test.min()
    assert train.max() > test.max()


def test_root_rotation_is_rigid() -> None:
    identity, pose = draw(16)
    pose[:, 0] = 0
    turned = pose.clone()
    turned[:, 0] = torch.tensor([0.3, -1.2, 0.5])
    pivot = BODY.joints[identity, 0][:, None]
    rotation = rotations(turned[:, 0])
    expected = (pose_body(BODY, identity, pose) - pivot) @ rotation.transpose(1, 2) + pivot
    torch.testing.assert_close(pose_body(BODY, identity, turned), expected, atol=3e-6, rtol=0)


def test_posing_keeps_bone_lengths() -> None:
    identity, pose = draw(64)
    rest, posed = BODY.joints[identity], posed_joints(BODY, identity, pose)
    parents = list(BODY.parents[1:])
    before = (rest[:, 1:] - rest[:, parents]).norm(dim=-1)
    after = (posed[:, 1:] - posed[:, parents]).norm(dim=-1)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


def test_each_joint_turns_its_limb_by_the_angle_asked() -> None:
    """The same control rotation turns the same limb alike on every body."""
    flex = torch.zeros(30, 24, 3)
    flex[:, LEFT["elbow"], 1] = -1.0
    flex[:, RIGHT["knee"], 0] = 1.0
    zero = posed_joints(BODY, EVERYBODY, torch.zeros(30, 24, 3))
    bent = posed_joints(BODY, EVERYBODY, flex)
    for head, tail, joint in (
        ("lowerarm01.L", "wrist.L", LEFT["elbow"]),
        ("lowerleg01.R", "foot.R", RIGHT["knee"]),
    ):
        a, b = BONES.index(head), BONES.index(tail)
        expected = (rotations(flex[:, joint]) @ (zero[:, b] - zero[:, a])[..., None])[..., 0]
        torch.testing.assert_close(bent[:, b] - bent[:, a], expected, atol=1e-5, rtol=0)
    assert (bent[:, BONES.index("wrist.L"), 2] > zero[:, BONES.index("wrist.L"), 2] + 0.1).all()
    assert (bent[:, BONES.index("foot.R"), 2] < zero[:, BONES.index("foot.R"), 2] - 0.1).all()


def test_subset_equals_gather() -> None:
    identity, pose = draw(8)
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(800, (8, 50), generator=generator)
    full = pose_body(BODY, identity, pose)
    expected = full.gather(1, chosen[..., None].expand(-1, -1, 3))
    part = pose_body(BODY, identity, pose, vertices=chosen)
    torch.testing.assert_close(part, expected, atol=1e-6, rtol=0)


def test_result_does_not_depend_on_the_batch() -> None:
    identity, pose = draw(12)
    together = pose_body(BODY, identity, pose)
    alone = [pose_body(BODY, identity[[i]], pose[[i]]) for i in range(12)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


def test_posing_is_differentiable_at_rest() -> None:
    pose = torch.zeros(2, 24, 3, requires_grad=True)
    energy = pose_body(BODY, torch.tensor([0, 29]), pose).square().sum()
    (gradient,) = torch.autograd.grad(energy, pose)
    assert torch.isfinite(gradient).all()
    assert gradient[:, 1:].abs().amax() > 0


def test_pose_sets_are_distinct() -> None:
    poses = torch.cat([BODY.poses[name] for name in POSE_SETS]).flatten(1)
    apart = torch.cdist(poses, poses) + torch.eye(len(poses)) * 10
    assert apart.min() > 0.1


def test_npt_poses_stay_in_the_published_ranges() -> None:
    bent = np.rad2deg(npt_poses(500, "bent", np.random.default_rng(0)))
    straight = np.rad2deg(npt_poses(500, "straight", np.random.default_rng(0)))
    assert bent.shape == (500, 24, 3)
    assert bent[:, LEFT["knee"], 0].max() > 95
    assert straight[:, LEFT["knee"], 0].max() <= 10
    assert bent[:, LEFT["hip"], 0].min() >= -90.001
    assert bent[:, LEFT["hip"], 2].min() >= 0
    assert bent[:, RIGHT["hip"], 2].max() <= 0
    assert bent[:, LEFT["elbow"], 1].max() <= 0
    assert bent[:, RIGHT["elbow"], 1].min() >= 0
    assert np.array_equal(bent[:, LEFT["collar"]], bent[:, LEFT["shoulder"]])


def test_samplers_follow_their_generator() -> None:
    again = wide_poses(20, np.random.default_rng(3))
    assert again.dtype == np.float32
    assert np.array_equal(again, wide_poses(20, np.random.default_rng(3)))
    assert not np.array_equal(again, wide_poses(20, np.random.default_rng(4)))
