"""Identities of any size through networks that were made for bodies of some thousand vertices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator

from posebench.cloud import Clouds
from posebench.interfaces import VictimSpec
from posebench.victims import EqualPoints, PoseTransferNetwork

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
                network.transferred(
                    pose.points, both, pose_mask=pose_mask, identity_mask=mask, generator=generator
                )[:, SHARED:]
            )
        return identity.replace(torch.cat(found, dim=1))
