"""Driving anybody's mesh with anybody's pose source, where nobody knows the right answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.meshes.types import Points
from posebench.benchmark.retarget.in_parts import InParts
from posebench.benchmark.retarget.pair import Identity, box_centre
from posebench.cloud import Clouds
from posebench.geometry import centred
from posebench.interfaces import Batch, Defense, Victim, VictimSpec
from posebench.victims import Defended, PoseTransferNetwork


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
