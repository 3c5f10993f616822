"""Random perturbations at the budget's edge: the baseline that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from posebench.attacks.gradient import random_direction
from posebench.attacks.point_counts import added, random_points, without_highest
from posebench.attacks.restarts import random_start
from posebench.interfaces import AttackResult, Batch, Budget, Victim


@dataclass(frozen=True)
class Noise:
    """Isotropic Gaussian directions, one draw per sample; never looks at the victim.

    For linf the noise is a random sign per coordinate, for l2_vertex a random direction per
    vertex, for drop and add random points: always as much as the budget allows.
    """

    budget: Budget

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        pose = batch.pose
        if self.budget.norm == "add":
            new = random_points(pose, self.budget, batch.sample_ids, generator)
            return AttackResult(added(pose, new, self.budget))
        if self.budget.norm == "drop":
            draws = random_direction(pose, batch.sample_ids, generator)
            count = self.budget.radius(pose.mask)
            return AttackResult(without_highest(pose, draws[..., 0], count))
        return AttackResult(random_start(pose, self.budget, batch.sample_ids, generator))
