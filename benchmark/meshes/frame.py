"""Units and axes of files: metres and y up, and what size and posture a body has in them.

The protocol's axes are x to the body's left, y up, z to the front. A file does not say which way
is up or what its numbers mean, so nothing is guessed: the defaults are metres and y up, and a body
whose size or posture says otherwise is refused with the option that would fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from posebench.benchmark.meshes.types import Points
from posebench.errors import InputError
from posebench.registry import unknown

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254}
"""Metres of one unit; MakeHuman's own files are in decimetres."""

UPS = {
    "y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-y": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "z": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "-z": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "x": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    "-x": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
}
"""Rotations that bring a file's up axis to y. A body with z up is taken to face -y (as in Blender),
one with -y up to face -z, towards the camera (depth cameras)."""

SMALLEST, LARGEST = 0.5, 2.5
"""Metres that a body's largest bounding-box side may have."""

USUAL = 1.7
"""Metres that it mostly has: of units that would do, the one that comes nearest is named."""

UPRIGHT = 0.5
"""Least height over the largest side; in the splits' 24,000 bodies it is never below 0.64."""


@dataclass(frozen=True)
class Frame:
    """How a file's coordinates lie: metres per unit, and the rotation (3, 3) to our axes."""

    unit: float = 1.0
    rotation: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def inwards(self, points: Points) -> Points:
        """File coordinates to metres in our axes."""
        result: Points = self.unit * (points @ np.array(self.rotation).T)
        return result

    def outwards(self, points: Points) -> Points:
        """Metres in our axes to file coordinates."""
        result: Points = (points @ np.array(self.rotation)) / self.unit
        return result


def frame_for(unit: str = "m", up: str | None = None, turn: float = 0.0) -> Frame:
    """The frame that options describe.

    ``unit`` is one of ``UNITS`` or metres per unit as a number; ``up`` an axis, None for y;
    ``turn`` the degrees by which the body is turned to its left about the up axis, after that.

    Raises:
        InputError: unknown unit or axis, or a turn that is not finite.
    """
    scale = UNITS.get(unit)
    if scale is None:
        try:
            scale = float(unit)
        except ValueError:
            raise unknown("unit", unit, [*UNITS, "metres as a number"]) from None
    if not 1e-6 <= scale <= 1e6:
        raise InputError(f"unit must be 1e-6 to 1e6 metres, got {unit}")
    axis = up or "y"
    if axis not in UPS:
        raise unknown("up axis", axis, UPS)
    if not math.isfinite(turn):
        raise InputError(f"turn must be a finite number of degrees, got {turn}")
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array(UPS[axis])
    return Frame(scale, tuple(tuple(row) for row in rotation.tolist()))


@dataclass(frozen=True)
class Stated:
    """How a file's coordinates lie, as a user says it; see :func:`frame_for`.

    Attributes:
        unit, up, turn: as there.
        option: what the names of this file's options begin with.
        crops: whether there is such an option that crops.
    """

    unit: str = "m"
    up: str | None = None
    turn: float = 0.0
    option: str = "--"
    crops: bool = False

    def frame(self) -> Frame:
        """The frame that is meant."""
        return frame_for(self.unit, self.up, self.turn)


@dataclass(frozen=True)
class FrameOptions:
    """How a pair of files lies.

    Attributes:
        unit, up, turn: of all files.
        pose_unit, pose_up, pose_turn: of the pose source, where it differs.
    """

    unit: str = "m"
    up: str | None = None
    turn: float = 0.0
    pose_unit: str | None = None
    pose_up: str | None = None
    pose_turn: float | None = None

    @property
    def of_pose(self) -> Stated:
        """Of the pose source."""
        turn = self.turn if self.pose_turn is None else self.pose_turn
        unit, up = self.pose_unit or self.unit, self.pose_up or self.up
        return Stated(unit, up, turn, "--pose-", crops=True)

    @property
    def of_identity(self) -> Stated:
        """Of the identity, and of the truth if there is one."""
        return Stated(self.unit, self.up, self.turn)


def check_size(
    points: Points, what: str, unit: float, stated: Stated, *, floor: bool = False
) -> None:
    """Refuse points that are too small or too large for a body.

    ``unit`` is the metres per file unit that the points were read with, ``floor`` whether they
    seem to hold one.

    Raises:
        InputError: naming the extent, and the unit that would fit or the crop.
    """
    sides = points.max(axis=0) - points.min(axis=0)
    extent = float(sides.max())
    if SMALLEST <= extent <= LARGEST:
        return
    option = stated.option
    sizes = {name: extent / unit * metres for name, metres in UNITS.items()}
    fitting = [name for name, size in sizes.items() if SMALLEST <= size <= LARGEST]
    best = min(fitting, key=lambda name: abs(math.log(sizes[name] / USUAL)), default=None)
    cut = "cut the body out of the scene"
    if stated.crops:
        cut += f" with {option}crop {'floor,cluster' if floor else 'cluster'}"
    if best is not None and not floor:
        hint = f"with {option}unit {best} it would be {sizes[best]:.2f} m"
    elif floor:
        hint = f"it seems to hold a floor: {cut}"
    else:
        hint = f"give metres per unit, such as {option}unit 0.3048, or {cut}"
    raise InputError(
        f"{what} is {extent:.4g} m large (largest side of its bounding box), a body is "
        f"{SMALLEST} to {LARGEST} m: {hint}"
    )


def lying(points: Points) -> str | None:
    """That a body (N, 3), y up, lies, with its sides; None if it stands."""
    sides = points.max(axis=0) - points.min(axis=0)
    if sides[1] >= UPRIGHT * sides.max():
        return None
    shown = " x ".join(f"{side:.2f}" for side in sides)
    return f"lies rather than stands ({shown} m along left, up and front)"
