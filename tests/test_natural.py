"""Natural poses: ranges, what moves together, mirrors; and what people's bodies are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.bodies import blended, draw_people, stretched
from posebench.benchmark.data.body import (
    TRAIN_IDENTITIES,
    Body,
    bone_transforms,
    load_body,
    pose_body,
    rotations,
)
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.held_out import held_out_arrays
from posebench.benchmark.data.joint_angles import ANGLES, INDEX, RANGES, mirrored, poses_of_angles
from posebench.benchmark.data.natural import natural_angles, natural_poses
from posebench.benchmark.data.pose_families import load_families
from posebench.benchmark.data.poses import LEFT
from posebench.benchmark.data.ranged_poses import ranged_poses
from posebench.errors import InputError
from posebench.rng import generator_for

BODY = load_body(800)
FAMILIES = load_families().names
MANY = 2000


def column(angles: Tensor, name: str) -> Tensor:
    return angles[:, INDEX[name]]


def angles_of(**given: float) -> Tensor:
    """One row, all zero but the given angles and even shares of the spine."""
    angles = torch.zeros(1, len(ANGLES))
    for name, value in {
        "spine1_share": 0.3,
        "spine3_share": 0.3,
        "neck_share": 0.5,
        **given,
    }.items():
        angles[:, INDEX[name]] = value
    return angles


def joints_of(angles: Tensor) -> dict[str, Tensor]:
    """Where bones' heads are in these poses of the first identity."""
    who = torch.zeros(len(angles), dtype=torch.int64)
    rotation, translation = bone_transforms(BODY, who, poses_of_angles(angles))
    heads = (rotation @ BODY.joints[who][..., None])[..., 0] + translation
    bones = {"shoulder": 20, "elbow": 22, "wrist": 24, "hip": 2, "knee": 4, "ankle": 6, "head": 35}
    return {name: heads[:, bone] for name, bone in bones.items()} | {"pelvis": heads[:, 0]}


def direction(joints: dict[str, Tensor], start: str, end: str) -> Tensor:
    along = joints[end] - joints[start]
    return (along / along.norm(dim=1, keepdim=True))[0]


def test_quaternions_match_matrices() -> None:
    vectors = 3 * torch.randn((2, 100, 3), dtype=torch.float64, generator=generator_for(0)).tanh()
    vectors[:, 0] = 0
    first, second = quaternions.from_axis_angle(vectors)
    torch.testing.assert_close(quaternions.to_matrix(first), rotations(vectors[0]))
    product = rotations(vectors[0]) @ rotations(vectors[1])
    both = quaternions.multiply(first, second)
    torch.testing.assert_close(quaternions.to_matrix(both), product)
    torch.testing.assert_close(rotations(quaternions.to_axis_angle(both)), product)
    torch.testing.assert_close(
        quaternions.to_matrix(quaternions.inverse(first)), rotations(-vectors[0])
    )
    small = rotations(vectors[0] / 3)
    torch.testing.assert_close(quaternions.to_matrix(quaternions.from_matrix(small)), small)


@pytest.mark.parametrize(
    ("given", "start", "end", "expected"),
    [
        ({}, "shoulder", "elbow", (0, -1, 0)),
        ({"left_shoulder_flexion": 90}, "shoulder", "elbow", (0, 0, 1)),
        ({"left_shoulder_abduction": 90}, "shoulder", "elbow", (1, 0, 0)),
        (
            {"left_shoulder_flexion": 90, "left_clavicle_elevation": 20},
            "shoulder",
            "elbow",
            (0, 0, 1),
        ),
        ({"left_elbow_flexion": 90}, "elbow", "wrist", (0, 0, 1)),
        ({"left_elbow_flexion": 90, "left_arm_split": 50}, "elbow", "wrist", (0, 0, 1)),
        ({"left_elbow_flexion": 90, "left_shoulder_rotation": 90}, "elbow", "wrist", (1, 0, 0)),
        ({"left_hip_flexion": 90}, "hip", "knee", (0, 0, 1)),
        ({"left_hip_abduction": 45}, "hip", "knee", (0.7, -0.7, 0)),
        ({"left_knee_flexion": 90}, "knee", "ankle", (0, 0, -1)),
        ({"trunk_flexion": 60, "pelvis_tilt": 30}, "pelvis", "head", (0, 0.4, 0.9)),
        ({"pelvis_tilt": 90}, "pelvis", "head", (0, 0, 1)),
        ({"pelvis_roll": 90}, "pelvis", "head", (1, 0, 0)),
    ],
)
def test_clinical_angles_mean_what_they_say(
    given: dict[str, float], start: str, end: str, expected: tuple[float, ...]
) -> None:
    found = direction(joints_of(angles_of(**given)), start, end)
    wanted = torch.tensor(expected, dtype=torch.float32)
    wanted = wanted / wanted.norm()
    # Limbs of a T-pose lie within 10 degrees of the axes, the spine is curved.
    within = 25 if "pelvis" in (start, end) else 12
    assert torch.rad2deg(torch.acos((found * wanted).sum().clamp(-1, 1))) < within


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_stays_in_the_anatomical_ranges(family: str) -> None:
    angles = natural_angles(300, generator_for(0), family=family)
    for name, (low, high) in RANGES.items():
        assert low <= column(angles, name).min(), name
        assert column(angles, name).max() <= high, name
    poses = poses_of_angles(angles)
    assert poses.isfinite().all()
    assert poses.norm(dim=2).max() <= torch.pi + 1e-4
    # Knees do not bend backwards: flexion is a positive turn about x, tibial rotation small.
    assert poses[:, LEFT["knee"], 0].min() >= -1e-6


