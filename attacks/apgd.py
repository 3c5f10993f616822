"""APGD: gradient ascent whose steps halve when progress stalls (Croce & Hein, arXiv 2003.01690).

    z_k+1 = project(x_k + eta * steepest direction at x_k)
    x_k+1 = project(x_k + 0.75 (z_k+1 - x_k) + 0.25 (x_k - x_k-1))

eta starts at twice the radius. At checkpoints (after 22 % of the iterations, then ever closer) a
sample's eta is halved, and the sample goes back to its best point, if fewer than 75 % of the steps
since the last checkpoint climbed, or if neither eta nor the best value changed over two of them.

The objective is PMD itself by default, so what the attack keeps is what the table counts. The
first run starts at the clean pose: its first point is FGM's, and the attack never ends below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_objective, pose_values
from posebench.attacks.restarts import Restarts, better
from posebench.attacks.space import Ball, Cube, Space, climbed_at
from posebench.cloud import Clouds
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.shapes import Float

CLIMBING = 0.75
"""Share of climbing steps between two checkpoints below which the step is halved."""

CARRIED = 0.75
"""Weight of the new step against the last one's momentum."""


@dataclass(frozen=True)
class APGD:
    """Auto-PGD; nothing to tune but the effort.

    Attributes:
        budget: how far the pose may move.
        iterations: gradient steps per restart.
        restarts: independent runs, the second and later ones from random points of the ball.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 100
    restarts: int = 1
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations", "restarts")
        check_objective(self)

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        return Restarts(self, self.restarts)(victim, batch, generator=generator)

    def first_step(self) -> float:
        """In radii."""
        return 2.0

    def space(self, clean: Clouds) -> Space:
        """Where its iterates live."""
        return Ball(clean, self.budget)

    def climb(
        self, victim: Victim, batch: Batch, start: Clouds, generator: Generator | None
    ) -> tuple[Clouds, Float[Tensor, "b"]]:
        """One run: the best point visited and the objective there."""
        space = self.space(batch.pose.detach())
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        at = last = best = start
        values, gradient = climbed_at(victim, batch, space, at, **asked)
        best_values, best_gradient = values, gradient
        eta = torch.full_like(values, self.first_step())
        climbed = torch.zeros_like(values)
        kept_eta, kept_best = eta, best_values
        ahead, since = checkpoints(self.iterations), 0
        for iteration in range(1, self.iterations + 1):
            step = space.steepest(gradient) * eta[:, None, None]
            aimed = space.nearest(at.replace(at.points + step))
            if iteration > 1:
                blend = CARRIED * (aimed.points - at.points)
                blend = blend + (1 - CARRIED) * (at.points - last.points)
                aimed = space.nearest(at.replace(at.points + blend))
            last, at, before = at, aimed, values
            if iteration == self.iterations:
                break
            values, gradient = climbed_at(victim, batch, space, at, **asked)
            improved = ~(values <= best_values)
            best_gradient = torch.where(improved[:, None, None], gradient, best_gradient)
            best, best_values = better(best, best_values, at, values)
            climbed, since = climbed + (values > before), since + 1
            if iteration not in ahead:
                continue
            stalled = climbed < CLIMBING * since
            stalled |= (eta == kept_eta) & (best_values <= kept_best)
            kept_eta, kept_best = eta, best_values
            climbed, since = torch.zeros_like(values), 0
            eta = torch.where(stalled, eta / 2, eta)
            back = stalled[:, None, None]
            at = at.replace(torch.where(back, best.points, at.points))
            last = last.replace(torch.where(back, best.points, last.points))
            gradient = torch.where(back, best_gradient, gradient)
            values = torch.where(stalled, best_values, values)
        values = pose_values(victim, batch, space.pose(at), **asked)
        best, best_values = better(best, best_values, at, values)
        return space.pose(best), best_values


class CubeAPGD(APGD):
    """Auto-PGD by signs in the cubes around a cap a vertex; in other balls the same as APGD."""

    def space(self, clean: Clouds) -> Space:
        in_cubes = self.budget.norm == "l2_vertex"
        return Cube(clean, self.budget) if in_cubes else Ball(clean, self.budget)


def checkpoints(iterations: int) -> frozenset[int]:
    """Iterations at which steps may halve: gaps of 22 % of all, shrinking by 3 % down to 6 %."""
    found, gap, at = [], 0.22, 0.22
    while at < 1:
        found.append(math.ceil(round(at * iterations, 6)))
        gap = max(gap - 0.03, 0.06)
        at += gap
    return frozenset(found)
