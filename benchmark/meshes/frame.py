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

UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}
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


def check_body(
    points: Points, what: str, unit: float, up: str | None, option: str = "--"
) -> str | None:
    """Refuse points that are no standing body's; a note if it lies and ``up`` was given.

    ``unit`` is the metres per file unit that the points were read with; ``option`` what the names
    of this file's options begin with.

    Raises:
        InputError: naming the extent and the unit, or the axis, that would fit.
    """
    sides = points.max(axis=0) - points.min(axis=0)
    extent = float(sides.max())
    if not SMALLEST <= extent <= LARGEST:
        fitting = [n for n, u in UNITS.items() if SMALLEST <= extent / unit * u <= LARGEST]
        hint = (
            f"with {option}unit {fitting[0]} it would be {extent / unit * UNITS[fitting[0]]:.2f} m"
            if fitting
            else f"give metres per unit, such as {option}unit 0.0254, or cut the body out of the "
            "scene"
        )
        raise InputError(
            f"{what} is {extent:.4g} m large (largest side of its bounding box), a body is "
            f"{SMALLEST} to {LARGEST} m: {hint}"
        )
    if sides[1] >= UPRIGHT * extent:
        return None
    shown = " x ".join(f"{side:.2f}" for side in sides)
    text = f"{what} lies rather than stands ({shown} m along left, up and front)"
    if up is None:
        raise InputError(
            f"{text}: name its up axis, such as {option}up z, or {option}up y if it is y"
        )
    return f"{text}; networks are trained on standing bodies"
