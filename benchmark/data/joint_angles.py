"""Poses as a clinician measures them: angles in degrees from standing with hanging arms.

One row holds the angles of the left limbs, the right limbs and the trunk (``ANGLES``). Positive is
flexion, abduction, outward rotation, dorsiflexion, supination; trunk, neck and pelvis bend forward,
to the left, and turn to the left. The same number means the mirrored movement on both sides, so
mirroring a pose swaps two blocks and changes six signs.

Upper arm and thigh swing from hanging straight down along one vector (forward, sideways) and then
turn about their own length: no angle has a pole where people move. Upper arms are measured against
the trunk; what the clavicle does is taken off the shoulder.

``RANGES`` are what adults can do, degrees. Sources: American Academy of Orthopaedic Surgeons,
*Joint Motion* (1965), as tabled in Norkin and White, *Measurement of Joint Motion*; the neck
after the American Medical Association's *Guides* (5th edition); bent knees and loaded ankles
after Hemmerich et al., J. Orthop. Res. 24 (2006), who measured squatting and kneeling. A thigh's
45 degrees of abduction and of outward rotation hold for a straight leg (``natural`` sees to it):
raised it swings further aside, and since a swing forward and aside turns the knee inward, as
measured here, sitting cross-legged has some 70 degrees of outward rotation. Our choice: the
clavicle's, the shares of spine and neck, lean and heading of the pelvis, and ``arm_split``, which
moves rotation about the arm's length from shoulder to elbow: motion capture does not agree on
where it belongs, and only the skin of the upper arm sees it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.poses import HEAD, LEFT, NECK, PELVIS, SPINE1, SPINE2, SPINE3
from posebench.shapes import Float

LIMB_RANGES: dict[str, tuple[float, float]] = {
    "clavicle_elevation": (-10, 35),
    "clavicle_protraction": (-20, 25),
    "shoulder_flexion": (-60, 180),
    "shoulder_abduction": (-75, 180),
    "shoulder_rotation": (-80, 90),
    "elbow_flexion": (0, 150),
    "forearm_supination": (-80, 80),
    "wrist_flexion": (-70, 80),
    "wrist_radial": (-30, 20),
    "hip_flexion": (-30, 130),
    "hip_abduction": (-30, 70),
    "hip_rotation": (-45, 85),
    "knee_flexion": (0, 155),
    "knee_rotation": (-15, 15),
    "ankle_dorsiflexion": (-50, 35),
    "foot_out": (-20, 20),
    "foot_inversion": (-15, 30),
    "arm_split": (-60, 60),
}
TRUNK_RANGES: dict[str, tuple[float, float]] = {
    "trunk_flexion": (-30, 80),
    "trunk_side": (-35, 35),
    "trunk_turn": (-45, 45),
    "neck_flexion": (-60, 50),
    "neck_side": (-45, 45),
    "neck_turn": (-80, 80),
    "pelvis_tilt": (-95, 95),
    "pelvis_roll": (-95, 95),
    "heading": (-20, 20),
    "spine1_share": (0.1, 0.45),
    "spine3_share": (0.1, 0.45),
    "neck_share": (0.2, 0.8),
}
LIMB, TRUNK = tuple(LIMB_RANGES), tuple(TRUNK_RANGES)
ANGLES = (*(f"left_{name}" for name in LIMB), *(f"right_{name}" for name in LIMB), *TRUNK)
RANGES = dict(zip(ANGLES, [*LIMB_RANGES.values()] * 2 + [*TRUNK_RANGES.values()], strict=True))
INDEX = {name: column for column, name in enumerate(ANGLES)}
L = len(LIMB)
SIDED = ("trunk_side", "trunk_turn", "neck_side", "neck_turn", "pelvis_roll", "heading")
"""Angles of the trunk that change sign in a mirror."""

SIDE = {name: column for column, name in enumerate(LIMB)}
MIDDLE = {name: column for column, name in enumerate(TRUNK)}


def mirrored(angles: Float[Tensor, "n 48"]) -> Float[Tensor, "n 48"]:
    """The angles of the same poses in a mirror."""
    return torch.cat(
        [angles[:, L : 2 * L], angles[:, :L], angles[:, 2 * L :] * _signs(angles.device)], dim=1
    )


@lru_cache
def _signs(device: torch.device) -> Tensor:
    return torch.tensor([-1.0 if name in SIDED else 1.0 for name in TRUNK], device=device)


def poses_of_angles(angles: Float[Tensor, "n 48"]) -> Float[Tensor, "n 24 3"]:
    """Axis-angle vectors of SMPL's joints relative to the T-pose, radians (see ``poses``)."""
    limbs = _limb_quaternions(torch.deg2rad(angles[:, : 2 * L].unflatten(1, (2, L))))
    pose = angles.new_zeros((len(angles), 24, 3))
    vectors = quaternions.to_axis_angle(limbs)
    left = list(LEFT.values())
    pose[:, left] = vectors[:, 0]
    # In the mirror x -> -x a rotation's y and z change sign.
    right = vectors[:, 1]
    pose[:, [joint + 1 for joint in left]] = torch.cat([right[..., :1], -right[..., 1:]], dim=2)

    middle = angles[:, 2 * L :]
    bends = torch.deg2rad(middle[:, :9]).unflatten(1, (3, 3))
    flexion, side, turn = bends.unbind(dim=2)
    spine, neck, pelvis = torch.stack([flexion, turn, -side], dim=2).unbind(dim=1)
    first, last, low = middle[:, 9:].split(1, dim=1)
    pose[:, SPINE1], pose[:, SPINE3] = spine * first, spine * last
    pose[:, SPINE2] = spine * (1 - first - last)
    pose[:, NECK], pose[:, HEAD] = neck * low, neck * (1 - low)
    tilt, heading, roll = pelvis.unbind(dim=1)
    zero = torch.zeros_like(tilt)
    turns = [torch.stack(v, dim=1) for v in ((zero, heading, zero), (tilt, zero, roll))]
    heading, lean = quaternions.from_axis_angle(torch.stack(turns))
    pose[:, PELVIS] = quaternions.to_axis_angle(quaternions.multiply(heading, lean))
    return pose


