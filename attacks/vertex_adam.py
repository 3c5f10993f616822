"""Projected ascent with Adam's step, whose second moment a vertex's three coordinates share.

    m_k = b1 m_k-1 + (1 - b1) g_k,   s_k = b2 s_k-1 + (1 - b2) |g_k|^2 of each vertex
    x_k+1 = project(x_k + R c_k m^_k / sqrt(s^_k))

with Adam's bias corrections (Kingma & Ba, arXiv 1412.6980), R the radius a vertex, and c_k falling
as half a cosine from ``step`` to 0. Sharing the moment makes the step turn with the body (our
choice). Under a cap a vertex it finds more than unit steps do: vertices whose gradient is small or
keeps turning, as of networks that pool the pose, move little instead of swinging from edge to edge
(docs/attacks.md has the study). Of ``smooth`` budgets the gradient is that of the field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_objective, pose_gradient, pose_values
from posebench.attacks.projection import project, smooth_basis
from posebench.attacks.restarts import Restarts, better
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.shapes import Float

MOMENTS = 0.8, 0.99
"""Adam's b1 and b2 (our choice: less inertia than the usual 0.9, for few steps)."""


@dataclass(frozen=True)
class VertexAdam:
    """Projected Adam with one second moment a vertex.

    Attributes:
        budget: how far the pose may move.
        iterations: gradient steps per restart.
        restarts: independent runs, the second and later ones from random points of the budget.
        step: first step, in radii; steps fall to zero.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 100
    restarts: int = 1
    step: float = 0.3
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations", "restarts")
        check_objective(self)
        if self.budget.is_share:
            raise InputError(f"norm {self.budget.norm!r}: use attack {self.budget.norm!r}")
        if not (math.isfinite(self.step) and self.step > 0):
            raise InputError(f"step must be a positive number, got {self.step}")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        return Restarts(self, self.restarts)(victim, batch, generator=generator)

    def climb(
        self, victim: Victim, batch: Batch, start: Clouds, generator: Generator | None
    ) -> tuple[Clouds, Float[Tensor, "b"]]:
        """One run: the best point visited and the objective there."""
        clean, objective = batch.pose.detach(), OBJECTIVES[self.objective]
        radius = vertex_radius(clean, self.budget)
        basis = smooth_basis(clean).to(clean.points) if self.budget.norm == "smooth" else None
        pose = best = start
        best_values = clean.points.new_full((len(batch),), -math.inf)
        first = torch.zeros_like(clean.points)
        second = torch.zeros_like(clean.points[..., :1])
        for k in range(self.iterations):
            values, gradient = pose_gradient(
                victim, batch, pose, objective=objective, generator=generator
            )
            best, best_values = better(best, best_values, pose, values)
            if basis is not None:
                gradient = basis @ (basis.mT @ gradient)
            # Adam does not see the scale; this one keeps squares out of underflow.
            length = gradient.norm(dim=2).amax(dim=1)[:, None, None]
            gradient = gradient / length.clamp_min(1e-30)
            first = first.lerp(gradient, 1 - MOMENTS[0])
            second = second.lerp(gradient.square().sum(dim=2, keepdim=True), 1 - MOMENTS[1])
            mean = first / (1 - MOMENTS[0] ** (k + 1))
            size = (second / (1 - MOMENTS[1] ** (k + 1))).sqrt() + 1e-8
            falling = self.step * 0.5 * (1 + math.cos(math.pi * k / self.iterations))
            pose = pose.replace(pose.points + radius * falling * mean / size)
            pose = project(pose, clean, self.budget)
        values = pose_values(victim, batch, pose, objective=objective, generator=generator)
        return better(best, best_values, pose, values)


def vertex_radius(clean: Clouds, budget: Budget) -> Float[Tensor, "b 1 1"]:
    """How far a vertex moves where all move equally far to the budget's edge, metres."""
    radius = budget.radius(clean.mask)
    if budget.norm == "l2":
        radius = radius / clean.counts.sqrt()
    return radius.to(clean.points.dtype)[:, None, None]
