"""Transfer without a network: a body is fitted to both files, and the identity goes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.body_fit import vertex_normals
from posebench.benchmark.meshes.types import Points
from posebench.benchmark.retarget.figure_fit import fit_figure
from posebench.benchmark.retarget.pair import Identity, Pair, PoseSource, box_centre
from posebench.benchmark.retarget.repose import reposed
from posebench.shapes import Float

LABEL = "fitted body, no network"

POOR = 0.006
"""Metres between points and fitted surface on average beyond which a limb was often misplaced
(docs/meshes.md has the pairs)."""


@dataclass(frozen=True)
class FittedTransfer:
    """A result, and how near the fitted bodies came.

    Attributes:
        points: (N, 3) float64 metres, in the identity's order and place.
        pose_gap, identity_gap: metres from the points to the fitted surface on average.
    """

    points: Points
    pose_gap: float
    identity_gap: float

    def doubts(self) -> Iterator[str]:
        """Reasons not to trust it, each a plain sentence."""
        for what, gap in (("pose source", self.pose_gap), ("identity", self.identity_gap)):
            if gap > POOR:
                yield (
                    f"no body fits the {what} well: the best lies {100 * gap:.1f} cm from it on "
                    f"average (over {100 * POOR:.1f} cm), so a limb may be in the wrong place"
                )


def fitted_transfer(
    pair: Pair, device: str = "cpu", done: Callable[[], None] = lambda: None
) -> FittedTransfer:
    """The identity in the pose source's pose, its box centred where it was; ``done`` is called
    after each fit. The same files give the same result."""
    source, identity = pair.source, pair.identity
    cloud = source.seen.points[source.seen.mask].to(device)
    giver = fit_figure(cloud, source_normals(source, device))
    done()
    points = torch.from_numpy(identity.distinct).to(device)
    normals = identity_normals(identity, device)
    person = fit_figure(points, normals)
    done()
    moved = reposed(points, normals, person.figure, giver.figure).cpu().numpy()[identity.place]
    placed = moved - box_centre(moved) + identity.centre
    return FittedTransfer(placed, giver.gap, person.gap)


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
