"""Clouds: the padded batch of point sets that travels through every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.errors import InputError
from posebench.shapes import Bool, Float, Int


@dataclass(frozen=True)
class Guide:
    """What methods with given correspondence know beside an identity and its pose source.

    Attributes:
        reference: (B, N, 3) the pose giver in the identity's pose, in the identity's order, metres.
        match: (B, N) int64, which point of the pose source each of the identity's points is.
        faces: (B, F, 3) int64 triangles over the identity's order.
    """

    reference: Float[Tensor, "b n 3"]
    match: Int[Tensor, "b n"]
    faces: Int[Tensor, "b f 3"]

    def select(self, index: slice | Tensor) -> Guide:
        """Pick pairs along the batch axis."""
        return Guide(self.reference[index], self.match[index], self.faces[index])

    def to(self, device: torch.device | str) -> Guide:
        """Move every tensor."""
        return Guide(self.reference.to(device), self.match.to(device), self.faces.to(device))

    def renumbered(self, identity: Int[Tensor, "n"], pose: Int[Tensor, "m"]) -> Guide:
        """For clouds in another order: new point k is old point ``identity[k]``, ``pose[k]``."""
        match = pose.argsort()[self.match[:, identity]]
        return Guide(self.reference[:, identity], match, identity.argsort()[self.faces])


@dataclass(frozen=True)
class Clouds:
    """A batch of point sets, padded to one length.

    Attributes:
        points: (B, N, 3), metres. Padding rows are exactly zero.
        mask: (B, N), True where a point is real.
        full: known at construction to hold no padding. It lets victims skip masked
            arithmetic without asking the device (our choice: a host sync per call costs
            more than the flag).
        guide: of identities alone, where the data know it; most victims do not look at it.
    """

    points: Float[Tensor, "b n 3"]
    mask: Bool[Tensor, "b n"]
    full: bool = False
    guide: Guide | None = None

    @staticmethod
    def dense(points: Float[Tensor, "b n 3"]) -> Clouds:
        """Wrap a (B, N, 3) tensor in which every point is real.

        Raises:
            InputError: if the tensor is not (B, N, 3) floating point with N >= 1.
        """
        if points.ndim != 3 or points.shape[-1] != 3 or not points.is_floating_point():
            raise InputError(
                f"points must be a floating (B, N, 3) tensor, got {points.dtype} "
                f"{tuple(points.shape)}"
            )
        if points.shape[0] == 0 or points.shape[1] == 0:
            raise InputError(f"a cloud needs at least one point, got {tuple(points.shape)}")
        mask = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        return Clouds(points, mask, full=True)

    @staticmethod
    def padded(points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"]) -> Clouds:
        """Clouds from points and mask; rows outside the mask are set to zero."""
        if points.shape[:2] != mask.shape or mask.dtype != torch.bool:
            raise InputError(
                f"mask must be bool {tuple(points.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            )
        return Clouds(points.where(mask[..., None], points.new_zeros(())), mask)

    @staticmethod
    def from_list(clouds: list[Tensor]) -> Clouds:
        """Point sets (n, 3) as one batch, padded to the longest; without padding if all are.

        Raises:
            InputError: if there are none, or one has no points.
        """
        counts = [len(points) for points in clouds]
        if not counts or min(counts) == 0:
            raise InputError(f"a batch needs clouds of at least one point, got counts {counts}")
        points = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True)
        if min(counts) == max(counts):
            return Clouds.dense(points)
        ends = torch.tensor(counts, device=points.device)[:, None]
        return Clouds.padded(points, torch.arange(max(counts), device=points.device) < ends)

    @staticmethod
    def stacked(clouds: Sequence[Clouds]) -> Clouds:
        """Batches of equally long clouds as one; guided if all are."""
        guides = [each.guide for each in clouds if each.guide is not None]
        guide = None
        if len(guides) == len(clouds):
            parts = [(each.reference, each.match, each.faces) for each in guides]
            guide = Guide(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        return Clouds(
            torch.cat([cloud.points for cloud in clouds]),
            torch.cat([cloud.mask for cloud in clouds]),
            all(cloud.full for cloud in clouds),
            guide,
        )

    @property
    def counts(self) -> Tensor:
        """Real points per cloud, (B,) int64."""
        return self.mask.sum(dim=1)

    def replace(self, points: Float[Tensor, "b n 3"]) -> Clouds:
        """The same mask with other points."""
        return Clouds(points, self.mask, self.full, self.guide)

    def keep(self, kept: Bool[Tensor, "b n"]) -> Clouds:
        """Clear the mask bits of points that are not kept; tensors never shrink."""
        return Clouds.padded(self.points, self.mask & kept)

    def widened(self, size: int) -> Clouds:
        """The same clouds padded to ``size`` slots, no fewer than there are."""
        more = size - self.points.shape[1]
        if not more:
            return self
        points = torch.nn.functional.pad(self.points, (0, 0, 0, more))
        return Clouds(points, torch.nn.functional.pad(self.mask, (0, more)))

    def select(self, index: slice | Tensor) -> Clouds:
        """Pick clouds along the batch axis."""
        guide = None if self.guide is None else self.guide.select(index)
        return Clouds(self.points[index], self.mask[index], self.full, guide)

    def to(self, device: torch.device | str) -> Clouds:
        """Move every tensor."""
        guide = None if self.guide is None else self.guide.to(device)
        return Clouds(self.points.to(device), self.mask.to(device), self.full, guide)

    def permuted(self, order: Int[Tensor, "n"]) -> Clouds:
        """The points in another order, new point k is old point ``order[k]``; without the guide,
        which hangs on the other cloud's order too: see ``Batch.renumbered``."""
        return Clouds(self.points[:, order], self.mask[:, order], self.full)

    def guided(self, guide: Guide | None) -> Clouds:
        """The same clouds with this guide."""
        return Clouds(self.points, self.mask, self.full, guide)

    def detach(self) -> Clouds:
        """The same clouds, cut from the autograd graph."""
        return self.replace(self.points.detach())

    def check_finite(self, what: str) -> None:
        """Raise InputError when a real point is NaN or infinite or a cloud is empty."""
        if not bool(self.mask.any(dim=1).all()):
            raise InputError(f"{what}: a cloud has no points")
        if not bool(torch.isfinite(self.points).all()):
            raise InputError(f"{what}: coordinates must be finite, found NaN or infinity")
