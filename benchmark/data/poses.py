"""Pose samplers: the published SMPL-NPT ranges, and a wider family for out-of-distribution tests.

Poses are (n, 24, 3) axis-angle vectors in radians for SMPL's 24 joints, relative to a T-pose, in
SMPL's axes: x to the body's left, y up, z to the front. Right joints mirror the left ones (y and
z change sign); left and right are drawn independently.

Source: the ranges of the released SMPL-NPT generator (Neural Pose Transfer, CVPR 2020), where one
draw moves collar and shoulder alike. Which axes the wrist turns about is our choice (y and z).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

PELVIS, SPINE1, SPINE2, SPINE3, NECK, HEAD = 0, 3, 6, 9, 12, 15
LEFT = {"hip": 1, "knee": 4, "ankle": 7, "collar": 13, "shoulder": 16, "elbow": 18, "wrist": 20}
RIGHT = {name: joint + 1 for name, joint in LEFT.items()}
MIRROR = np.array([1.0, -1.0, -1.0])

Ranges = dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]]
FIXED = (0.0, 0.0)

WIDE: Ranges = {
    "hip": ((-95.0, 20.0), (-20.0, 25.0), (-8.0, 35.0)),
    "knee": ((0.0, 115.0), FIXED, FIXED),
    "ankle": ((-20.0, 15.0), (-10.0, 10.0), (-5.0, 5.0)),
    "collar": (FIXED, (-10.0, 8.0), (-6.0, 14.0)),
    "shoulder": ((-25.0, 25.0), (-75.0, 20.0), (-70.0, 50.0)),
    "elbow": ((-30.0, 30.0), (-120.0, 0.0), FIXED),
    "wrist": ((-15.0, 15.0), (-15.0, 15.0), (-35.0, 35.0)),
}
WIDE_TRUNK: Ranges = {
    "spine": ((-5.0, 14.0), (-8.0, 8.0), (-6.0, 6.0)),
    "neck": ((-12.0, 14.0), (-15.0, 15.0), FIXED),
    "head": (FIXED, (-20.0, 20.0), FIXED),
    "root": ((-3.0, 3.0), (-3.0, 3.0), (-3.0, 3.0)),
}
STANDING_SHARE, STANDING_FACTOR = 0.35, 0.25


def npt_ranges(family: Literal["bent", "straight"]) -> Ranges:
    """Degrees of the left limbs; the collar does what the shoulder does."""
    bent = family == "bent"
    wrist = 20.0 if bent else 10.0
    return {
        "hip": ((-90.0, 0.0), FIXED, (0.0, 40.0 if bent else 5.0)),
        "knee": ((0.0, 100.0 if bent else 10.0), FIXED, FIXED),
        "ankle": ((-10.0, 10.0), (-10.0, 10.0), (-1.0, 1.0)),
        "shoulder": (FIXED, (-30.0, 30.0), (-30.0, 30.0)),
        "elbow": (FIXED, (-60.0, 0.0), FIXED),
        "wrist": (FIXED, (-wrist, wrist), (-wrist, wrist)),
    }


def npt_poses(
    count: int, family: Literal["bent", "straight"], rng: np.random.Generator
) -> NDArray[np.float32]:
    """SMPL-NPT poses: ``bent`` bends knees to 100 degrees and spreads legs, ``straight`` hardly."""
    limb = npt_ranges(family)
    degrees = np.zeros((count, 24, 3))
    for side, joints in ((1.0, LEFT), (MIRROR, RIGHT)):
        for name, ranges in limb.items():
            degrees[:, joints[name]] = side * _uniform(count, ranges, rng)
        degrees[:, joints["collar"]] = degrees[:, joints["shoulder"]]
    for joint in (SPINE1, SPINE2, SPINE3, NECK, HEAD):
        degrees[:, joint] = rng.uniform(-1, 1, (count, 1))
    degrees[:, PELVIS] = rng.uniform(-2, 2, (count, 3))
    return np.deg2rad(degrees).astype(np.float32)


def wide_poses(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Poses from ranges that training never sees (our choice); a third of them stand."""
    degrees = np.zeros((count, 24, 3))
    for side, joints in ((1.0, LEFT), (MIRROR, RIGHT)):
        for name, ranges in WIDE.items():
            degrees[:, joints[name]] = side * _beta(count, ranges, rng)
    standing = rng.random(count) < STANDING_SHARE
    for joints in (LEFT, RIGHT):
        for name in ("hip", "knee"):
            degrees[standing, joints[name], 0] *= STANDING_FACTOR
    for joint in (SPINE1, SPINE2, SPINE3):
        degrees[:, joint] = _beta(count, WIDE_TRUNK["spine"], rng)
    for joint, name in ((NECK, "neck"), (HEAD, "head"), (PELVIS, "root")):
        degrees[:, joint] = _beta(count, WIDE_TRUNK[name], rng)
    return np.deg2rad(degrees).astype(np.float32)


def _uniform(
    count: int, ranges: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    low, high = np.array(ranges, dtype=float).T
    drawn: NDArray[np.float64] = low + (high - low) * rng.random((count, 3))
    return drawn


def _beta(
    count: int, ranges: tuple[tuple[float, float], ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Beta(1.6, 1.6) stretched over each range: fewer extremes than a uniform draw."""
    low, high = np.array(ranges, dtype=float).T
    drawn: NDArray[np.float64] = low + (high - low) * rng.beta(1.6, 1.6, (count, 3))
    return drawn
