"""Driving anybody's mesh with anybody's pose source, where nobody knows the right answer.

The way of the protocol, made explicit for files: points in metres, y up and facing z; the pose
source thinned to ``POSE_POINTS`` random points in random order; pose and identity each centred by
its bounding box; the result put back where the identity stood. What the choices cost stands in
docs/meshes.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.meshes.files import MeshFile
from posebench.benchmark.meshes.frame import check_body
from posebench.benchmark.meshes.surface import Surface, apart, edge_distortion
from posebench.benchmark.meshes.types import Points, check_count
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Batch, Defense, Victim, VictimSpec
from posebench.rng import generator_for
from posebench.victims import Defended, EqualPoints, PoseTransferNetwork

POSE_POINTS = 6890
"""Points of a pose source that the victim sees, SMPL's count; 1,700 to 100,000 did equally well."""

FAR = 0.08
"""Metres of chamfer distance that no transfer of ours had that went well (2 to 6 cm)."""

MAX_IDENTITY = 1_000_000
"""Vertices of an identity: some minutes on one CPU core."""

PART = 100_000
"""Identity vertices at once: a compact network then stays below 1 GB."""

SHARED = 20_000
"""Vertices of every part that carry the instance norms' statistics, the same in all parts."""


@dataclass(frozen=True)
class InParts:
    """A network that takes any point counts and identities of any size.

    Instance norms take their statistics over all vertices, so vertices that went through in parts
    would not fit together: two random halves of 110,000 moved 1 mm against each other, and edges
    changed by 36 % instead of 24 %. So ``SHARED`` random vertices go along with every part and they
    alone carry the statistics; the rest is padding to the norms, yet comes out (24 %). Networks
    that pair points by index have no such masks, and no smooth surface to lose: they get parts as
    large as the pose, which also bounds gct, whose time grows with the square.
    """

    victim: PoseTransferNetwork

    @property
    def spec(self) -> VictimSpec:
        return replace(self.victim.spec, point_counts="free", masks=True)

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        """The identity's vertices must be in random order."""
        network, points = self.victim, identity.points
        if network.spec.point_counts == "equal":
            parts = points.tensor_split(-(-points.shape[1] // pose.points.shape[1]), dim=1)
            wrapped = EqualPoints(network)
            outputs = [wrapped(pose, Clouds.dense(part), generator=generator) for part in parts]
            return identity.replace(torch.cat([output.points for output in outputs], dim=1))
        if points.shape[1] <= PART:
            result: Clouds = network(pose, identity, generator=generator)
            return result
        shared = points[:, :SHARED]
        found = [network(pose, Clouds.dense(shared), generator=generator).points]
        for part in points[:, SHARED:].split(PART - SHARED, dim=1):
            both = torch.cat([shared, part], dim=1)
            mask = (torch.arange(both.shape[1], device=both.device) < SHARED)[None]
            pose_mask = None if pose.full else pose.mask
            found.append(
                network.transfer(pose.points, both, pose_mask, mask, generator)[:, SHARED:]
            )
        return identity.replace(torch.cat(found, dim=1))


@dataclass(frozen=True)
class Recentred:
    """A victim that first centres the pose: what a defence removed must not have placed the box."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.victim(centred(pose), identity, generator=generator)


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


def check_pose(source: PoseSource, up: str | None) -> tuple[str, ...]:
    """Refuse what is no standing body behind the defence; see :func:`check_body`."""
    kept = source.seen.points[source.seen.mask].double().numpy()
    note = check_body(kept, f"pose source {source.mesh.path}", source.mesh.frame.unit, up)
    return () if note is None else (note,)


def identity_of(mesh: MeshFile, up: str | None, seed: int = 0) -> tuple[Identity, tuple[str, ...]]:
    """An identity for victims, and notes about it.

    Raises:
        InputError: more than ``MAX_IDENTITY`` vertices, or what :func:`check_body` refuses.
    """
    check_count(len(mesh.points), MAX_IDENTITY, f"vertices in identity {mesh.path}")
    note = check_body(mesh.points, f"identity {mesh.path}", mesh.frame.unit, up)
    centre = box_centre(mesh.points)
    distinct, place = np.unique(mesh.points - centre, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    rank = order.argsort()
    made = Identity(mesh, centre, distinct[order].astype(np.float32), rank[place.reshape(-1)])
    return made, () if note is None else (note,)


def box_centre(points: Points) -> Points:
    """Centre of the bounding box, (3,)."""
    middle: Points = (points.min(axis=0) + points.max(axis=0)) / 2
    return middle


def system_of(network: PoseTransferNetwork, defense: Defense | None = None) -> Victim:
    """A network that takes any point counts, behind its defence."""
    whole = InParts(network)
    return whole if defense is None else Defended(Recentred(whole), defense)


def transferred(system: Victim, pose: Clouds, identity: Identity, seed: int = 0) -> Points:
    """The identity in the pose, (N, 3) float64 metres in its file's order and place.

    The result's bounding box is centred where the identity's was.

    Raises:
        InputError: if the victim returns NaN or another shape.
    """
    cloud = Clouds.dense(torch.from_numpy(identity.distinct)[None].to(pose.points.device))
    found = predict(system, unpaired(pose, cloud), seed).points[0].cpu()
    points = found.double().numpy()[identity.place]
    moved: Points = points - box_centre(points) + identity.centre
    return moved


def unpaired(pose: Clouds, identity: Clouds) -> Batch:
    """One pair whose target nobody knows; the identity stands in for it."""
    device = pose.points.device
    faces = torch.zeros((1, 1, 3), dtype=torch.int64, device=device)
    return Batch(pose, identity, identity, faces, torch.zeros(1, dtype=torch.int64, device=device))


# ---- metrics without a ground truth


def against_scan(points: Points, identity: Identity, source: PoseSource) -> dict[str, Any]:
    """What can be said of a result (N, 3) without knowing where its vertices should be.

    Distances in metres between the result's surface and the scan's, both centred by their
    bounding boxes (the scan's as the victim saw it); edge lengths against the identity's.
    """
    faces = identity.mesh.faces
    scan = Surface(source.mesh.points - seen_centre(source), source.mesh.faces)
    gaps = apart(scan, Surface(points - box_centre(points), faces))
    result: dict[str, Any] = {
        "scan_to_result": {"mean": gaps.there, "p95": gaps.there_p95},
        "result_to_scan": {"mean": gaps.back, "p95": gaps.back_p95},
        "chamfer": gaps.chamfer,
    }
    if faces is not None:
        result["edge_distortion"] = edge_distortion(points, identity.mesh.points, faces)
    return result


def far_off(found: dict[str, Any]) -> tuple[str, ...]:
    """A note if a result lies far from the scan, most likely because of how the scan stands."""
    if found["chamfer"] < FAR:
        return ()
    return (
        f"the result lies {100 * found['chamfer']:.0f} cm from the pose source on average: does "
        "its body face z (--pose-turn), and is it alone in its file?",
    )


def seen_centre(source: PoseSource) -> Points:
    """Centre of the box around the points that the victim saw, in the file's metres."""
    kept = source.seen.points[source.seen.mask].double().numpy()
    return source.centre + box_centre(kept)
