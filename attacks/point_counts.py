"""Attacks that drop points of the pose source, or add some; all others stay where they are.

* ``drop``: the points whose removal should raise the error most go first, a share of the budget
  per round. Removing a point is taken for moving it to the cloud's centre, so its saliency is
  -(g . (x - c)) |x - c|, g the gradient to it (Zheng et al., PointCloud Saliency Maps, arXiv
  1812.01687; there the centre is the median, here the mean).
* ``add``: random points of the cloud's bounding box, each then moved along its gradient inside it
  (in the manner of Xiang et al., arXiv 1809.07016, who start at salient points and bound the
  distance to the surface; where only number and box are bounded, points off the body hurt more).

A victim that pairs points by number, or cannot leave padding out, must stand behind
``EqualPoints``; the harness sees to that. The best visited cloud of each sample is kept.

Cost: ``iterations`` gradients and one forward more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from posebench.attacks.gradient import check_counts, check_objective, pose_gradient, pose_values
from posebench.attacks.projection import box
from posebench.attacks.restarts import better
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.norms import Norm
from posebench.objective import OBJECTIVES
from posebench.rng import sample_generators
from posebench.shapes import Float, Int

STRIDE = 0.05
"""Longest step of an added point, as a share of the bounding box's largest side; steps shrink."""


@dataclass(frozen=True)
class Drop:
    """Removes the most salient points.

    Attributes:
        budget: of norm "drop": eps is the share of points that may go.
        iterations: rounds; each looks at the gradient anew.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 20
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")
        check_objective(self)
        check_norm(self.budget, "drop")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        pose = best = batch.pose.detach()
        best_values = pose.points.new_full((len(batch),), -math.inf)
        allowed = self.budget.radius(pose.mask)
        gone = torch.zeros_like(allowed)
        for round_ in range(1, self.iterations + 1):
            values, gradient = pose_gradient(victim, batch, pose, **asked)
            best, best_values = better(best, best_values, pose, values)
            centre = pose.points.sum(dim=1, keepdim=True) / pose.counts[:, None, None]
            away = pose.points - centre
            saliency = -(gradient * away).sum(dim=2) * away.norm(dim=2)
            due = (allowed * round_ / self.iterations).round()
            pose, gone = without_highest(pose, saliency, due - gone), due
        values = pose_values(victim, batch, pose, **asked)
        best, _ = better(best, best_values, pose, values)
        return AttackResult(best)


@dataclass(frozen=True)
class Add:
    """Adds points where they hurt most.

    Attributes:
        budget: of norm "add": eps is the number of new points as a share of the old.
        iterations: gradient steps of the new points.
        objective: key of ``posebench.objective.OBJECTIVES``.
    """

    budget: Budget
    iterations: int = 20
    objective: str = "pmd"

    def __post_init__(self) -> None:
        check_counts(self, "iterations")
        check_objective(self)
        check_norm(self.budget, "add")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        clean = batch.pose.detach()
        new = random_points(clean, self.budget, batch.sample_ids, generator)
        best = added(clean, new, self.budget)
        best_values = clean.points.new_full((len(batch),), -math.inf)
        low, high = box(clean)
        longest = STRIDE * (high - low).amax(dim=2, keepdim=True)
        size = clean.points.shape[1]
        for number in range(self.iterations):
            pose = added(clean, new, self.budget)
            values, gradient = pose_gradient(victim, batch, pose, **asked)
            best, best_values = better(best, best_values, pose, values)
            part = gradient[:, size:]
            length = part.norm(dim=2, keepdim=True)
            unit = part / length.clamp_min(torch.finfo(part.dtype).tiny)
            new = (new + longest * (1 - number / self.iterations) * unit).clamp(low, high)
        pose = added(clean, new, self.budget)
        values = pose_values(victim, batch, pose, **asked)
        best, _ = better(best, best_values, pose, values)
        return AttackResult(best)


def check_norm(budget: Budget, norm: Norm) -> None:
    """Raise InputError for a budget of another norm."""
    if budget.norm != norm:
        raise InputError(f"attack {norm!r} needs a budget of norm {norm!r}, got {budget.norm!r}")


def without_highest(
    pose: Clouds, scores: Float[Tensor, "b n"], count: Float[Tensor, "b"]
) -> Clouds:
    """The clouds without the ``count`` real points of the highest scores."""
    order = scores.masked_fill(~pose.mask, -math.inf).argsort(dim=1, descending=True, stable=True)
    return pose.keep(order.argsort(dim=1) >= count[:, None])


def random_points(
    pose: Clouds, budget: Budget, sample_ids: Int[Tensor, "b"], generator: Generator | None
) -> Float[Tensor, "b k 3"]:
    """As many points as the budget lets any sample add, uniform in each cloud's bounding box."""
    count = int(budget.radius(pose.mask).max())
    draws = [torch.rand(count, 3, generator=g) for g in sample_generators(generator, sample_ids)]
    low, high = box(pose)
    return low + (high - low) * torch.stack(draws).to(pose.points)


def added(pose: Clouds, new: Float[Tensor, "b k 3"], budget: Budget) -> Clouds:
    """The clouds with the first of their new points, as many as each one's budget allows.

    The result has as many slots as the budget could ever fill, whatever ``new`` holds.
    """
    allowed = budget.radius(pose.mask)
    slots = int(allowed.max())
    points = torch.zeros((len(new), slots, 3), dtype=new.dtype, device=new.device)
    points[:, : new.shape[1]] = new
    real = torch.arange(slots, device=new.device) < allowed.clamp_max(new.shape[1])[:, None]
    return Clouds.padded(
        torch.cat([pose.points, points], dim=1), torch.cat([pose.mask, real], dim=1)
    )


def enforce_counts(pose: Clouds, clean: Clouds, budget: Budget, name: str) -> Clouds:
    """What an attack that drops or adds points returned, with old points put back to where they
    were and new ones into the clean cloud's bounding box; without any allowed, the clean clouds.

    Raises:
        InputError: if it dropped or added more than the budget allows, or did what it must not.
    """
    size, allowed = clean.points.shape[1], budget.radius(clean.mask)
    if not bool(allowed.any()):
        return clean
    old, new = pose.mask[:, :size], pose.mask[:, size:]
    if budget.norm == "drop":
        if pose.mask.shape != clean.mask.shape or bool((old & ~clean.mask).any()):
            raise InputError(f"{name} may drop points, but added some")
        changed = (clean.mask & ~old).sum(dim=1)
    else:
        if pose.mask.shape[1] < size or not torch.equal(old, clean.mask):
            raise InputError(f"{name} may add points after the old ones, but dropped or moved some")
        changed = new.sum(dim=1)
    if bool((changed > allowed).any()):
        most = int((changed - allowed).argmax())
        raise InputError(
            f"{name} changed {int(changed[most])} points, its budget allows {int(allowed[most])}"
        )
    low, high = box(clean)
    fresh = pose.points[:, size:].clamp(low, high)
    return Clouds.padded(torch.cat([clean.points, fresh], dim=1), pose.mask)