def test_families_are_what_their_names_say() -> None:
    def drawn(family: str, name: str) -> Tensor:
        return column(natural_angles(MANY, generator_for(1), family=family), name)

    assert drawn("standing", "left_shoulder_abduction").median() < 25
    assert drawn("t-pose", "left_shoulder_abduction").median() > 80
    assert drawn("chair", "left_hip_flexion").median() > 60
    assert drawn("bending", "trunk_flexion").median() > 30
    assert drawn("lying", "pelvis_tilt").abs().max() > 85
    everything = natural_angles(MANY, generator_for(2))
    assert column(everything, "heading").abs().max() <= 20
    assert (column(everything, "neck_turn").abs() > 35).float().mean() > 0.1
    hanging = torch.hypot(
        column(everything, "left_shoulder_flexion"), column(everything, "left_shoulder_abduction")
    )
    assert (hanging < 40).float().mean() > 0.3


def test_hips_and_knees_bend_together_in_a_squat() -> None:
    angles = natural_angles(MANY, generator_for(0), family="squatting")
    both = torch.stack([column(angles, "left_hip_flexion"), column(angles, "left_knee_flexion")])
    assert torch.corrcoef(both)[0, 1] > 0.8
    apart = natural_angles(MANY, generator_for(0), family="free")
    both = torch.stack([column(apart, "left_hip_flexion"), column(apart, "left_knee_flexion")])
    assert torch.corrcoef(both)[0, 1] < 0.3


@pytest.mark.parametrize("family", ["walking", "running"])
def test_legs_walk_half_a_stride_apart_and_arms_against_them(family: str) -> None:
    angles = natural_angles(MANY, generator_for(0), family=family)
    rows = torch.stack(
        [column(angles, f"{side}_{joint}") for joint in ("hip_flexion", "shoulder_flexion")
         for side in ("left", "right")]
    )  # fmt: skip
    left_hip, right_hip, left_arm, right_arm = range(4)
    together = torch.corrcoef(rows)
    assert together[left_hip, right_hip] < -0.6
    assert together[left_arm, right_arm] < -0.6
    assert together[left_hip, left_arm] < -0.4
    assert together[left_hip, right_arm] > 0.4


def test_mirrored_angles_mirror_the_skeleton() -> None:
    """Positions of the joints; the bodies themselves are not quite symmetric."""
    angles = natural_angles(200, generator_for(3))
    left, right = ([2, 4, 6, 20, 22, 24], [8, 10, 12, 27, 29, 31])
    symmetric = replace(BODY, joints=BODY.joints.clone(), to_tpose=BODY.to_tpose.clone())
    flip = torch.diag(torch.tensor([-1.0, 1, 1]))
    for bone in range(7, 13):
        symmetric.joints[:, bone] = symmetric.joints[:, bone - 6] @ flip
        symmetric.to_tpose[:, bone] = flip @ symmetric.to_tpose[:, bone - 6] @ flip
    for bone in range(25, 32):
        symmetric.joints[:, bone] = symmetric.joints[:, bone - 7] @ flip
        symmetric.to_tpose[:, bone] = flip @ symmetric.to_tpose[:, bone - 7] @ flip
    for bone in (0, *range(13, 18), *range(32, 36)):
        symmetric.joints[:, bone, 0] = 0
        turn = quaternions.from_matrix(symmetric.to_tpose[:, bone])
        turn = torch.nn.functional.normalize(turn * torch.tensor([1.0, 1, 0, 0]), dim=1)
        symmetric.to_tpose[:, bone] = quaternions.to_matrix(turn)
    who = torch.arange(200) % 30

    def heads(pose: Tensor) -> Tensor:
        rotation, translation = bone_transforms(symmetric, who, pose)
        return (rotation @ symmetric.joints[who][..., None])[..., 0] + translation

    one, other = heads(poses_of_angles(angles)), heads(poses_of_angles(mirrored(angles)))
    torch.testing.assert_close(other[:, right], one[:, left] @ flip, atol=2e-5, rtol=0)
    torch.testing.assert_close(other[:, left], one[:, right] @ flip, atol=2e-5, rtol=0)
    torch.testing.assert_close(mirrored(mirrored(angles)), angles)


