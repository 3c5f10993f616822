"""Random perturbations at the budget's edge: the baseline that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from posebench.attacks.gradient import project, random_direction, steepest
from posebench.attacks.point_counts import added, random_points, without_highest
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
        nan = pose.points.new_full((len(batch),), float("nan"))
        if self.budget.norm == "add":
            new = random_points(pose, self.budget, batch.sample_ids, generator)
            return AttackResult(added(pose, new, self.budget), nan, 0, 0)
        draws = random_direction(pose, batch.sample_ids, generator)
        if self.budget.norm == "drop":
            count = self.budget.radius(pose.mask)
            return AttackResult(without_highest(pose, draws[..., 0], count), nan, 0, 0)
        step = steepest(draws, self.budget, pose.mask)
        noisy = pose.replace(pose.points + step)
        return AttackResult(project(noisy, pose, self.budget), nan, 0, 0)
