"""Attacks of training besides a cap a vertex: a smooth field, and few points anywhere.

Training against one threat model leaves a network without experience of the others. These two are
what ``posebench.threats`` calls smooth and sparse, in the few steps that training can pay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, pose_gradient
from posebench.attacks.projection import box, smooth_basis
from posebench.attacks.sparse import STRIDE
from posebench.benchmark.training.capped import TRAVEL
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import aligned
from posebench.shapes import Float


def longest_is(
    field: Float[Tensor, "b n 3"], length: Float[Tensor, "b 1 1"]
) -> Float[Tensor, "b n 3"]:
    """Each row's field scaled so that its longest displacement has this length."""
    longest = field.norm(dim=2, keepdim=True).amax(dim=1, keepdim=True)
    scaled: Tensor = field * (length / longest.clamp_min(1e-30))
    return scaled


@dataclass(frozen=True)
class SmoothField:
    """Bends each pose by a field of a few Gaussians, up to a cap drawn for each row.

    Attributes:
        cap, low: largest and smallest cap, metres.
        iterations: gradient steps, after a random start at the cap.
    """

    cap: float
    low: float
    iterations: int = 3

    objective: ClassVar[str] = "aligned"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")

    @property
    def budget(self) -> Budget:
        """What no field leaves."""
        return Budget(self.cap, "smooth")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        basis = smooth_basis(clean).to(clean.points)
        shape, like = (len(clean.points), basis.shape[2], 3), clean.points
        ways = torch.randn(shape, generator=generator, device=like.device).to(like)
        caps = torch.rand((len(like), 1, 1), generator=generator, device=like.device).to(like)
        caps = self.low + (self.cap - self.low) * caps
        moved = longest_is(basis @ ways, caps)
        for _ in range(self.iterations):
            pose = clean.replace(clean.points + moved)
            _, gradient = pose_gradient(victim, batch, pose, objective=aligned, generator=generator)
            step = longest_is(basis @ (basis.mT @ gradient), caps)
            moved = moved + TRAVEL["pgd"] / self.iterations * step
            length = moved.norm(dim=2, keepdim=True).amax(dim=1, keepdim=True)
            moved = longest_is(moved, torch.minimum(length, caps))
        return AttackResult(clean.replace(clean.points + moved))


@dataclass(frozen=True)
class FewPoints:
    """Puts a random few points of each cloud somewhere in its box, then moves them on.

    Attributes:
        share: of the points; of too small a cloud none moves.
        iterations: gradient steps of those points.
    """

    share: float
    iterations: int = 3

    objective: ClassVar[str] = "aligned"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")

    @property
    def budget(self) -> Budget:
        """The share."""
        return Budget(self.share, "sparse")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        b, n, _ = clean.points.shape
        allowed = self.budget.radius(clean.mask)[:, None, None]
        draws = torch.rand((b, n, 4), generator=generator, device=clean.points.device)
        draws = draws.to(clean.points)
        chosen = draws[..., 3:].argsort(dim=1).argsort(dim=1) < allowed
        low, high = box(clean)
        points = torch.where(chosen, low + (high - low) * draws[..., :3], clean.points)
        stride = STRIDE * (high - low).amax(dim=2, keepdim=True)
        for _ in range(self.iterations):
            pose = clean.replace(points)
            _, gradient = pose_gradient(victim, batch, pose, objective=aligned, generator=generator)
            unit = gradient / gradient.norm(dim=2, keepdim=True).clamp_min(1e-30)
            points = torch.where(chosen, (points + stride * unit).clamp(low, high), clean.points)
        return AttackResult(clean.replace(points))
