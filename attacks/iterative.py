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
    pose_gradient,
    pose_values,
    project,
    random_direction,
    steepest,
)
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for


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
        for name, most in (("travel", math.inf), ("start", 1.0), ("momentum", math.inf)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} must be in 0..{most:g}, got {getattr(self, name)}")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        best = clean
        best_values = clean.points.new_full((len(batch),), -math.inf)
        seed = 0 if generator is None else generator.initial_seed()
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        for restart in range(self.restarts):
            pose = self._start(batch, generator_for(seed, "restart", restart))
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
            best, best_values = better(best, best_values, pose, values)
        runs = self.restarts
        return AttackResult(best, best_values, runs * (self.iterations + 1), runs * self.iterations)

    def _start(self, batch: Batch, generator: Generator) -> Clouds:
        clean = batch.pose.detach()
        if self.start == 0:
            return clean
        draws = random_direction(clean, batch.sample_ids, generator)
        step = steepest(draws, self.budget, clean.mask) * self.start
        return project(clean.replace(clean.points + step), clean, self.budget)


def better(
    best: Clouds, best_values: Tensor, pose: Clouds, values: Tensor
) -> tuple[Clouds, Tensor]:
    """Per sample the cloud with the higher value; where that is NaN, the new one, to be seen."""
    improved = ~(values <= best_values)
    chosen = torch.where(improved, values, best_values)
    if pose.mask is best.mask:
        points = torch.where(improved[:, None, None], pose.points, best.points)
        return best.replace(points), chosen
    size = max(pose.points.shape[1], best.points.shape[1])
    old, new = best.widened(size), pose.widened(size)
    points = torch.where(improved[:, None, None], new.points, old.points)
    return Clouds(points, torch.where(improved[:, None], new.mask, old.mask)), chosen


@dataclass(frozen=True)
class IFGM(PGD):
    """I-FGM: no random start, steps that add up to the radius."""

    travel: float = 1.0
    start: float = 0.0


@dataclass(frozen=True)
class MIFGM(IFGM):
    """MI-FGM: I-FGM with momentum 1."""

    momentum: float = 1.0