def test_draws_follow_their_generator() -> None:
    assert torch.equal(natural_poses(9, generator_for(4)), natural_poses(9, generator_for(4)))
    assert not torch.equal(natural_poses(9, generator_for(4)), natural_poses(9, generator_for(5)))
    with pytest.raises(InputError, match="standing"):
        natural_poses(1, generator_for(0), family="standin")


def test_ranged_poses_have_the_published_ranges_and_couplings() -> None:
    degrees = torch.rad2deg(ranged_poses(3 * MANY, generator_for(0)))
    published = (degrees[:, LEFT["collar"]] == degrees[:, LEFT["shoulder"]]).all(dim=1)
    assert 0.63 < published.float().mean() < 0.70
    shoulder, knee = degrees[published, LEFT["shoulder"]], degrees[published, LEFT["knee"], 0]
    assert shoulder.abs().max() <= 30.001
    assert knee.min() >= 0
    assert 0.45 < (knee <= 10).float().mean() < 0.65
    assert 95 < degrees[:, LEFT["knee"], 0].max() <= 115.001
    mirror = torch.tensor([1.0, -1, -1])
    right = degrees[published, LEFT["collar"] + 1] * mirror
    torch.testing.assert_close(right.amin(dim=0), torch.tensor([0.0, -30, -30]), atol=0.2, rtol=0)


def test_a_single_share_gives_that_identity_and_no_test_identity_enters() -> None:
    pose = natural_poses(16, generator_for(0))
    one = blended(BODY, torch.eye(16))
    expected = pose_body(BODY, torch.arange(16), pose)
    torch.testing.assert_close(pose_body(one, torch.arange(16), pose), expected, atol=2e-5, rtol=0)
    people = draw_people(20, generator_for(1))
    spoiled = replace(
        BODY,
        rest=BODY.rest.clone(),
        joints=BODY.joints.clone(),
        to_tpose=BODY.to_tpose.clone(),
    )
    for tensor in (spoiled.rest, spoiled.joints, spoiled.to_tpose):
        tensor[TRAIN_IDENTITIES.stop :] = torch.nan
    assert torch.equal(people.of(spoiled).rest, people.of(BODY).rest)
    assert people.of(spoiled).to_tpose.isfinite().all()
    torch.testing.assert_close(people.blend.sum(dim=1), torch.ones(20))


def test_stretching_scales_bones_and_whole_bodies() -> None:
    who = torch.arange(30)
    pose = natural_poses(30, generator_for(0))
    ones = torch.ones(30, 36)

    def joints(body: Body) -> Tensor:
        rotation, translation = bone_transforms(body, who, pose)
        return (rotation @ BODY.joints[who][..., None])[..., 0] + translation

    whole = stretched(BODY, 1.1 * ones, 1.1 * ones)
    made, plain = pose_body(whole, who, pose), pose_body(BODY, who, pose)
    torch.testing.assert_close(made - made[:, :1], 1.1 * (plain - plain[:, :1]), atol=1e-5, rtol=0)
    shin = ones.clone()
    shin[:, 4:6] = 1.2
    longer, usual = joints(stretched(BODY, shin, ones)), joints(BODY)
    ratio = (longer[:, 6] - longer[:, 4]).norm(dim=1) / (usual[:, 6] - usual[:, 4]).norm(dim=1)
    torch.testing.assert_close(ratio, torch.full((30,), 1.2), atol=0.01, rtol=0)
    torch.testing.assert_close(longer[:, 7:], usual[:, 7:], atol=1e-5, rtol=0)


def test_held_out_splits() -> None:
    arrays = held_out_arrays()
    assert len(arrays["natural"]) == 400
    task = load_task("anny/tpose", samples=64, vertices=800)
    _, identity_pose, _, pose = task.triples.unbind(1)  # type: ignore[attr-defined]
    assert pose.max() < 200 <= identity_pose.min()
    arms = task.batch(torch.arange(64)).pose.points
    assert (arms.amax(dim=1) - arms.amin(dim=1))[:, 0].median() > 0.9
    task = load_task("anny/character", samples=64, vertices=800)
    _, identity_pose, _, pose = task.triples.unbind(1)  # type: ignore[attr-defined]
    assert pose.max() < 400 <= identity_pose.min()
    arms = task.batch(torch.arange(64)).identity.points
    assert (arms.amax(dim=1) - arms.amin(dim=1))[:, 0].median() > 0.9
    plain = load_task("anny/natural", samples=8, vertices=800)
    other = load_task("anny/makers", samples=8, vertices=800)
    assert len({t.fingerprint for t in (task, plain, other)}) == 3
    # The same people at rest, in other proportions.
    assert torch.equal(plain.body.rest, other.body.rest)  # type: ignore[attr-defined]
    assert not torch.equal(plain.body.to_tpose, other.body.to_tpose)  # type: ignore[attr-defined]
