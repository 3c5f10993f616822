"""SMPL-NPT made from an SMPL model, by the published recipe (Neural Pose Transfer, CVPR 2020).

30 identities x 800 poses of the male model: identity i has shape coefficients 8 (u - 1/2) with u
from numpy's generator seeded 10 i; pose j has angles from Python's generator seeded j, uniform in
degrees, with bent knees for j < 400 and straight ones from there on. Both generators are Mersenne
Twisters whose sequences are part of the recipe. The published script stops at 16 identities; the
released data have 30.

Files are the published ones: ``id{i}_{j}.obj``, six decimals, metres.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.benchmark.data.smpl import SHAPES, SmplModel, pose_smpl
from posebench.errors import InputError
from posebench.files import check_writable, write_atomically

IDENTITIES, POSES, BENT = range(30), range(800), range(400)
JOINTS = 24
CHUNK = 25
"""Poses skinned at once."""

X, Y, Z = ((axis,) for axis in range(3))
XYZ = (0, 1, 2)

Draw = tuple[tuple[int, ...], tuple[int, ...], int, int]
"""Joints and axes that one draw sets, and its range in degrees."""


def draws(*, bent: bool) -> list[Draw]:
    """The recipe's uniform draws in their order, which the seeds depend on."""
    knee, spread, wrist = (100, 40, 20) if bent else (10, 5, 10)
    # The straight family lets the left ankle alone turn to 20 degrees.
    left_ankle = 10 if bent else 20
    rows: list[Draw] = []
    for sign, (collar, shoulder, elbow, wrists, hand) in (
        (1, (13, 16, 18, 20, 22)),
        (-1, (14, 17, 19, 21, 23)),
    ):
        rows += [((collar, shoulder), axis, -30, 30) for axis in (Y, Z)]
        rows.append(((elbow,), Y, *_mirrored(sign, -60, 0)))
        rows += [((wrists,), axis, -wrist, wrist) for axis in (X, Y, Z)]
        rows.append(((hand,), X, -5, 5))
        rows += [((hand,), Y, *_mirrored(sign, 0, 10)), ((hand,), Z, *_mirrored(sign, -10, 0))]
    for sign, (hip, knees, ankle), turn in ((1, (1, 4, 7), left_ankle), (-1, (2, 5, 8), 10)):
        rows += [((hip,), X, -90, 0), ((hip,), Z, *_mirrored(sign, 0, spread))]
        rows.append(((knees,), X, 0, knee))
        rows += [((ankle,), X, -10, turn), ((ankle,), Y, -10, 10), ((ankle,), Z, -1, 1)]
    rows += [((12, 15), XYZ, -1, 1), ((3, 6, 9), XYZ, -1, 1)]  # neck with head, whole spine
    rows += [((0,), axis, -2, 2) for axis in (X, Y, Z)]
    return rows


def npt_pose(number: int) -> NDArray[np.float64]:
    """Pose ``number`` of the data set: (24, 3) axis-angle, radians."""
    uniform = random.Random(number).uniform
    degrees = np.zeros((JOINTS, 3))
    for joints, axes, low, high in draws(bent=number in BENT):
        degrees[np.ix_(joints, axes)] = uniform(low, high)
    return np.deg2rad(degrees)


def npt_betas(identity: int) -> NDArray[np.float64]:
    """Shape coefficients of an identity, (10,) in -4..4."""
    uniform = np.random.RandomState(10 * identity).rand
    betas: NDArray[np.float64] = (uniform(SHAPES) - 0.5) * 8
    return betas


def make_smpl_npt(
    model: SmplModel,
    out: Path,
    *,
    identities: range = IDENTITIES,
    poses: range = POSES,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the meshes that are not there yet; returns how many were written.

    Each file is written whole or not at all, so a stopped run goes on where it was. ``progress``
    is called with the number of meshes done.

    Raises:
        InputError: not a model for this recipe, a folder that cannot be written, too little room.
    """
    vertices = model.template.shape[0]
    if len(model.parents) != JOINTS or model.shape_directions.shape[2] < SHAPES:
        raise InputError(f"SMPL-NPT needs a model of {JOINTS} joints and {SHAPES} shape directions")
    check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    faces = obj_faces(model.faces.numpy())
    wanted = {(i, p): out / f"id{i}_{p}.obj" for i in identities for p in poses}
    todo = {key: path for key, path in wanted.items() if not path.exists()}
    _check_room(out, len(todo) * (len(faces) + 30 * vertices))
    if progress is not None:
        progress(len(wanted) - len(todo))
    for identity in identities:
        betas = torch.from_numpy(npt_betas(identity))
        missing = [pose for pose in poses if (identity, pose) in todo]
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            posed = torch.from_numpy(np.stack([npt_pose(pose) for pose in chunk]))
            for pose, points in zip(chunk, pose_smpl(model, betas, posed), strict=True):
                write_atomically(todo[identity, pose], obj_vertices(points.numpy()) + faces)
                if progress is not None:
                    progress(1)
    return len(todo)


def obj_vertices(points: NDArray[np.float64]) -> str:
    """The ``v`` lines of an OBJ file, six decimals as the release has them."""
    return ("v %f %f %f\n" * len(points)) % tuple(points.ravel().tolist())


def obj_faces(faces: NDArray[np.int64]) -> str:
    """The ``f`` lines of an OBJ file, counted from 1."""
    return ("f %d %d %d\n" * len(faces)) % tuple((faces + 1).ravel().tolist())


def _mirrored(sign: int, low: int, high: int) -> tuple[int, int]:
    """A range of the left side, or the right side's counterpart."""
    return (low, high) if sign > 0 else (-high, -low)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: the meshes need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "choose another folder or fewer identities"
        )
