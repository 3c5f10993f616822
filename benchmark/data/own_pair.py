"""One pair of a user's own meshes: what is asked of it, and how it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.benchmark.meshes.files import MAX_COORDINATE, MIN_POINTS, MeshFile
from posebench.benchmark.meshes.frame import Frame
from posebench.benchmark.meshes.types import Faces, Points
from posebench.errors import InputError
from posebench.geometry import edge_lengths

MOST_VERTICES = 100_000
"""Of an identity; networks see all at once, as attacks need it."""

ALIKE = 2.0
"""Ratio of median edge lengths between identity and truth above which they cannot correspond."""


@dataclass(frozen=True)
class OwnPair:
    """One test pair in metres, y up, facing z.

    Attributes:
        pose: (P, 3) float32 pose source.
        identity: (V, 3) float32.
        target: (V, 3) float32 the identity in the pose source's pose, in the identity's order;
            None where nobody knows.
        faces: (F, 3) int64 triangles of the identity; (0, 3) for a cloud.
    """

    pose: NDArray[np.float32]
    identity: NDArray[np.float32]
    target: NDArray[np.float32] | None
    faces: Faces


def pair_of(pose: MeshFile, identity: MeshFile, target: MeshFile | None, where: str) -> OwnPair:
    """A pair of meshes that were checked one by one.

    Raises:
        InputError: too many vertices, or a target that is not the identity in another pose.
    """
    count = len(identity.points)
    if count > MOST_VERTICES:
        raise InputError(
            f"{where}: identity {identity.path} has {count:,} vertices, at most {MOST_VERTICES:,} "
            "are evaluated: simplify it, or use 'posebench transfer' and 'posebench attack'"
        )
    faces = np.zeros((0, 3), np.int64) if identity.faces is None else identity.faces
    if target is not None:
        _check_target(identity, target, faces, where)
    truth = None if target is None else placed(target.points)
    return OwnPair(placed(pose.points), placed(identity.points), truth, faces)


def placed(points: Points) -> NDArray[np.float32]:
    """Points (N, 3) about the centre of their bounding box: scans may lie far from their origin."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    found: NDArray[np.float32] = (points - middle).astype(np.float32)
    return found


def _check_target(identity: MeshFile, target: MeshFile, faces: Faces, where: str) -> None:
    """Vertex k of the target must be vertex k of the identity."""
    if len(target.points) != len(identity.points):
        raise InputError(
            f"{where}: target {target.path} has {len(target.points):,} vertices, identity "
            f"{identity.path} {len(identity.points):,}: a target is the identity in another pose, "
            "vertex by vertex"
        )
    if not len(faces):
        return
    corners = torch.from_numpy(faces)[None]
    medians = [
        float(edge_lengths(torch.from_numpy(each.points)[None], corners).median())
        for each in (target, identity)
    ]
    ratio = medians[0] / max(medians[1], 1e-12)
    if not 1 / ALIKE <= ratio <= ALIKE:
        raise InputError(
            f"{where}: along the identity's faces the edges of target {target.path} are "
            f"{ratio:.2g} times as long: its vertices are not in the identity's order"
        )


def mesh_of(name: str, points: Any, faces: Any = None) -> MeshFile:
    """An array as if it came from a file of metres."""
    found: Points = np.ascontiguousarray(points, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != 3 or len(found) < MIN_POINTS:
        raise InputError(
            f"{name}: points must be (N, 3), N at least {MIN_POINTS}, got {found.shape}"
        )
    if not (np.abs(found) <= MAX_COORDINATE).all():
        raise InputError(f"{name}: coordinates must be finite metres")
    corners = None
    if faces is not None:
        corners = np.asarray(faces, dtype=np.int64)
        shaped = corners.ndim == 2 and corners.shape[1] == 3 and len(corners) > 0
        if not (shaped and corners.min() >= 0 and corners.max() < len(found)):
            raise InputError(f"{name}: faces must be (F, 3) over its {len(found)} vertices")
    return MeshFile(Path(name), found, corners, Frame())
