"""Iterated gradient attacks on one skeleton: start, gradient, step, project, keep the best.

    x_0     = clean, or a random point of the ball
    v_k+1   = momentum * v_k + g_k / mean|g_k|          g_k = gradient of the objective at x_k
    x_k+1   = project(x_k + step * radius * steepest direction of v_k+1)

Everything is centred on the clean cloud: the projection is onto the ball around it, never around
an earlier iterate (the released PGD drifted out of its ball that way). Each sample keeps the best
point it has visited, so more iterations never make an attack weaker by the attack's own measure.

* I-FGM (Kurakin et al., arXiv 1607.02533): no random start, steps of radius / iterations.
* MI-FGM (Dong et al., arXiv 1710.06081): I-FGM with momentum 1.
* PGD (Madry et al., arXiv 1706.06083): steps of 2.5 radius / iterations, random start, restarts.

Cost: per restart ``iterations`` forwards and backwards and one forward to see the last point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import (
    check_counts,
    check_objective,
    check_shares,
    pose_gradient,
    pose_values,
)
from posebench.attacks.projection import project, steepest
from posebench.attacks.restarts import Restarts, better
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.shapes import Float


@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent.

    Attributes:
        budget: how far the pose may move.
        iterations: gradient steps per restart.
        travel: sum of all step lengths, in radii.
        start: length of the random start, in radii; the first run starts at the clean pose if 0.
        restarts: independent runs; the best point of all is kept.
        momentum: share of the last direction that is carried on.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 20
    travel: float = 2.5
    start: float = 0.1
    restarts: int = 1
    momentum: float = 0.0
    objective: str = "mse"

    def __post_init__(self) -> None:
        check_counts(self, "iterations", "restarts")
        check_shares(self, "start")
        check_objective(self)
        for name in ("travel", "momentum"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a number >= 0, got {getattr(self, name)}")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        runs = Restarts(self, self.restarts, first=self.start, later=self.start)
        return runs(victim, batch, generator=generator)

    def climb(
        self, victim: Victim, batch: Batch, start: Clouds, generator: Generator | None
    ) -> tuple[Clouds, Float[Tensor, "b"]]:
        """One run: the best point visited and the objective there."""
        clean = batch.pose.detach()
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        pose = best = start
        best_values = clean.points.new_full((len(batch),), -math.inf)
        velocity = torch.zeros_like(clean.points)
        for _ in range(self.iterations):
            values, gradient = pose_gradient(victim, batch, pose, **asked)
            best, best_values = better(best, best_values, pose, values)
            size = gradient.abs().mean(dim=(1, 2), keepdim=True)
            tiny = torch.finfo(gradient.dtype).tiny
            velocity = self.momentum * velocity + gradient / size.clamp_min(tiny)
            step = steepest(velocity, self.budget, clean.mask) * self.travel / self.iterations
            pose = project(pose.replace(pose.points + step), clean, self.budget)
        values = pose_values(victim, batch, pose, **asked)
        return better(best, best_values, pose, values)


@dataclass(frozen=True)
class IFGM(PGD):
    """I-FGM: no random start, steps that add up to the radius."""

    travel: float = 1.0
    start: float = 0.0


@dataclass(frozen=True)
class MIFGM(IFGM):
    """MI-FGM: I-FGM with momentum 1."""

    momentum: float = 1.0
