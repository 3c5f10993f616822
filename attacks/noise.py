"""Gaussian noise scaled to the budget's edge: the baseline that every attack must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from posebench.attacks.gradient import project, steepest
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.rng import sample_generators


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
        # One draw per real point: the length of the padding must not shift a sample's noise.
        draws = torch.zeros_like(pose.points)
        draws[pose.mask] = torch.cat(
            [
                torch.randn(count, 3, generator=g)
                for count, g in zip(
                    pose.counts.tolist(),
                    sample_generators(generator, batch.sample_ids),
                    strict=True,
                )
            ]
        ).to(draws)
        step = steepest(draws, self.budget, pose.mask)
        nan = pose.points.new_full((len(batch),), float("nan"))
        noisy = pose.replace(pose.points + step)
        return AttackResult(project(noisy, pose, self.budget), nan, 0, 0)
