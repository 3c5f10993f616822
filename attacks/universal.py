"""One perturbation for all bodies (universal, Moosavi-Dezfooli et al., arXiv 1610.08401), as a
displacement field over space.

Vertices of different clouds do not correspond, so the perturbation cannot be one vector per vertex.
Ours is a vector per node of a grid, interpolated at every point and scaled to each cloud's budget
(our choice):

    x_adv = x + steepest step along u(x)
    u <- u + G / ||G||,   G = sum over pairs of the interpolation's transpose of g / ||g||

``fit`` runs the second line on pairs that are not attacked later and keeps the field with the
largest mean objective. Attacking then costs nothing: neither forwards nor gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from posebench.attacks.gradient import check_counts, check_objective, pose_gradient
from posebench.attacks.projection import project, steepest
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES
from posebench.shapes import Float

REACH = 1.2
"""Metres from the centre to the grid's border; beyond it the border's vectors count."""


@dataclass(frozen=True)
class Universal:
    """A perturbation fitted beforehand.

    Attributes:
        budget: how far each pose may move.
        iterations: gradient steps of ``fit``.
        nodes: grid nodes along each axis.
        objective: key of ``posebench.objective.OBJECTIVES``.
        displacement: (1, 3, nodes, nodes, nodes), the fitted field; None before ``fit``.
    """

    budget: Budget
    iterations: int = 30
    nodes: int = 12
    objective: str = "pmd"
    displacement: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_counts(self, "iterations")
        check_objective(self)
        if self.nodes < 2:
            raise InputError(f"nodes must be at least 2, got {self.nodes}")

    def fit(
        self, victim: Victim, batches: Sequence[Batch], *, generator: Generator | None = None
    ) -> Universal:
        """The attack with the field that hurts these pairs most, on average.

        Costs ``iterations + 1`` gradients for each pair.
        """
        asked: dict[str, Any] = {"objective": OBJECTIVES[self.objective], "generator": generator}
        points = batches[0].pose.points
        current = torch.zeros((1, 3, *[self.nodes] * 3), dtype=points.dtype, device=points.device)
        best, best_mean = current, -math.inf
        for _ in range(self.iterations + 1):
            total, values = torch.zeros_like(current), []
            for batch in batches:
                pose = displaced(batch.pose.detach(), current, self.budget)
                found, gradient = pose_gradient(victim, batch, pose, **asked)
                values.append(found)
                unit = steepest(gradient, Budget(1.0, unit="total"), pose.mask)
                nodes = current.clone().requires_grad_(True)
                with torch.enable_grad():
                    at_points = (interpolated(nodes, batch.pose.points.detach()) * unit).sum()
                total += torch.autograd.grad(at_points, nodes)[0]
            mean = float(torch.cat(values).mean())
            if mean > best_mean:
                best, best_mean = current, mean
            tiny = torch.finfo(total.dtype).tiny
            current = current + total / total.norm().clamp_min(tiny)
        return replace(self, displacement=best)

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        if self.displacement is None:
            raise InputError("a universal perturbation must be fitted first: Universal.fit")
        pose = displaced(batch.pose.detach(), self.displacement, self.budget)
        return AttackResult(pose)


def displaced(clean: Clouds, displacement: Tensor, budget: Budget) -> Clouds:
    """The clouds moved along the field, each to the edge of its budget."""
    direction = interpolated(displacement.to(clean.points), clean.points) * clean.mask[..., None]
    step = steepest(direction, budget, clean.mask)
    return project(clean.replace(clean.points + step), clean, budget)


def interpolated(
    displacement: Float[Tensor, "1 3 k k k"], points: Float[Tensor, "b n 3"]
) -> Float[Tensor, "b n 3"]:
    """The field at each point, trilinear between nodes."""
    grid = (points / REACH).reshape(1, -1, 1, 1, 3)
    found = functional.grid_sample(
        displacement, grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return found.reshape(3, -1).T.reshape(points.shape)
