"""C&W: the smallest perturbation that succeeds (Carlini & Wagner, arXiv 1608.04644).

    minimise  D(delta) + c * f(x + delta),     D = mean squared displacement per coordinate

by Adam, with c per sample found by binary search: ten times larger until the attack succeeds, then
between the last failure and the last success. Success is PMD > tau; the smallest successful delta
is kept. The term f is

* "hinge": max(0, log((1 + margin) tau / PMD)), zero once the attack has succeeded;
* "pt": tau / (PMD + floor), the paper's loss, scaled to be near 1 at success. It never stops
  rewarding a larger PMD, so only the search over c makes delta small.

The released code compares the best *distance* with 0.5 where it means success, so its search moves
one way only and its success count stays 0; the paper's C&W numbers cannot come from it.

As an attack with a budget, what was found is projected onto the ball: where the smallest
perturbation is larger than the budget allows, the sample counts as not broken by C&W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, draws_of, frozen, random_direction
from posebench.attacks.projection import project, steepest
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import FLOOR, pmd
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Bool, Float

Term = Literal["hinge", "pt"]

REFERENCE = 0.01
"""Metres: D counts in units of this squared, so that c = 1 is a sensible first try."""

MARGIN = 0.01
"""The hinge asks for this much more than tau, so that rounding does not undo success."""


@dataclass(frozen=True)
class CW:
    """Minimum-norm attack in the L2 norm.

    Attributes:
        budget: what the result is projected onto; the search itself is free.
        tau: success threshold on PMD, square metres.
        searches: values of c tried per sample.
        iterations: Adam steps for each.
        rate: Adam's step, in metres per coordinate.
        term: "hinge" or "pt".
    """

    budget: Budget
    tau: float = 1e-3
    searches: int = 6
    iterations: int = 40
    rate: float = 0.002
    term: Term = "hinge"

    def __post_init__(self) -> None:
        check_counts(self, "searches", "iterations")
        for name in ("tau", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a positive number, got {getattr(self, name)}")
        if self.term not in get_args(Term):
            raise unknown("C&W term", self.term, get_args(Term))

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        found, _, _ = self.smallest(victim, batch, generator=generator)
        return AttackResult(project(found, batch.pose, self.budget))

    def smallest(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> tuple[Clouds, Float[Tensor, "b"], Float[Tensor, "b"]]:
        """The smallest successful poses found, their PMD, and their RMS displacement in metres.

        Where no search succeeded: the last pose tried, its PMD, and infinity. Of a victim behind
        ``EOT``, PMD is the mean over its draws, in the term f as in what counts as success.
        """
        clean = batch.pose.detach()
        seed = 0 if generator is None else generator.initial_seed()
        draws = random_direction(clean, batch.sample_ids, generator_for(seed, "cw"))
        entries = 3 * clean.counts
        low = clean.points.new_zeros(len(batch))
        high = torch.full_like(low, math.inf)
        weight = torch.ones_like(low)
        best_rms, best_values = torch.full_like(low, math.inf), torch.full_like(low, math.nan)
        best = clean
        for _ in range(self.searches):
            # Not exactly zero, where a perfect fit has no gradient.
            delta = steepest(draws, Budget(1e-6), clean.mask).to(clean.points).requires_grad_(True)
            adam = torch.optim.Adam([delta], lr=self.rate)
            succeeded: Bool[Tensor, "b"] = torch.zeros_like(low, dtype=torch.bool)
            for _ in range(self.iterations):
                with frozen(victim), torch.enable_grad():
                    pose = clean.replace(clean.points + delta * clean.mask[..., None])
                    values = self._pmd(victim, batch, pose, generator)
                    squared = delta.square().sum(dim=(1, 2)) / entries
                    loss = squared / REFERENCE**2 + weight * self._term(values)
                    (delta.grad,) = torch.autograd.grad(loss.sum(), delta)
                rms, hit = squared.detach().sqrt(), values.detach() > self.tau
                succeeded |= hit
                smaller = hit & (rms < best_rms)
                nothing = torch.isinf(best_rms) & ~hit
                take = (smaller | nothing)[:, None, None]
                best = best.replace(torch.where(take, pose.points.detach(), best.points))
                best_values = torch.where(smaller | nothing, values.detach(), best_values)
                best_rms = torch.where(smaller, rms, best_rms)
                adam.step()
            high = torch.where(succeeded, weight, high)
            low = torch.where(succeeded, low, weight)
            between = torch.where(low > 0, (low * high).sqrt(), high / 10)
            weight = torch.where(torch.isinf(high), weight * 10, between)
        return best, best_values, best_rms

    def _pmd(
        self, victim: Victim, batch: Batch, pose: Clouds, generator: Generator | None
    ) -> Float[Tensor, "b"]:
        draws = [
            pmd(victim(pose, batch.identity, generator=generator), batch.target)
            for _ in range(draws_of(victim))
        ]
        return torch.stack(draws).mean(dim=0)

    def _term(self, values: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        if self.term == "pt":
            return self.tau / (values + FLOOR)
        return torch.log((1 + MARGIN) * self.tau / (values + FLOOR)).clamp_min(0)
