"""Simulated scans with exact ground truth: twelve virtual depth cameras around a posed mesh.

``depth_camera`` says what each pixel sees; here is what real captures make of it, in six steps of
severity: noise along the ray that grows with distance and grazing angle, cameras a little out of
place, surfaces that send nothing back, flying pixels at depth edges, uneven density, dead cameras,
outliers, floor. Points come in random order, in the mesh's own frame; each body point knows the
triangle and the barycentric weights of the surface point that its pixel saw.

Metres, y up; the floor is at the lowest vertex. See docs/design/006-scans.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from posebench.benchmark.data.depth_camera import (
    CAMERAS,
    DISTANCE,
    Hits,
    camera,
    floor_around,
    floor_depth,
    joined,
    step_behind,
    visible,
)
from posebench.errors import InputError
from posebench.shapes import Float, Int

VERSION = 1
"""Raised when the same numbers come to give other points; part of what is measured."""

LABELS = ("body", "flying", "floor", "outlier")
BODY, FLYING, FLOOR, OUTLIER = range(len(LABELS))

NEAREST = 0.2
"""Metres in front of a camera that the mesh must not enter."""

OFF_AXIS = 0.1
"""People do not stand on the ring's axis but up to this far from it, in x and in z."""

EDGE = 0.05
"""Depth step between neighbouring pixels, metres, from which on a pixel may mix both."""

FLIGHT = 0.3
"""How far behind the near surface a flying pixel can land, metres."""

PATCH = (0.03, 0.08)
"""Radius of a ball that no camera gets anything from, metres: hair, black or shiny cloth."""

TRIM = 0.005
"""Twice what outliers put beyond one side of the body at severity 5."""

KINECT = (0.0012, 0.0019, 0.4, 0.0001)
"""Of the depth's noise, metres: the least of it, its growth, from where on, the part of tilt."""

STEEPEST = 80.0
"""Degrees of incidence from which on noise grows no more."""

VOLUME = (1.2, 2.2)
"""Half width and height of the box that outliers are in, metres."""


@dataclass(frozen=True)
class Scanner:
    """What is wrong with a capture.

    Attributes:
        noise: standard deviation of depth, as a multiple of the Kinect's (8 mm at 2.3 m).
        misplaced: standard deviation of each camera's position error per axis, metres.
        grazing: pixels are lost where the cosine of the angle of incidence is below this.
        patches: number of places that send nothing back.
        flying: share of pixels at depth edges that land between both surfaces.
        uneven: a camera keeps a random share of its pixels, between 1 - uneven and 1.
        missing: number of dead cameras.
        outliers: share of points that are anywhere, of the scan's other points.
        floor: radius around the ring's axis in which the floor was not cut away, metres.
    """

    noise: float = 0.0
    misplaced: float = 0.0
    grazing: float = 0.0
    patches: int = 0
    flying: float = 0.0
    uneven: float = 0.0
    missing: int = 0
    outliers: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.missing < CAMERAS:
            raise InputError(f"missing cameras must be 0..{CAMERAS - 1}, got {self.missing}")


SEVERITIES = (
    Scanner(),
    Scanner(0.1, 0.0005, 0.05, 2, 0.02, 0.2, 0, 0.0, 0.0),
    Scanner(0.25, 0.001, 0.10, 4, 0.05, 0.4, 2, 0.0, 0.0),
    Scanner(0.5, 0.002, 0.15, 6, 0.10, 0.6, 4, 0.001, 0.0),
    Scanner(0.75, 0.004, 0.20, 8, 0.20, 0.8, 6, 0.003, 0.25),
    Scanner(1.0, 0.008, 0.25, 10, 0.30, 0.9, 8, 0.01, 0.4),
)
"""Scanner at severity 0 to 5 (our choice): from a perfect one over a calibrated stereo rig (1 to 3:
what a laboratory delivers, floor cut away) to four consumer cameras in a room."""


@dataclass(frozen=True)
class Scan:
    """Points of one scan in random order.

    Attributes:
        points: (N, 3) metres, in the mesh's frame and dtype.
        label: (N,) int64 index into LABELS.
        triangle: (N,) int64, the face seen; -1 for floor and outliers.
        barycentric: (N, 3) float64, where on that face, before noise; 0 for floor and outliers.
    """

    points: Float[Tensor, "n 3"]
    label: Int[Tensor, "n"]
    triangle: Int[Tensor, "n"]
    barycentric: Float[Tensor, "n 3"]

    def __len__(self) -> int:
        return len(self.points)

    def select(self, index: Tensor) -> Scan:
        """Points by number or mask."""
        return Scan(
            self.points[index], self.label[index], self.triangle[index], self.barycentric[index]
        )


