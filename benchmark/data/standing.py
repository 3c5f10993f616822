"""Whether a file's points are a body that stands as networks know it, and what to do if not.

What cannot be a body in the stated units and axes is refused, what only looks odd is noted; each
line names the option that mends it. ``transfer``, ``attack`` and own pairs share this.
"""

from __future__ import annotations

from posebench.benchmark.data.facing import fitting_axis, half_of, stands_oddly
from posebench.benchmark.meshes.crop import find_floor, heights
from posebench.benchmark.meshes.files import MeshFile
from posebench.benchmark.meshes.frame import Stated, check_size, lying
from posebench.benchmark.meshes.types import Points
from posebench.errors import InputError

STANDS = 0.6
"""Metres above a floor that something must rise; bodies that lie on their backs do not."""


def checked(points: Points, mesh: MeshFile, what: str, stated: Stated) -> tuple[str, ...]:
    """Notes about how a body (N, 3), metres in our axes, stands; it need not be all of the file.

    Raises:
        InputError: too small or large for a body, or lying though no axis was named.
    """
    name = f"{what} {mesh.path}"
    floor = on_floor(points)
    crop = f"{stated.option}crop floor" if stated.crops else "a crop in your mesh program"
    check_size(points, name, mesh.frame.unit, stated, floor=floor)
    if floor:
        return (
            f"{name} seems to hold a floor, which moves its bounding box; if it does, cut it "
            f"away with {crop}",
        )
    if (shape := lying(points)) is not None:
        return (_lies(points, mesh, f"{name} {shape}", stated),)
    if (half := half_of(points)) is not None:
        return (
            f"{name} seems to be the {half} half of a body; networks know whole bodies, and "
            "pose the rest as they guess",
        )
    oddly = stands_oddly(points)
    return () if oddly is None else (f"{name} seems to stand {oddly}; {mend(oddly, stated)}",)


def _lies(points: Points, mesh: MeshFile, text: str, stated: Stated) -> str:
    """The note on a body that lies, where its axis was named.

    Raises:
        InputError: it was not, with the axis that fits best.
    """
    if stated.up is not None:
        return f"{text}; networks are trained on standing bodies"
    axis, turn = fitting_axis(points, mesh.frame)
    more = f" {stated.option}turn {turn:g}" if turn else ""
    raise InputError(
        f"{text}: name its up axis, {stated.option}up {axis}{more} fits best"
        + ("" if axis == "y" else f", {stated.option}up y if it does lie")
    )


def on_floor(points: Points) -> bool:
    """Whether a body stands on a floor that is in the file, too; one that lies is no floor."""
    plane = find_floor(points)
    return plane is not None and float(heights(points, plane).max()) > STANDS


def mend(oddly: str, stated: Stated) -> str:
    """The option that stands a body as networks know it, by a key of ``facing.TURNS``."""
    option = stated.option
    if oddly == "upside down":
        axis = stated.up or "y"
        opposite = axis[1:] if axis.startswith("-") else f"-{axis}"
        return f"if it does, turn it by {option}up {opposite}"
    more = {"backwards": 180, "facing its left": -90, "facing its right": 90}[oddly]
    degrees = (stated.turn + more + 180) % 360 - 180
    return f"if it does, turn it by {option}turn {abs(degrees) if degrees == -180 else degrees:g}"
