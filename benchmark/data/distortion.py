"""What a task does to its pose sources: the ``scan@3`` of ``anny/scan@3``.

``scan@0`` to ``scan@5`` replace the pose source's mesh by a simulated scan of it; ``noise@0.02``
adds Gaussian noise of that many metres per coordinate; every corruption has severities 1 to 5, such
as ``jitter@2``. A sample's draws depend on distortion, level and sample number alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from torch import Generator, Tensor

from posebench.benchmark.data import corruptions, depth_camera, scan
from posebench.benchmark.data.corruptions import CORRUPTIONS, jitter
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float, Int
from posebench.victims.wrappers import resampled

_CLUSTERS = ((corruptions, "MAX_CLUSTERS", 7), (corruptions, "CLUSTER_SPREAD", (0.075, 0.125)))

FIRST: dict[str, tuple[tuple[ModuleType, str, object], ...]] = {
    "scan": (
        (depth_camera, "AIM", 0.9),
        (scan, "VERSION", 1),
        (scan, "OFF_AXIS", 0.1),
        (scan, "EDGE", 0.05),
        (scan, "FLIGHT", 0.3),
        (scan, "PATCH", (0.03, 0.08)),
        (scan, "TRIM", 0.005),
        (scan, "KINECT", (0.0012, 0.0019, 0.4, 0.0001)),
        (scan, "STEEPEST", 80.0),
        (scan, "VOLUME", (1.2, 2.2)),
    ),
    "drop-local": _CLUSTERS[:1],
    "add-local": _CLUSTERS,
}
"""Further constants that decide a kind's points: where they stand, and their values in the records
of the first version, whose fingerprints leave them out."""

MAX_NOISE = 1.0
"""Metres; more is not a body any more."""


@dataclass(frozen=True)
class Distortion:
    """One kind at one level: a severity, or for noise its standard deviation in metres."""

    kind: str
    level: float

    @property
    def settings(self) -> str:
        """All that decides what comes out, for a task's fingerprint.

        Constants in ``FIRST`` are told only where they are others than in the first records.
        """
        if self.kind == "scan":
            ring = (depth_camera.CAMERAS, depth_camera.DISTANCE, depth_camera.HEIGHTS)
            pixels = (depth_camera.WIDTH, depth_camera.HEIGHT, depth_camera.FOCAL)
            text = f"{scan.SEVERITIES[int(self.level)]!r} {ring} {pixels}"
        elif self.kind == "noise":
            text = f"noise {self.level:g} m"
        else:
            corruption = CORRUPTIONS[self.kind]
            text = f"{self.kind} {corruption.levels[int(self.level) - 1]:g} {corruption.unit}"
            text += f" version {corruption.version}" if corruption.version != 1 else ""
        for module, name, first in FIRST.get(self.kind, ()):
            if (value := getattr(module, name)) != first:
                text += f" {name}={value!r}"
        return text

    @property
    def keeps_count(self) -> bool:
        """Whether the pose source keeps as many points as the mesh has vertices."""
        return self.kind not in CORRUPTIONS or CORRUPTIONS[self.kind].keeps_count

    @property
    def turns_truth(self) -> bool:
        """Whether the truth has to be distorted alike."""
        return self.kind in CORRUPTIONS and CORRUPTIONS[self.kind].turns_truth

    def generators(self, seed: int, ids: Int[Tensor, "b"]) -> list[Generator]:
        """A fresh generator for each sample."""
        return [generator_for(seed, self.kind, f"{self.level:g}", int(i)) for i in ids]

    def __call__(
        self, cloud: Clouds, faces: Int[Tensor, "b f 3"], generators: Sequence[Generator]
    ) -> Clouds:
        """Distorted clouds; a scan's are centred by their trimmed box, others not again."""
        distorted = [
            self._one(points[mask], triangles, generator)
            for points, mask, triangles, generator in zip(
                cloud.points, cloud.mask, faces, generators, strict=True
            )
        ]
        return Clouds.from_list(distorted)

    def _one(
        self, points: Float[Tensor, "n 3"], faces: Int[Tensor, "f 3"], generator: Generator
    ) -> Float[Tensor, "m 3"]:
        if self.kind == "scan":
            scanner = scan.SEVERITIES[int(self.level)]
            found = scan.scan_mesh(points, faces, scanner, generator).points
            found = found - scan.trimmed_centre(found)
            return resampled(Clouds.dense(found[None]), len(points)).points[0]
        if self.kind == "noise":
            return jitter(points, self.level, generator)
        corruption = CORRUPTIONS[self.kind]
        return corruption.apply(points, corruption.levels[int(self.level) - 1], generator)


def kinds() -> tuple[str, ...]:
    """Everything that can be done to a pose source."""
    return ("scan", "noise", *CORRUPTIONS)


def parse_distortion(text: str) -> Distortion:
    """The distortion that ``KIND@LEVEL`` names.

    Raises:
        InputError: unknown kind, a level that it does not have, or one not written the one way
            that a record's name can have.
    """
    kind, _, level = text.partition("@")
    if kind not in kinds():
        raise unknown("distortion", kind, kinds())
    if kind == "noise":
        return Distortion(kind, _sigma(level))
    levels = range(len(scan.SEVERITIES)) if kind == "scan" else range(1, 6)
    if level not in map(str, levels):
        known = ", ".join(f"{kind}@{each}" for each in levels)
        raise InputError(f"unknown severity {level!r} of {kind}: known are {known}")
    return Distortion(kind, float(level))


def _sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not 0 < sigma <= MAX_NOISE:
        raise InputError(
            f"noise needs its standard deviation in metres, above 0 and at most {MAX_NOISE:g}, "
            f"such as noise@0.02; got {text!r}"
        )
    if text != f"{sigma:g}":
        raise InputError(f"write noise@{sigma:g}, not noise@{text}: records go by the name")
    return sigma