def _limb_quaternions(limb: Float[Tensor, "n 2 18"]) -> Float[Tensor, "n 2 7 4"]:
    """Rotations of a left side's joints in the order of ``LEFT``; radians."""
    zero = torch.zeros_like(limb[..., 0])

    def of(name: str) -> Tensor:
        return limb[..., SIDE[name]]

    hang = torch.full_like(zero, -torch.pi / 2)
    vectors = {
        "collar": (zero, -of("clavicle_protraction"), of("clavicle_elevation")),
        "arm": (-of("shoulder_flexion"), zero, of("shoulder_abduction")),
        "hang": (zero, zero, hang),
        # Along the T-pose's arm, which points away from the body.
        "arm twist": (of("arm_split") - of("shoulder_rotation"), zero, zero),
        "untwist": (-of("arm_split"), zero, zero),
        "elbow": (zero, -of("elbow_flexion"), zero),
        "forearm": (-of("forearm_supination"), zero, zero),
        "wrist": (zero, -of("wrist_radial"), -of("wrist_flexion")),
        "thigh": (-of("hip_flexion"), zero, of("hip_abduction")),
        "thigh twist": (zero, of("hip_rotation"), zero),
        "knee": (of("knee_flexion"), zero, zero),
        "shin twist": (zero, of("knee_rotation"), zero),
        "ankle": (-of("ankle_dorsiflexion"), of("foot_out"), of("foot_inversion")),
    }
    stacked = torch.stack([torch.stack(v, dim=-1) for v in vectors.values()], dim=-2)
    parts = quaternions.from_axis_angle(stacked).unbind(dim=-2)
    turn = dict(zip(vectors, parts, strict=True))
    times = quaternions.multiply
    upper_arm = times(times(turn["arm"], turn["hang"]), turn["arm twist"])
    joints = {
        "hip": times(turn["thigh"], turn["thigh twist"]),
        "knee": times(turn["knee"], turn["shin twist"]),
        "ankle": turn["ankle"],
        "collar": turn["collar"],
        "shoulder": times(quaternions.inverse(turn["collar"]), upper_arm),
        "elbow": times(times(turn["untwist"], turn["elbow"]), turn["forearm"]),
        "wrist": turn["wrist"],
    }
    return torch.stack([joints[name] for name in LEFT], dim=-2)
