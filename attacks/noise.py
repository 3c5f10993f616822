"""Gaussian noise scaled to the budget's edge: the baseline that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from posebench.attacks.gradient import project, random_direction, steepest
from posebench.interfaces import AttackResult, Batch, Budget, Victim


@dataclass(frozen=True)
class Noise:
    """Isotropic Gaussian directions, one draw per sample; never looks at the victim.

    For linf the noise is a random sign per coordinate, for l2_vertex a random direction per
    vertex: always as much as the budget allows.
    """

    budget: Budget

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        pose = batch.pose
        draws = random_direction(pose, batch.sample_ids, generator)
        step = steepest(draws, self.budget, pose.mask)
        nan = pose.points.new_full((len(batch),), float("nan"))
        noisy = pose.replace(pose.points + step)
        return AttackResult(project(noisy, pose, self.budget), nan, 0, 0)
