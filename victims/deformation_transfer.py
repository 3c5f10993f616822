"""DT: deformation transfer (Sumner and Popovic, SIGGRAPH 2004) with given correspondence.

The paper's classical row: no weights, no training. Each triangle of the pose giver is mapped from a
reference pose to the wanted one; the identity's triangles are mapped alike, as well as one mesh can
(``victims.surface_poisson``). The method needs what no network here gets: which point of the pose
source each vertex of the identity is, and the giver **in the identity's pose**, so that both
deformations start alike. Data that know these hand them over with the identity, as its
``posebench.cloud.Guide``; docs/design/011-deformation-transfer.md says why there. Clouds without a
guide are refused.

Ours, as the paper leaves it open: the output's bounding box is centred, as all meshes of the
protocol are (deformation gradients say nothing of place; parts of a mesh that do not hang together
go where their points of the giver go on average), and a triangle with a corner that the pose source
lacks keeps the identity's shape. Arithmetic is float64 on the CPU. The gradient to the pose source
is exact, by one more solution with the same factors; the identity has none.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds, Guide
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.surface_poisson import fitted, system_of, triangle_maps


class DeformationTransfer(PoseTransferNetwork):
    """See the module's text. ``width`` stands for a size's vertex count alone."""

    spec = VictimSpec(
        name="dt",
        title="DT",
        paper="SIGGRAPH 2004",
        stochastic=False,
        point_counts="free",
        masks=True,
        guided=True,
        way="by given correspondence",
        code="none",
    )

    def __init__(self, width: int = 1024) -> None:
        super().__init__(width)

    def transfer(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
        guide: Guide | None = None,
    ) -> Float[Tensor, "b n 3"]:
        """The deformed identities.

        Raises:
            InputError: without a guide.
        """
        if guide is None:
            raise InputError(
                "dt needs to know which point of the pose source each vertex of the identity is; "
                "undistorted tasks of anny say so, these clouds do not"
            )
        if int(guide.match.max()) >= pose.shape[1]:
            raise InputError(
                "dt cannot answer for picked points of the pose source: take a defence that keeps "
                "their order, such as 'sor'"
            )
        here = guide.to("cpu")
        there = torch.ones(pose.shape[:2], dtype=torch.bool) if pose_mask is None else pose_mask
        rows = [
            one_transfer(*each)
            for each in zip(
                pose.cpu().double(),
                there.cpu(),
                identity.detach().cpu().double(),
                here.reference.double(),
                here.match,
                here.faces,
                strict=True,
            )
        ]
        moved = Clouds.dense(torch.stack(rows))
        if identity_mask is not None:
            moved = Clouds.padded(moved.points, identity_mask.cpu())
        return centred(moved).points.to(identity)


def one_transfer(
    pose: Float[Tensor, "m 3"],
    there: Bool[Tensor, "m"],
    identity: Float[Tensor, "n 3"],
    reference: Float[Tensor, "n 3"],
    match: Tensor,
    faces: Tensor,
) -> Float[Tensor, "n 3"]:
    """One pair, float64, not centred; ``there`` are the real points of the pose source."""
    known = there[match]
    posed = torch.where(known[:, None], pose[match], reference)
    system = system_of(identity, faces)
    used = faces[system.used]
    maps = triangle_maps(reference, posed, used)
    whole = known[used].all(dim=1)[:, None, None]
    maps = torch.where(whole, maps, torch.eye(3, dtype=maps.dtype))
    return fitted(system, maps, identity + posed - reference)