def scan_mesh(
    vertices: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    scanner: Scanner,
    generator: Generator,
) -> Scan:
    """Scan a mesh, on the CPU.

    Raises:
        InputError: vertices that are not finite, a mesh that reaches into a camera, or one that
            no camera gets a point of.
    """
    if not bool(torch.isfinite(vertices).all()):
        raise InputError("scan: vertices must be finite, found NaN or infinity")
    mesh = vertices.double()
    low, high = mesh.amin(dim=0), mesh.amax(dim=0)
    foot = (low + high) / 2 + OFF_AXIS * (2 * _uniform(generator, 3) - 1)
    foot[1] = low[1]
    turn = 2 * math.pi / CAMERAS * float(_uniform(generator, 1))
    holes = mesh[torch.randint(len(mesh), (scanner.patches,), generator=generator)]
    reach = PATCH[0] + (PATCH[1] - PATCH[0]) * _uniform(generator, scanner.patches)
    working = torch.randperm(CAMERAS, generator=generator)[scanner.missing :]
    parts = []
    for number in working.sort().values.tolist():
        origin, axes = camera(number, turn, foot)
        corners = ((mesh - origin) @ axes.T)[faces]
        if float(corners[..., 2].min()) < NEAREST:
            raise InputError(
                f"scan: a mesh of {float((high - low).max()):.3g} m reaches into a camera "
                f"{DISTANCE} m away; it must be of a person's size, in metres, y up"
            )
        seen = visible(corners)
        if scanner.floor:
            seen = joined(seen, floor_around(seen, axes, foot - origin, scanner.floor))
        part = capture(seen, axes, foot - origin, scanner, holes - origin, reach, generator)
        parts.append(replace(part, points=origin + part.points))
    scan = joined(*parts)
    if not len(scan):
        raise InputError("scan: no camera gets a point of the mesh")
    stray = outliers(round(scanner.outliers * len(scan)), foot, generator)
    order = torch.randperm(len(scan) + len(stray), generator=generator)
    scan = joined(scan, stray).select(order)
    return replace(scan, points=scan.points.to(vertices.dtype))


def capture(
    seen: Hits,
    axes: Float[Tensor, "3 3"],
    foot: Float[Tensor, "3"],
    scanner: Scanner,
    holes: Float[Tensor, "p 3"],
    reach: Float[Tensor, "p"],
    generator: Generator,
) -> Scan:
    """What a camera hands over of what it sees; all positions relative to the camera."""
    surface = (seen.ray * seen.depth[:, None]) @ axes
    share = 1 - scanner.uneven * _uniform(generator, 1)
    kept = (_uniform(generator, len(surface)) < share) & (seen.cosine >= scanner.grazing)
    kept &= (torch.cdist(surface, holes) >= reach).all(dim=1)
    room = step_behind(seen).minimum(floor_depth(seen.ray, axes, foot) - seen.depth)
    room = room.clamp(0, FLIGHT).where(room >= EDGE, 0)
    flight = room * _uniform(generator, len(surface))
    flight = flight.where(_uniform(generator, len(surface)) < scanner.flying, 0)
    error = axial_noise(seen.depth, seen.cosine) * _normal(generator, len(surface))
    depth = seen.depth + flight + scanner.noise * error
    points = (seen.ray * depth[:, None]) @ axes + scanner.misplaced * _normal(generator, 3)
    label = torch.where(seen.triangle < 0, FLOOR, torch.where(flight > 0, FLYING, BODY))
    return Scan(points, label, seen.triangle, seen.barycentric).select(kept)


def axial_noise(depth: Float[Tensor, "n"], cosine: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Standard deviation of the Kinect's depth, metres, Nguyen et al. 2012:

    0.0012 + 0.0019 (z - 0.4)^2 + 0.0001 / sqrt(z) (a / (90 degrees - a))^2, angle of incidence a,
    which they measured up to 60 degrees; we hold the last term from STEEPEST on.
    """
    least, growth, nearest, tilt = KINECT
    angle = cosine.clamp(0, 1).acos().clamp_max(math.radians(STEEPEST))
    slant = (angle / (math.pi / 2 - angle)).square()
    return least + growth * (depth - nearest).square() + tilt / depth.sqrt() * slant


def outliers(count: int, foot: Float[Tensor, "3"], generator: Generator) -> Scan:
    """Points anywhere in the box that the cameras surround."""
    spread = foot.new_tensor([2 * VOLUME[0], VOLUME[1], 2 * VOLUME[0]])
    corner = foot - foot.new_tensor([VOLUME[0], 0, VOLUME[0]])
    points = corner + spread * _uniform(generator, count, 3)
    none = torch.full((count,), -1)
    label = torch.full_like(none, OUTLIER)
    return Scan(points, label, none, torch.zeros_like(points))


def trimmed_centre(points: Float[Tensor, "n 3"]) -> Float[Tensor, "3"]:
    """Centre of the box that leaves out TRIM of the points at each of its six sides.

    A scan's plain bounding box is that of its outliers.
    """
    ranked = points.sort(dim=0).values
    cut = int(TRIM * len(points))
    return (ranked[cut] + ranked[len(points) - 1 - cut]) / 2


def _uniform(generator: Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
