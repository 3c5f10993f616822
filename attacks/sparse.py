"""Few points, anywhere: gross errors of single points in the body's bounding box.

Which points is as much a question as where to. The attack begins with the best of ``looks`` random
choices of points and places, then climbs: each step moves the chosen points along their gradients,
a share of the box's longest side that falls to zero, and every ``SWAP`` steps the chosen point
whose gradient is smallest goes home, and the free point with the largest gradient leaves in its
place. With one point allowed it is the one-point attack (arXiv 2110.04158) with gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_objective, pose_gradient, pose_values
from posebench.attacks.projection import box, project
from posebench.attacks.restarts import better, random_start
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for
from posebench.shapes import Float

STRIDE = 0.1
"""First step of a chosen point, as a share of the box's longest side (our choice)."""

SWAP = 4
"""Steps between two exchanges of a point (our choice)."""


@dataclass(frozen=True)
class Sparse:
    """Moves few points anywhere in the cloud's box.

    Attributes:
        budget: of norm "sparse": eps is the share of points that may move.
        iterations: gradient steps per restart.
        restarts: independent runs.
        looks: random choices that a run begins with the best of; forwards.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 60
    restarts: int = 2
    looks: int = 20
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations", "restarts", "looks")
        check_objective(self)
        if self.budget.norm != "sparse":
            raise InputError(f"attack 'sparse' needs norm 'sparse', got {self.budget.norm!r}")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        seed = 0 if generator is None else generator.initial_seed()
        best, values = clean, clean.points.new_full((len(batch),), -math.inf)
        for number in range(self.restarts):
            # Not by ``Restarts``, whose runs share a generator: they would look at the same places.
            own = generator_for(seed, "sparse", number)
            start = random_start(clean, self.budget, batch.sample_ids, own)
            best, values = better(best, values, *self.climb(victim, batch, start, own))
        return AttackResult(best)

    def climb(
        self, victim: Victim, batch: Batch, start: Clouds, generator: Generator | None
    ) -> tuple[Clouds, Float[Tensor, "b"]]:
        """One run: the best point visited and the objective there."""
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        clean = batch.pose.detach()
        pose = start
        best_values = pose_values(victim, batch, pose, **asked)
        seed = 0 if generator is None else generator.initial_seed()
        for look in range(1, self.looks):
            own = generator_for(seed, "look", look)
            other = random_start(clean, self.budget, batch.sample_ids, own)
            pose, best_values = better(
                pose, best_values, other, pose_values(victim, batch, other, **asked)
            )
        best = pose
        low, high = box(clean)
        longest = (high - low).amax(dim=2, keepdim=True)
        for k in range(self.iterations):
            values, gradient = pose_gradient(victim, batch, pose, **asked)
            best, best_values = better(best, best_values, pose, values)
            length = gradient.norm(dim=2)
            moved = (pose.points != clean.points).any(dim=2)
            if k % SWAP == SWAP - 1:
                moved = exchanged(moved, length, clean.mask)
            unit = gradient / length.clamp_min(1e-30)[..., None]
            step = longest * STRIDE * 0.5 * (1 + math.cos(math.pi * k / self.iterations)) * unit
            aimed = torch.where(moved[..., None], pose.points + step, clean.points)
            pose = project(pose.replace(aimed), clean, self.budget)
        values = pose_values(victim, batch, pose, **asked)
        return better(best, best_values, pose, values)


def exchanged(moved: Tensor, gradient: Float[Tensor, "b n"], real: Tensor) -> Tensor:
    """The chosen points (B, N) with the least useful exchanged for the best that is free."""
    rows = torch.arange(len(moved), device=moved.device)
    leaves = gradient.masked_fill(~moved, math.inf).argmin(dim=1)
    joins = gradient.masked_fill(moved | ~real, -math.inf).argmax(dim=1)
    worth = gradient[rows, joins] > gradient[rows, leaves]
    worth &= moved.any(dim=1)
    changed = moved.clone()
    changed[rows, leaves] &= ~worth
    changed[rows, joins] |= worth
    return changed
