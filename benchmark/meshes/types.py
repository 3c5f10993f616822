"""What a mesh file holds, before anything is known about units and axes; limits for all readers.

A reader takes a file's bytes and returns a :class:`MeshData`. It believes no count that the file
states before it has compared it with the bytes that are there.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.errors import InputError

Points = NDArray[np.float64]
Faces = NDArray[np.int64]

MAX_BYTES = 256 * 2**20
"""Largest file that is opened; with the other limits it keeps every command below 2 GB."""

MAX_TEXT = 128 * 2**20
"""Largest file of numbers as text: a minute of reading."""

MAX_POINTS = 5_000_000
MAX_FACES = 5_000_000
MAX_LINE = 2**20
"""Bytes of one line of text; its words take fifty times that."""


@dataclass(frozen=True)
class MeshData:
    """Points and faces as they stand in the file.

    Attributes:
        points: (N, 3) float64 in the file's order, units and axes.
        faces: (F, 3) triangles; None for a cloud. Polygons are cut into fans.
        rewrite: the same file with other points, where the format allows that; all else stays but
            normals, which would be those of the old points.
    """

    points: Points
    faces: Faces | None
    rewrite: Callable[[Points], bytes] | None = None


def mesh_data(
    points: array[float] | Points,
    corners: array[int] | Faces | None = None,
    rewrite: Callable[[Points], bytes] | None = None,
) -> MeshData:
    """From flat coordinates and flat triangle corners; no corners make a cloud."""
    faces = None
    if corners is not None and len(corners):
        faces = np.asarray(corners, dtype=np.int64).reshape(-1, 3)
    return MeshData(np.asarray(points, dtype=np.float64).reshape(-1, 3), faces, rewrite)


def check_count(count: int, most: int, what: str) -> None:
    """Raise InputError for a count below zero or above the limit."""
    if not 0 <= count <= most:
        raise InputError(f"{count:,} {what}; at most {most:,} are read, so thin the file first")


def add_fan(corners: array[int], polygon: list[int], where: str) -> None:
    """Append a polygon's triangles (0, i, i + 1).

    Raises:
        InputError: fewer than three corners, or too many triangles in all.
    """
    if len(polygon) < 3:
        raise InputError(f"{where}: a face needs 3 corners, this one has {len(polygon)}")
    first = polygon[0]
    for second, third in zip(polygon[1:-1], polygon[2:], strict=True):
        corners.extend((first, second, third))
    check_count(len(corners) // 3, MAX_FACES, "triangles")


def text_lines(data: bytes, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, one at a time, so that a file of empty lines costs nothing.

    Raises:
        InputError: too much text, or a line that is longer than any file of numbers has.
    """
    if len(data) > MAX_TEXT:
        raise InputError(
            f"{len(data):,} bytes of text, at most {MAX_TEXT:,} are read; save it as PLY"
        )
    for number, line in enumerate(io.BytesIO(data), first):
        if len(line) > MAX_LINE:
            raise InputError(f"line {number}: longer than {MAX_LINE:,} bytes; is this a text file?")
        yield number, line


def numbers(words: list[bytes], number: int) -> list[float]:
    """Words of a line as floats.

    Raises:
        InputError: naming the line and its first word that is no number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        pass
    for word in words:
        try:
            float(word)
        except ValueError as error:
            shown = word[:20].decode("ascii", "replace")
            raise InputError(f"line {number}: {shown!r} is no number") from error
    raise InputError(f"line {number}: not numbers")


def whole(word: bytes, number: int) -> int:
    """A word of a line as an integer.

    Raises:
        InputError: naming the line and the word.
    """
    try:
        if len(word) > 20:
            raise ValueError
        return int(word)
    except ValueError as error:
        shown = word[:20].decode("ascii", "replace")
        raise InputError(f"line {number}: {shown!r} is no whole number") from error
