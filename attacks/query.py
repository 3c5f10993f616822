"""Query attacks: they see the victim's error, never a gradient. What they find that gradient
attacks miss is a sign of masked gradients.

* ``search``, random search in the manner of Square Attack (Andriushchenko et al., arXiv 1912.00049)
  carried over to vertices (our choice): a ball of neighbouring vertices is pushed in one random
  direction, the sum is projected, and kept per sample if the objective grew. The share of vertices
  pushed falls from 1/2 to 1/50 as the queries go.
* ``nes`` (Ilyas et al., arXiv 1804.08598): the gradient of the objective smoothed by Gaussian
  noise, from antithetic pairs, then a steepest step as in PGD; the best visited point is kept.

Cost: at most ``iterations`` forwards, no backwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_objective, pose_values, random_direction
from posebench.attacks.projection import project, steepest
from posebench.attacks.restarts import better
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float

Method = Literal["search", "nes"]
Value = Callable[[Clouds], Tensor]

PAIRS = 10
"""Antithetic pairs behind one NES step."""

SMOOTHING = 0.02
"""Length of a NES probe, in radii."""


@dataclass(frozen=True)
class Query:
    """Black-box attack.

    Attributes:
        budget: how far the pose may move.
        iterations: forwards per sample, at most.
        method: "search" or "nes".
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 200
    method: Method = "search"
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")
        check_objective(self)
        if self.method not in get_args(Method):
            raise unknown("query method", self.method, get_args(Method))
        if self.method == "nes" and self.iterations < 2 * PAIRS + 2:
            raise InputError(
                f"one step of nes takes {2 * PAIRS + 2} iterations, got {self.iterations}"
            )

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        def value(pose: Clouds) -> Tensor:
            objective = OBJECTIVES[self.objective]
            return pose_values(victim, batch, pose, objective=objective, generator=generator)

        seed = 0 if generator is None else generator.initial_seed()
        climb = self._search if self.method == "search" else self._nes
        best, _ = climb(value, batch, seed)
        return AttackResult(best)

    def _push(self, batch: Batch, share: float, seed: int, query: int) -> Float[Tensor, "b n 3"]:
        """A radius-long push of the vertices nearest to a random one, all in one direction."""
        clean = batch.pose.detach()
        draws = random_direction(clean, batch.sample_ids, generator_for(seed, "query", query))
        # Padding is masked, so the first vertex of a random ranking is a real one.
        ranking = draws[..., 0].masked_fill(~clean.mask, -math.inf)
        centre = clean.points.gather(1, ranking.argmax(dim=1)[:, None, None].expand(-1, 1, 3))
        distance = (clean.points - centre).norm(dim=2).masked_fill(~clean.mask, math.inf)
        count = (share * clean.counts).ceil().long().clamp_min(1)
        limit = distance.sort(dim=1).values.gather(1, count[:, None] - 1)
        near = (distance <= limit)[..., None]
        direction = draws.sum(dim=1, keepdim=True)
        return steepest(direction * near, self.budget, clean.mask)

    def _search(self, value: Value, batch: Batch, seed: int) -> tuple[Clouds, Tensor]:
        clean = batch.pose.detach()
        best, values = clean, value(clean)
        for query in range(1, self.iterations):
            done = query / self.iterations
            push = self._push(batch, 0.5 * (0.02 / 0.5) ** done, seed, query)
            pose = project(best.replace(best.points + push), clean, self.budget)
            best, values = better(best, values, pose, value(pose))
        return best, values

    def _nes(self, value: Value, batch: Batch, seed: int) -> tuple[Clouds, Tensor]:
        clean = batch.pose.detach()
        best, values = clean, value(clean)
        steps = (self.iterations - 1) // (2 * PAIRS + 1)
        pose = clean
        for number in range(steps):
            estimate = torch.zeros_like(clean.points)
            for pair in range(PAIRS):
                draws = random_direction(
                    clean, batch.sample_ids, generator_for(seed, "nes", number, pair)
                )
                probe = SMOOTHING * steepest(draws, self.budget, clean.mask)
                up, down = (value(pose.replace(pose.points + s * probe)) for s in (1, -1))
                estimate += (up - down)[:, None, None] * draws
            step = steepest(estimate, self.budget, clean.mask) * 2.5 / steps
            pose = project(pose.replace(pose.points + step), clean, self.budget)
            best, values = better(best, values, pose, value(pose))
        return best, values
