"""Transfer without a network: a body is fitted to both files, and the identity goes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.body_fit import vertex_normals
from posebench.benchmark.meshes.types import Points
from posebench.benchmark.retarget.figure_descent import Cloud
from posebench.benchmark.retarget.figure_fit import fit_figure
from posebench.benchmark.retarget.pair import Identity, Pair, PoseSource, box_centre
from posebench.benchmark.retarget.repose import reposed
from posebench.shapes import Float

LABEL = "fitted body, no network"

POOR, POOR_CLOUD = 0.006, 0.015
"""Metres between points and fitted surface on average beyond which a limb was often misplaced, of a
mesh and of a cloud, whose own noise counts (docs/meshes.md has the pairs)."""


@dataclass(frozen=True)
class FittedTransfer:
    """A result, and how near the fitted bodies came.

    Attributes:
        points: (N, 3) float64 metres, in the identity's order and place.
        pose_gap, identity_gap: metres from the points to the fitted surface on average.
        pose_poor, identity_poor: metres beyond which that is too far.
    """

    points: Points
    pose_gap: float
    identity_gap: float
    pose_poor: float = POOR
    identity_poor: float = POOR

    def doubts(self) -> Iterator[str]:
        """Reasons not to trust it, each a plain sentence."""
        for what, gap, poor in (
            ("pose source", self.pose_gap, self.pose_poor),
            ("identity", self.identity_gap, self.identity_poor),
        ):
            if gap > poor:
                yield (
                    f"no body fits the {what} well: the best lies {100 * gap:.1f} cm from it on "
                    f"average (over {100 * poor:.1f} cm), so a limb may be in the wrong place"
                )


def fitted_transfer(
    pair: Pair, device: str = "cpu", done: Callable[[], None] = lambda: None
) -> FittedTransfer:
    """The identity of two files in the pose source's pose, its box centred where it was; ``done``
    is called after each fit. The same files give the same result."""
    source, identity = pair.source, pair.identity
    pose = Cloud(source.seen.points[source.seen.mask].to(device), source_normals(source, device))
    points = torch.from_numpy(identity.distinct).to(device)
    found = by_fits(pose, Cloud(points, identity_normals(identity, device)), done)
    moved = found.points[identity.place]
    return replace(found, points=moved - box_centre(moved) + identity.centre)


def by_fits(
    pose: Cloud, identity: Cloud, done: Callable[[], None] = lambda: None
) -> FittedTransfer:
    """The identity's points in the pose and place of another cloud; normals point outwards."""
    giver = fit_figure(pose)
    done()
    person = fit_figure(identity)
    done()
    moved = reposed(identity, person.figure, giver.figure).cpu().numpy()
    poor = [POOR_CLOUD if each.normals is None else POOR for each in (pose, identity)]
    return FittedTransfer(moved, giver.gap, person.gap, *poor)


def source_normals(source: PoseSource, device: str) -> Float[Tensor, "n 3"] | None:
    """Of a mesh that no defence has touched; None of others."""
    if source.mesh.faces is None or source.seen is not source.cloud:
        return None
    normals = outward_normals(source.mesh.points, source.mesh.faces)
    return normals[torch.from_numpy(source.order)].to(device)


def identity_normals(identity: Identity, device: str) -> Float[Tensor, "n 3"] | None:
    """At the distinct points of a mesh; None of a cloud."""
    if identity.mesh.faces is None:
        return None
    faces = identity.place[identity.mesh.faces]
    return outward_normals(identity.distinct, faces).to(device)


def outward_normals(points: Points | np.ndarray, faces: np.ndarray) -> Float[Tensor, "n 3"]:
    """Unit normals, all turned round where more of them look inwards, as some files have them."""
    places = torch.from_numpy(np.asarray(points, dtype=np.float64))
    normals = vertex_normals(places, torch.from_numpy(np.asarray(faces, dtype=np.int64)))
    outwards = (normals * (places - places.mean(dim=0))).sum()
    return normals if outwards >= 0 else -normals
