"""Files of points: XYZ, NPY and NPZ (which may hold faces too).

Scanners mark a pixel without measurement by NaN; those rows come back as they are, and ``files``
decides.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from array import array
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.types import (
    MAX_BYTES,
    MAX_FACES,
    MAX_POINTS,
    MeshData,
    check_count,
    mesh_data,
    numbers,
    text_lines,
)
from posebench.errors import InputError

POINT_NAMES = ("points", "vertices", "verts", "xyz", "v")
FACE_NAMES = ("faces", "triangles", "f")

MAX_MEMBERS = 1000
"""Arrays in an NPZ archive, whose table of contents is read whole."""


def read_xyz(data: bytes) -> MeshData:
    """The first three numbers of every line; ``#`` and ``//`` start comments.

    Raises:
        InputError: a line of fewer numbers.
    """
    points = array("d")
    for number, line in text_lines(data):
        words = line.replace(b",", b" ").replace(b";", b" ").split()
        if not words or words[0].startswith((b"#", b"//")):
            continue
        if len(words) < 3:
            raise InputError(f"line {number}: fewer than 3 numbers")
        points.extend(numbers(words[:3], number))
        check_count(len(points) // 3, MAX_POINTS, "points")
    if not points:
        raise InputError("no points in it")
    return mesh_data(points)


def read_npy(data: bytes) -> MeshData:
    """An (N, 3) array, or (H, W, 3) as a depth camera has it."""
    return mesh_data(array_of_points(read_array(data)))


def read_npz(data: bytes) -> MeshData:
    """Array ``points`` (or vertices, verts, xyz, v) and, for a mesh, ``faces`` (or triangles, f).

    Raises:
        InputError: no archive, no such arrays, or arrays too large.
    """
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise InputError(f"holds more than {MAX_MEMBERS} arrays")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
            if any(i.flag_bits & 1 for i in members.values()):
                raise InputError("encrypted")
            found: list[NDArray[np.generic] | None] = []
            for names, most in ((POINT_NAMES, MAX_POINTS), (FACE_NAMES, MAX_FACES)):
                name = next((n for n in names if n in members), None)
                if name is None:
                    found.append(None)
                    continue
                info = members[name]
                if info.file_size > min(MAX_BYTES, 24 * most + 10_000):
                    raise InputError(f"array {name!r} of {info.file_size:,} bytes is too large")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(f"array {name!r}: save it with numpy.savez")
                found.append(read_array(archive.read(info)))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not a whole NPZ archive ({str(error)[:80]})") from error
    points, faces = found
    if points is None:
        raise InputError(f"holds no array named {', '.join(POINT_NAMES)}")
    if faces is None:
        return mesh_data(array_of_points(points))
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise InputError(f"faces must be (F, 3) whole numbers, got {faces.dtype} {faces.shape}")
    return mesh_data(array_of_points(points), faces.astype(np.int64))


def read_array(data: bytes) -> NDArray[np.generic]:
    """The bytes of an NPY file as an array of numbers; pickles are refused.

    Raises:
        InputError: no such file, or a shape that does not fit its bytes.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise InputError(f"NPY version {version} is not known")
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, kind = read_header(stream)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, TokenError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("not an NPY array") from error
    if kind.kind not in "iuf" or kind.hasobject or kind.subdtype or kind.itemsize > 8:
        raise InputError(f"holds {str(kind)[:40]}, not numbers")
    count = 1
    for length in shape:
        count *= int(length)
    place = stream.tell()
    if not 0 <= count * kind.itemsize <= len(data) - place:
        raise InputError(
            f"the header promises shape {str(shape)[:60]}, but only {len(data) - place:,} bytes "
            "follow: cut off or damaged"
        )
    return np.frombuffer(data, kind, count, place).reshape(shape, order="F" if fortran else "C")


def array_of_points(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """(N, 3) or (H, W, 3) numbers as (N, 3) float64."""
    if values.ndim not in (2, 3) or values.shape[-1] != 3:
        raise InputError(f"points must be (N, 3) or (H, W, 3), got {values.shape}")
    rows: NDArray[np.float64] = values.reshape(-1, 3).astype(np.float64)
    check_count(len(rows), MAX_POINTS, "points")
    return rows
