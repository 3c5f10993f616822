"""MAPConNet's losses (Sun et al., ICCV 2023, arXiv 2304.13819), with and without the truth.

Features after the residual blocks are f_id of the identity, f_p of the pose source and f_o of the
warped points. Half of the channels shall hold identity, half pose: triplet losses with margin 1 on
distances per vertex draw f_o towards f_id on the identity channels and towards f_p on the others
(per mesh), and each f_o towards its own vertex's f_id, away from the next vertex's (per point; the
next by number, which after shuffling is a random one, as released).

Without the truth a pose source is compared with itself: transferred onto another pose of its own
giver it must come out as it was, directly (cross-consistency) and after a detour over the
identity (self-consistency). Written from the published description and checked against the
released losses. Recipes here do not use them: all weights are trained with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.benchmark.evaluation.metrics import edge_loss
from posebench.shapes import Float, Int
from posebench.victims.mapconnet import MAPConNet
from posebench.victims.transport import matched

RECONSTRUCTION, EDGE, MARGIN = 1000.0, 0.5, 1.0


@dataclass(frozen=True)
class Contrast:
    """The two triplet losses, scalars."""

    mesh: Tensor
    point: Tensor


@dataclass(frozen=True)
class Losses:
    """Of one pass, scalars with their weights."""

    reconstruction: Tensor
    edge: Tensor
    contrast: Contrast

    @property
    def total(self) -> Tensor:
        return self.reconstruction + self.edge + self.contrast.mesh + self.contrast.point


@dataclass(frozen=True)
class Pass:
    """One transfer: warped points and output (B, N, 3); features of the three clouds (B, ., C)."""

    warped: Tensor
    output: Tensor
    of_identity: Tensor
    of_pose: Tensor
    of_output: Tensor

    def mesh_loss(self, network: MAPConNet) -> Float[Tensor, ""]:
        """Triplets per mesh around the warped points; f_p stands at its best match's vertex."""
        match = matched(*network.matchable(self.of_identity, self.of_pose))
        index = match[..., None].expand(-1, -1, self.of_pose.shape[2])
        pose, identity, output = self.of_pose.gather(1, index), self.of_identity, self.of_output
        half = network.side
        return per_mesh(output[..., :half], identity[..., :half], pose[..., :half]) + per_mesh(
            output[..., half:], pose[..., half:], identity[..., half:]
        )

    def cross_loss(self, network: MAPConNet) -> Float[Tensor, ""]:
        """Triplets around the pose source, which has the identity's order."""
        half = network.side
        identity, pose, output = self.of_identity, self.of_pose, self.of_output
        return per_mesh(pose[..., :half], identity[..., :half], output[..., :half]) + per_mesh(
            pose[..., half:], output[..., half:], identity[..., half:]
        )

    def point_loss(self) -> Float[Tensor, ""]:
        """Triplets per point."""
        gap = distance(self.of_output, self.of_identity) - distance(
            self.of_output, self.of_identity.roll(-1, dims=1)
        )
        return torch.relu(gap + MARGIN).mean()


def run(
    network: MAPConNet, pose: Float[Tensor, "b m 3"], of_identity: Float[Tensor, "b n c"]
) -> Pass:
    """A pose source onto an identity that is given by its features."""
    of_pose = network.features(pose)
    warped = network.warp(of_identity, of_pose, pose)
    output = network.refine(warped, of_identity)
    return Pass(warped, output, of_identity, of_pose, network.features(warped))


def labelled_losses(
    network: MAPConNet,
    pose: Float[Tensor, "b m 3"],
    identity: Float[Tensor, "b n 3"],
    target: Float[Tensor, "b n 3"],
    faces: Int[Tensor, "b f 3"],
) -> Losses:
    """With the truth; ``faces`` over the identity's order."""
    found = run(network, pose, network.features(identity))
    contrast = Contrast(found.mesh_loss(network), found.point_loss())
    return with_truth(found, target, identity, faces, contrast)


def unlabelled_losses(
    network: MAPConNet,
    pose: Float[Tensor, "b m 3"],
    other: Float[Tensor, "b m 3"],
    identity: Float[Tensor, "b n 3"],
    faces: Int[Tensor, "b f 3"],
) -> tuple[Losses, Contrast, Losses]:
    """Without it: of cross-consistency, of the detour's first leg, of self-consistency.

    ``other`` is the pose's giver in another pose and in the same order; ``faces`` are of both.
    """
    across = run(network, pose, network.features(other))
    contrast = Contrast(across.cross_loss(network), across.point_loss())
    cross = with_truth(across, pose, other, faces, contrast)
    first = run(network, pose, network.features(identity))
    leg = Contrast(first.mesh_loss(network), first.point_loss())
    back = run(network, first.output.detach(), across.of_identity)
    contrast = Contrast(back.mesh_loss(network), back.point_loss())
    return cross, leg, with_truth(back, pose, other, faces, contrast)


def with_truth(
    found: Pass, target: Tensor, identity: Tensor, faces: Tensor, contrast: Contrast
) -> Losses:
    """A pass against where it should have ended, edges against the identity's."""
    return Losses(
        RECONSTRUCTION * (found.output - target).square().mean(),
        EDGE * edge_loss(found.output, identity, faces),
        contrast,
    )


def per_mesh(
    anchor: Float[Tensor, "b n c"], near: Float[Tensor, "b n c"], far: Float[Tensor, "b n c"]
) -> Float[Tensor, ""]:
    """A triplet loss on the mean distances of meshes."""
    gap = (distance(anchor, near) - distance(anchor, far)).mean(dim=1)
    return torch.relu(gap + MARGIN).mean()


def distance(x: Float[Tensor, "b n c"], y: Float[Tensor, "b n c"]) -> Float[Tensor, "b n"]:
    """Euclidean, per vertex."""
    length: Tensor = (x - y).norm(dim=2)
    return length
