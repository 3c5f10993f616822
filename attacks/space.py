"""Where an ascent's iterates live, and the poses they stand for.

``Ball``: iterates are poses inside the budget. ``Cube``: under a cap a vertex, a vertex's iterate
lives in the cube around its ball, and the victim meets the nearest pose of the ball:

    pose = clean + u min(1, r / |u|),  |u_x|, |u_y|, |u_z| <= r

The corners of the cube stand for the ball's diagonals, and an iterate beyond the ball turns with
the gradient instead of being pushed outward and cut again, so an ascent does not stick to the first
point of the edge that it meets. That is what attacks for images do when they are shown poses
(:mod:`posebench.attacks.foreign`), and how Auto-PGD came to be ahead of ours; docs/attacks.md sets
them side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Generator, Tensor

from posebench.attacks.gradient import pose_gradient
from posebench.attacks.projection import project, steepest
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget, Victim
from posebench.objective import Objective
from posebench.shapes import Float


@dataclass(frozen=True)
class Ball:
    """The budget itself."""

    clean: Clouds
    budget: Budget

    def pose(self, at: Clouds) -> Clouds:
        """What the victim meets."""
        return at

    def nearest(self, at: Clouds) -> Clouds:
        """The nearest iterate that is allowed."""
        return project(at, self.clean, self.budget)

    def gradient(self, gradient: Float[Tensor, "b n 3"], at: Clouds) -> Float[Tensor, "b n 3"]:
        """The gradient to the iterate, from that to its pose."""
        return gradient

    def steepest(self, gradient: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """The step that ascends fastest, one radius long."""
        return steepest(gradient, self.budget, self.clean.mask)


@dataclass(frozen=True)
class Cube:
    """The cubes around the balls of a cap a vertex; steps are signs.

    Raises:
        InputError: for another norm than ``l2_vertex``.
    """

    clean: Clouds
    budget: Budget

    def __post_init__(self) -> None:
        if self.budget.norm != "l2_vertex":
            raise InputError(f"cubes stand for a cap a vertex, not for norm {self.budget.norm!r}")

    @property
    def around(self) -> Budget:
        """The cubes, as a budget."""
        return replace(self.budget, norm="linf")

    def pose(self, at: Clouds) -> Clouds:
        """The nearest pose of the budget."""
        return project(at, self.clean, self.budget)

    def nearest(self, at: Clouds) -> Clouds:
        """The nearest iterate inside the cubes."""
        return project(at, self.clean, self.around)

    def gradient(self, gradient: Float[Tensor, "b n 3"], at: Clouds) -> Float[Tensor, "b n 3"]:
        """Beyond the ball, the part along it: ``r / |u| (g - t (t . g))`` with ``t = u / |u|``."""
        moved = at.points - self.clean.points
        length = moved.norm(dim=2, keepdim=True)
        radius = self.budget.radius(self.clean.mask).to(length)[:, None, None]
        along = moved / length.clamp_min(1e-30)
        turned = gradient - along * (gradient * along).sum(dim=2, keepdim=True)
        beyond: Tensor = turned * (radius / length.clamp_min(1e-30))
        return beyond.where(length > radius, gradient)

    def steepest(self, gradient: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """The radius along each axis, by the gradient's signs."""
        return steepest(gradient, self.around, self.clean.mask)


Space = Ball | Cube


def climbed_at(
    victim: Victim,
    batch: Batch,
    space: Space,
    at: Clouds,
    *,
    objective: Objective,
    generator: Generator | None,
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b n 3"]]:
    """The objective at an iterate's pose, and its gradient to the iterate."""
    values, gradient = pose_gradient(
        victim, batch, space.pose(at), objective=objective, generator=generator
    )
    return values, space.gradient(gradient, at)
