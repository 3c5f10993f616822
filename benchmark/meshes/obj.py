"""Wavefront OBJ, read in file order and written back losslessly.

Own code, because trimesh splits and reorders vertices at texture seams, and a result is only of
use to a rig or a texture if vertex k stays vertex k.
"""

from __future__ import annotations

import io
import re
from array import array
from functools import lru_cache

import numpy as np

from posebench.benchmark.meshes.types import (
    MAX_FACES,
    MAX_POINTS,
    Faces,
    MeshData,
    Points,
    add_fan,
    check_count,
    mesh_data,
    numbers,
    text_lines,
    whole,
)
from posebench.errors import InputError

MAX_PLAIN = 2**23
"""Bytes of a file that is read at once: numpy takes fifty times that for an odd one."""

VERTEX_LETTERS = b"v0123456789.+-eE \t\r\n"
FACE_LETTERS = b"f0123456789/ \t\r\n"


def read_obj(data: bytes) -> MeshData:
    """Vertices and triangulated faces; groups, materials and texture coordinates stay in the file.

    Raises:
        InputError: a line that is no OBJ, naming it.
    """
    found = plain_obj(data)
    return found if found is not None else any_obj(data)


def plain_obj(data: bytes) -> MeshData | None:
    """A file of nothing but vertices and then triangles, ten times as fast; None for others.

    Data sets come so, many thousand files with one set of faces.
    """
    head, _, tail = data.partition(b"\nf ")
    head = head.rstrip(b"\r")
    rows = head.count(b"\n") + 1
    if len(data) > MAX_PLAIN or not head.startswith(b"v ") or head.count(b"\nv ") + 1 != rows:
        return None
    if not _only(VERTEX_LETTERS, head):
        return None
    try:
        points = np.loadtxt(io.BytesIO(head), usecols=(1, 2, 3), ndmin=2, comments=None)
        faces = _triangles(tail).copy()
    except ValueError:  # the careful reader names the line
        return None
    if len(points) != rows:
        return None
    check_count(len(points), MAX_POINTS, "vertices")
    check_count(len(faces), MAX_FACES, "triangles")
    return mesh_data(points, faces, lambda new: rewritten(data, new))


def _only(letters: bytes, text: bytes) -> bool:
    """Whether text is of these letters alone, and line ends are whole."""
    whole_ends = b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")
    return whole_ends and not text.translate(None, letters)


@lru_cache(maxsize=4)  # every mesh of a data set has the same faces
def _triangles(text: bytes) -> Faces:
    """Faces (F, 3) of the lines after the first ``f``; ValueError if there is anything else."""
    rows = text.rstrip().count(b"\n") + 1
    if not _only(FACE_LETTERS, text) or not text.count(b"f") == text.count(b"\nf ") == rows - 1:
        raise ValueError("not lines of faces alone")
    corners = re.sub(rb"/\S*", b"", text.replace(b"f ", b""))
    faces = np.loadtxt(io.BytesIO(corners), dtype=np.int64, ndmin=2, comments=None) - 1
    if faces.shape != (rows, 3):
        raise ValueError("not triangles")
    faces.flags.writeable = False
    return faces


def any_obj(data: bytes) -> MeshData:
    """Any OBJ file, line by line; see :func:`read_obj`."""
    data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    points, corners = array("d"), array("q")
    for number, line in text_lines(data):
        words = line.split()
        if not words:
            continue
        if words[0] == b"v":
            if len(words) < 4:
                raise InputError(f"line {number}: a vertex needs 3 coordinates")
            points.extend(numbers(words[1:4], number))
            check_count(len(points) // 3, MAX_POINTS, "vertices")
        elif words[0] == b"f":
            polygon = [whole(word.split(b"/", 1)[0], number) for word in words[1:]]
            count = len(points) // 3
            # From 1, or counted back from the last vertex so far; 0 is no vertex.
            polygon = [corner - 1 if corner >= 0 else count + corner for corner in polygon]
            if any(not -(2**62) < corner < 2**62 for corner in polygon):
                raise InputError(f"line {number}: a face names a vertex that is not there")
            add_fan(corners, polygon, f"line {number}")
    if not points:
        raise InputError("no vertices (lines that start with 'v'); is this an OBJ file?")
    return mesh_data(points, corners, lambda new: rewritten(data, new))


def rewritten(data: bytes, points: Points) -> bytes:
    """The file with its ``v`` lines replaced and its normals left out."""
    result, row = io.BytesIO(), 0
    for _, line in text_lines(data):
        words = line.split()
        kind = words[0] if words else b""
        if kind == b"v":
            moved = b"%.10g %.10g %.10g" % tuple(points[row].tolist())
            line, row = b" ".join([b"v", moved, *words[4:]]) + line_end(line), row + 1
        elif kind == b"vn":
            continue
        elif kind == b"f" and line.count(b"/") > len(words) - 1:
            line = b" ".join(map(without_normal, words)) + line_end(line)
        result.write(line)
    return result.getvalue()


def line_end(line: bytes) -> bytes:
    """How the line ends: as on Windows or as elsewhere."""
    return b"\r\n" if line.endswith(b"\r\n") else b"\n"


def without_normal(corner: bytes) -> bytes:
    """``a/b/c`` to ``a/b`` and ``a//c`` to ``a``."""
    return b"/".join(corner.split(b"/")[:2]).rstrip(b"/")
