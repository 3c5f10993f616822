"""Files of points: XYZ, PCD, NPY and NPZ (which may hold faces too).

Scanners mark a pixel without measurement by NaN; those rows come back as they are, and
``mesh_files`` decides. PCD (Point Cloud Library, v0.7) is read here, and not by open3d, which is
an extra and whose C++ readers trust what a header says.
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
    whole,
)
from posebench.errors import InputError

POINT_NAMES = ("points", "vertices", "verts", "xyz", "v")
FACE_NAMES = ("faces", "triangles", "f")

MAX_UNPACKED = 32 * 2**20
"""Bytes of a compressed PCD once unpacked, byte by byte: some seconds at worst."""

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


def read_pcd(data: bytes) -> MeshData:
    """Columns x, y and z of a PCD file, whose data may be ascii, binary or binary_compressed.

    The sensor's VIEWPOINT is not applied.

    Raises:
        InputError: a header or data that do not fit each other.
    """
    header: dict[str, list[bytes]] = {}
    place = 0
    for number, line in text_lines(data[: 2**16]):  # noqa: B007 - data lines count on
        place += len(line)
        words = line.split()
        if words and not words[0].startswith(b"#"):
            header[words[0].decode("latin-1").upper()] = words[1:]
        if "DATA" in header:
            break
    names = [word.decode("latin-1") for word in header.get("FIELDS", [])]
    if "DATA" not in header or not {"x", "y", "z"} <= set(names):
        raise InputError("not a PCD header with FIELDS x, y, z and a line DATA")
    counts = [whole(word, 0) for word in header.get("COUNT", [b"1"] * len(names))]
    sizes = [whole(word, 0) for word in header.get("SIZE", [])]
    kinds = [word.decode("latin-1").lower() for word in header.get("TYPE", [])]
    rows = whole(b"".join(header.get("POINTS", [])), 0)
    check_count(rows, MAX_POINTS, "points")
    if not len(names) == len(counts) == len(sizes) == len(kinds):
        raise InputError("FIELDS, SIZE, TYPE and COUNT of the header differ in length")
    if not all(0 < n <= 2**12 for n in counts) or len(names) > 2**8:
        raise InputError("COUNT of the header is out of range")
    form = b"".join(header["DATA"]).decode("latin-1").lower()
    if form == "ascii":
        places = [sum(counts[: names.index(axis)]) for axis in "xyz"]
        return pcd_text(data[place:], rows, places, number + 1)
    known = {("i", 1), ("i", 2), ("i", 4), ("i", 8), ("f", 4), ("f", 8)}
    if not all((k.replace("u", "i"), s) in known for k, s in zip(kinds, sizes, strict=True)):
        raise InputError("TYPE and SIZE of the header name no kind of number")
    fields = [np.dtype(f"<{k}{s}") for k, s in zip(kinds, sizes, strict=True)]
    widths = [kind.itemsize * n for kind, n in zip(fields, counts, strict=True)]
    starts = np.concatenate([[0], np.cumsum(widths)]).tolist()
    body = data[place:]
    if form == "binary":
        strides, offsets = [starts[-1]] * len(names), starts
    elif form == "binary_compressed":
        if len(body) < 8:
            raise InputError("the file ends inside its points: cut off or damaged")
        packed, unpacked = np.frombuffer(body, "<u4", 2).tolist()
        if unpacked != rows * starts[-1] or packed > len(body) - 8:
            raise InputError("the compressed size does not fit the header")
        body = lzf_decompressed(body[8 : 8 + packed], unpacked)
        strides, offsets = widths, [start * rows for start in starts]  # one column after another
    else:
        raise InputError(f"DATA {form[:20]!r}: known are ascii, binary and binary_compressed")
    if len(body) < rows * starts[-1]:
        raise InputError(
            f"the header promises {rows:,} points, but only {len(body):,} bytes follow: cut off "
            "or damaged"
        )
    columns = []
    for axis in "xyz":
        field = names.index(axis)
        column: NDArray[np.generic] = np.ndarray(
            rows, fields[field], body, offsets[field], (strides[field],)
        )
        columns.append(column.astype(np.float64))
    return mesh_data(np.column_stack(columns))


def pcd_text(data: bytes, rows: int, places: list[int], first: int) -> MeshData:
    """Points of an ascii PCD file; ``places`` are the columns of x, y and z."""
    points = array("d")
    for number, line in text_lines(data, first):
        words = line.split()
        if not words:
            continue
        if len(words) <= max(places):
            raise InputError(f"line {number}: only {len(words)} numbers")
        points.extend(numbers([words[place] for place in places], number))
        check_count(len(points) // 3, rows, f"points where the header promises {rows:,}")
    if len(points) != 3 * rows:
        raise InputError(f"{len(points) // 3:,} points where the header promises {rows:,}: cut off")
    return mesh_data(points)


def lzf_decompressed(data: bytes, size: int) -> bytes:
    """LZF as PCL uses it: runs of literals, and copies of what came ``offset`` bytes before.

    Raises:
        InputError: data that do not unpack to ``size`` bytes, or more than may be read.
    """
    if size > MAX_UNPACKED:
        raise InputError(f"{size:,} bytes unpacked; save it as DATA binary to read it")
    result = bytearray()
    place = 0
    try:
        while place < len(data) and len(result) <= size:
            control = data[place]
            place += 1
            if control < 32:
                result += data[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[place]
                place += 1
            offset = ((control & 31) << 8 | data[place]) + 1
            place += 1
            start, length = len(result) - offset, length + 2
            if start < 0:
                raise IndexError
            piece = bytes(result[start : start + length])
            result += (piece * (length // len(piece) + 1))[:length]  # a copy may overlap itself
    except IndexError as error:
        raise InputError("the compressed points are damaged") from error
    if len(result) != size:
        raise InputError("the compressed points are damaged")
    return bytes(result)


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
