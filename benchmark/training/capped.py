"""Attacks of training against a cap a vertex: few steps, another cap for each row.

The attacks that measure (``posebench.attacks``) give every row the same budget, keep the best point
visited and draw on the CPU. In training each row gets its own cap, so that one network learns all
of them; the last point counts, which saves a forward; and draws are made where the network is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, pose_gradient
from posebench.attacks.vertex_adam import MOMENTS
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import aligned
from posebench.shapes import Float

Rule = Literal["vertex-adam", "pgd", "n-fgm"]

TRAVEL = {"vertex-adam": 2.5, "pgd": 2.5, "n-fgm": 1.0}
"""Sum of all step lengths in radii (our choice): from a random start the farthest point of a ball
is two radii away, and 2.5 is what our PGD travels, too."""

NOISE = 2.0
"""Radii of n-fgm's noise, as de Jorge et al. found best."""


@dataclass(frozen=True)
class Capped:
    """Ascends the error after the best translation under a cap a vertex drawn for each row.

    Attributes:
        cap: largest cap, metres.
        low: smallest cap; rows draw theirs evenly from ``low`` to ``cap``.
        iterations: gradient steps; n-fgm takes one.
        start: random start in radii: even in the ball of so many around each vertex.
        rule: "pgd" (unit steps) or "vertex-adam"; "n-fgm" adds noise of ``NOISE`` radii, steps one
            radius and does not project (arXiv 2202.01181), so that points may move further.
    """

    cap: float
    low: float
    iterations: int = 3
    start: float = 1.0
    rule: Rule = "pgd"

    objective: ClassVar[str] = "aligned"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")
        if not 0 <= self.low <= self.cap:
            raise InputError(f"eps_low must be in 0..{self.cap:g}, got {self.low}")

    @property
    def budget(self) -> Budget:
        """What no point leaves."""
        factor = NOISE + 1 if self.rule == "n-fgm" else 1.0
        return Budget(self.cap * factor, "l2_vertex")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean, free = batch.pose.detach(), self.rule == "n-fgm"
        caps, moved = self.drawn(clean.points, NOISE if free else self.start, generator)
        first = torch.zeros_like(moved)
        second = torch.zeros_like(moved[..., :1])
        length = TRAVEL[self.rule] / self.iterations
        for k in range(self.iterations):
            pose = clean.replace(clean.points + moved)
            _, gradient = pose_gradient(victim, batch, pose, objective=aligned, generator=generator)
            # Steps do not see the scale; this one keeps squares out of underflow.
            gradient = gradient / gradient.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
            square = gradient.square().sum(dim=2, keepdim=True)
            if self.rule == "vertex-adam":
                first = first.lerp(gradient, 1 - MOMENTS[0])
                second = second.lerp(square, 1 - MOMENTS[1])
                gradient = first / (1 - MOMENTS[0] ** (k + 1))
                square = second / (1 - MOMENTS[1] ** (k + 1))
            moved = moved + caps * length * gradient / (square.sqrt() + 1e-8)
            moved = moved if free else inside(moved, caps)
        return AttackResult(clean.replace(clean.points + moved))

    def drawn(
        self, like: Float[Tensor, "b n 3"], start: float, generator: Generator | None
    ) -> tuple[Float[Tensor, "b 1 1"], Float[Tensor, "b n 3"]]:
        """A cap for each row and where its vertices start, drawn where the poses are."""
        b, n, _ = like.shape
        caps = torch.rand((b, 1, 1), generator=generator, device=like.device)
        caps = (self.low + (self.cap - self.low) * caps).to(like)
        if not start:
            return caps, torch.zeros_like(like)
        ways = torch.randn((b, n, 3), generator=generator, device=like.device)
        shares = torch.rand((b, n, 1), generator=generator, device=like.device) ** (1 / 3)
        ways = ways / ways.norm(dim=2, keepdim=True).clamp_min(1e-30)
        return caps, start * caps * (shares * ways).to(like)


def inside(moved: Float[Tensor, "b n 3"], caps: Float[Tensor, "b 1 1"]) -> Float[Tensor, "b n 3"]:
    """Displacements longer than their row's cap brought back to it."""
    length = moved.norm(dim=2, keepdim=True).clamp_min(1e-30)
    held: Tensor = moved * (caps / length).clamp_max(1)
    return held
