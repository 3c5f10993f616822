"""A pose source and an identity from files: read, brought to metres, checked and centred.

The way of the protocol, made explicit for files: points in metres, y up and facing z; the pose
source thinned to ``POSE_POINTS`` random points in random order; pose and identity each centred by
its bounding box. What the choices cost stands in docs/meshes.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from posebench.benchmark.data.standing import checked
from posebench.benchmark.meshes.crop import Cut, cropped
from posebench.benchmark.meshes.files import WRITTEN, MeshFile, check_ending, read_mesh
from posebench.benchmark.meshes.frame import FrameOptions, Stated
from posebench.benchmark.meshes.types import Points, check_count
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Defense
from posebench.rng import generator_for

POSE_POINTS = 6890
"""Points of a pose source that the victim sees, SMPL's count; 1,700 to 100,000 did equally well."""

MAX_IDENTITY = 1_000_000
"""Vertices of an identity: some minutes on one CPU core."""


@dataclass(frozen=True)
class PoseSource:
    """A pose source as the victim gets it.

    Attributes:
        mesh: the file.
        order: (K,) which of its points, in which order.
        centre: (3,) what was subtracted, metres.
        cloud: (1, K, 3) the points, float32.
        seen: the cloud behind the defence; itself without one.
    """

    mesh: MeshFile
    order: NDArray[np.int64]
    centre: Points
    cloud: Clouds
    seen: Clouds

    @property
    def thinned(self) -> bool:
        """Whether some of the file's points were left out."""
        return len(self.order) < len(self.mesh.points)


@dataclass(frozen=True)
class Identity:
    """An identity as victims get it: distinct points, so that seams stay closed.

    Attributes:
        mesh: the file.
        centre: (3,) of its bounding box, metres.
        distinct: (D, 3) centred float32 points, no two at the same place, in random order.
        place: (N,) which of them each vertex of the file is.
    """

    mesh: MeshFile
    centre: Points
    distinct: NDArray[np.float32]
    place: NDArray[np.int64]


@dataclass(frozen=True)
class PairFiles:
    """Which files make a pair, and how they are to be read.

    Attributes:
        pose, identity: the files.
        frames: their units and axes.
        points: most points of the pose source that the victim sees.
        seed: of the choice of points and of both orders.
        crop: what is cut off the pose source, see :func:`cropped`.
    """

    pose: Path
    identity: Path
    frames: FrameOptions = field(default_factory=FrameOptions)
    points: int = POSE_POINTS
    seed: int = 0
    crop: str | None = None


@dataclass(frozen=True)
class Pair:
    """Both files, read and prepared, what the user should know about them, and what was cut off
    the pose source: nothing without a crop."""

    source: PoseSource
    identity: Identity
    notes: tuple[str, ...]
    cuts: tuple[Cut, ...] = ()


def read_pair(files: PairFiles, *, defense: Defense | None, out: Path | None) -> Pair:
    """Read and check both files, and whether the result can be written as ``out``.

    Raises:
        InputError: what :func:`read_mesh`, :func:`cropped`, :func:`checked` and
            :func:`check_ending` refuse.
    """
    of_pose, of_identity = files.frames.of_pose, files.frames.of_identity
    scan, cut = cropped(read_mesh(files.pose, of_pose.frame(), gaps=True), files.crop)
    body = read_mesh(files.identity, of_identity.frame())
    if out is not None:
        check_ending(out, WRITTEN, body.faces is not None)
    source = pose_source(scan, points=files.points, defense=defense, seed=files.seed)
    notes = (*scan.notes, *check_pose(source, of_pose))
    person, more = identity_of(body, of_identity, files.seed)
    return Pair(source, person, (*notes, *more), () if cut is None else (cut,))


def pose_source(
    mesh: MeshFile, *, points: int = POSE_POINTS, defense: Defense | None = None, seed: int = 0
) -> PoseSource:
    """Thin a pose source, shuffle it and centre it.

    Random points without replacement. They are shuffled even where none is left out, as the
    protocol does: some victims take the order for a random one.

    Raises:
        InputError: fewer than two points asked for.
    """
    if points < 2:
        raise InputError(f"points must be at least 2, got {points}")
    order = np.random.default_rng(seed).permutation(len(mesh.points))[:points]
    centre = box_centre(mesh.points[order])
    picked = torch.from_numpy((mesh.points[order] - centre).astype(np.float32))
    cloud = seen = Clouds.dense(picked[None])
    if defense is not None:
        seen = defense(cloud, generator=victims_generator(defense, seed))
    return PoseSource(mesh, order, centre, cloud, seen)


def victims_generator(defense: Defense, seed: int) -> Generator:
    """The generator that :func:`predict` gives a system with this defence."""
    stochastic = bool(getattr(defense, "stochastic", False))
    return generator_for(seed, *(("victim", 0, 0) if stochastic else ("victim",)))


def check_pose(source: PoseSource, stated: Stated) -> tuple[str, ...]:
    """Refuse what is no standing body behind the defence; see :func:`checked`."""
    kept = source.seen.points[source.seen.mask].double().numpy()
    return checked(kept, source.mesh, "pose source", stated)


def identity_of(mesh: MeshFile, stated: Stated, seed: int = 0) -> tuple[Identity, tuple[str, ...]]:
    """An identity for victims, and notes about it.

    Raises:
        InputError: more than ``MAX_IDENTITY`` vertices, or what :func:`checked` refuses.
    """
    check_count(len(mesh.points), MAX_IDENTITY, f"vertices in identity {mesh.path}")
    notes = checked(mesh.points, mesh, "identity", stated)
    centre = box_centre(mesh.points)
    distinct, place = np.unique(mesh.points - centre, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    rank = order.argsort()
    made = Identity(mesh, centre, distinct[order].astype(np.float32), rank[place.reshape(-1)])
    return made, notes


def box_centre(points: Points) -> Points:
    """Centre of the bounding box, (3,)."""
    middle: Points = (points.min(axis=0) + points.max(axis=0)) / 2
    return middle


def seen_centre(source: PoseSource) -> Points:
    """Centre of the box around the points that the victim saw, in the file's metres."""
    kept = source.seen.points[source.seen.mask].double().numpy()
    return source.centre + box_centre(kept)
