"""Random starts, and restarts of any ascent.

An ascent climbs from a point of the ball to the best point that it visits. Where it ends depends on
where it starts, so it may run several times; each sample keeps the best end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_shares, random_direction
from posebench.attacks.projection import box, project, smooth_basis, steepest
from posebench.cloud import Clouds
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.rng import generator_for
from posebench.shapes import Float, Int


@runtime_checkable
class Ascent(Protocol):
    """What can be restarted: PGD with its relatives, APGD, or one of your own."""

    @property
    def budget(self) -> Budget: ...

    def climb(
        self, victim: Victim, batch: Batch, start: Clouds, generator: Generator | None
    ) -> tuple[Clouds, Float[Tensor, "b"]]:
        """The best clouds visited from ``start`` on, which lies in the ball around the batch's
        poses, and the objective there."""
        ...


@dataclass(frozen=True)
class Restarts:
    """An ascent from several starts, for each sample the best end.

    Attributes:
        ascent: what is run; only its ``climb`` is used.
        count: runs.
        first: how far from the clean pose the first run starts, in radii; 0 is the clean pose.
        later: the same of all other runs.
    """

    ascent: Ascent
    count: int = 5
    first: float = 0.0
    later: float = 1.0

    def __post_init__(self) -> None:
        check_counts(self, "count")
        check_shares(self, "first", "later")

    @property
    def budget(self) -> Budget:
        return self.ascent.budget

    @property
    def objective(self) -> str:
        """The ascent's, where it has one."""
        return str(getattr(self.ascent, "objective", "pmd"))

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        clean = batch.pose.detach()
        best, best_values = clean, clean.points.new_full((len(batch),), -math.inf)
        seed = 0 if generator is None else generator.initial_seed()
        for number in range(self.count):
            own = generator_for(seed, "restart", number)
            length = self.later if number else self.first
            start = random_start(clean, self.budget, batch.sample_ids, own, length=length)
            pose, values = self.ascent.climb(victim, batch, start, generator)
            best, best_values = better(best, best_values, pose, values)
        return AttackResult(best)


def random_start(
    clean: Clouds,
    budget: Budget,
    sample_ids: Int[Tensor, "b"],
    generator: Generator | None,
    *,
    length: float = 1.0,
) -> Clouds:
    """The clouds moved ``length`` radii in Gaussian directions, each sample's its own.

    Of ``sparse``, random points to Gaussian places in the box; of ``smooth``, a random field.
    Nothing here waits for the device, unless there is padding.
    """
    if length == 0:
        return clean
    draws = random_direction(clean, sample_ids, generator)
    if budget.norm == "sparse":
        seed = 0 if generator is None else generator.initial_seed()
        places = random_direction(clean, sample_ids, generator_for(seed, "places"))
        return project(scattered(clean, draws, places, budget), clean, budget)
    if budget.norm == "smooth":
        basis = smooth_basis(clean).to(draws)
        field = basis @ draws[:, : basis.shape[2]]
        longest = field.norm(dim=2).amax(dim=1)[:, None, None].clamp_min(1e-30)
        step = field * (length * budget.eps / longest)
        return project(clean.replace(clean.points + step), clean, budget)
    step = steepest(draws, budget, clean.mask) * length
    return project(clean.replace(clean.points + step), clean, budget)


def scattered(
    clean: Clouds, draws: Float[Tensor, "b n 3"], places: Float[Tensor, "b n 3"], budget: Budget
) -> Clouds:
    """As many points as the budget allows, those with the largest first draws, put to Gaussian
    ``places`` in the cloud's box (half of its sides is two standard deviations)."""
    low, high = box(clean)
    first = draws[..., 0].masked_fill(~clean.mask, -math.inf)
    rank = first.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = (rank < budget.radius(clean.mask)[:, None]) & clean.mask
    put = (low + high) / 2 + (high - low) / 4 * places
    return clean.replace(torch.where(chosen[..., None], put, clean.points))


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
