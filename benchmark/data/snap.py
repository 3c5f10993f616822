"""Defence ``snap``: a cloud's points are moved onto the embedded body that fits it best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.body import LODS
from posebench.benchmark.data.body_fit import fit_body, precise
from posebench.cloud import Clouds
from posebench.defenses.snap import check_blend, snapped
from posebench.errors import InputError
from posebench.shapes import Float


@dataclass(frozen=True)
class SnapToBody:
    """Puts each point on the nearest place of a fitted body; deterministic.

    Each cloud is fitted by itself, so a batch's composition cannot matter. The fit is held fixed
    for gradients: they pass through the last step alone (``posebench.defenses.snap``).

    Attributes:
        steps: of Adam, for each cloud.
        blend: share of the way to the surface; below 1 more of the shape that the body lacks stays.
        vertices: of the surface that points are put on, one of the body's levels of detail.
    """

    steps: int = 80
    blend: float = 1.0
    vertices: int = 1700

    def __post_init__(self) -> None:
        check_blend(self.blend)
        if self.steps < 0:
            raise InputError(f"steps must be 0 or more, got {self.steps}")
        if self.vertices not in LODS:
            raise InputError(f"vertices must be one of {', '.join(map(str, LODS))}")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """The same points in the same order, on the fitted surfaces.

        Raises:
            InputError: if a cloud holds no point, or NaN or infinity.
        """
        pose.check_finite("snap")
        body = precise(self.vertices, pose.points.device)
        return snapped(pose, self.surfaces(pose), body.faces, self.blend)

    def surfaces(self, pose: Clouds) -> list[Float[Tensor, "v 3"]]:
        """Vertices of the body fitted to each cloud, metres, float64."""
        body = precise(self.vertices, pose.points.device)
        with torch.no_grad():
            return [
                fit_body(points[mask], steps=self.steps).vertices(body)
                for points, mask in zip(pose.points.detach(), pose.mask, strict=True)
            ]
