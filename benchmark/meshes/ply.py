"""PLY, text and binary, clouds and meshes, read in file order and written back losslessly.

Own code, because trimesh refuses faces of mixed size in binary files, splits vertices at texture
seams and takes a text file that was cut off for a shorter one.
"""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.ply_header import TYPES, Element, Header, Property, read_header
from posebench.benchmark.meshes.types import (
    MAX_FACES,
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

STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
NORMALS = ("nx", "ny", "nz")
CORNERS = ("vertex_indices", "vertex_index")


def read_ply(data: bytes) -> MeshData:
    """Vertices and triangulated faces of a PLY file.

    Raises:
        InputError: a header or data that do not fit each other.
    """
    header = read_header(data)
    return read_binary(data, header) if header.order else read_text(data, header)


def read_binary(data: bytes, header: Header) -> MeshData:
    """Tables as numpy sees them; rows of differing length one by one."""
    place, faces = header.start, None
    for element in header.elements:
        if element.name == "vertex":
            kind = row_type(element, header.order)
            if place + element.count * kind.itemsize > len(data):
                raise InputError("the file ends inside its vertices: cut off or damaged")
            vertices, at = np.frombuffer(data, kind, element.count, place), place
            place += vertices.nbytes
        else:
            found, place = read_table(data, place, element, header.order)
            faces = found if element.name == "face" else faces
    points = np.column_stack([vertices[axis].astype(np.float64) for axis in "xyz"])
    end = at + vertices.nbytes

    def rewrite(new: Points) -> bytes:
        moved = without_normals(vertices, header.order)
        for axis, values in zip("xyz", new.T, strict=True):
            moved[axis] = values
        middle = data[header.start : at] + moved.tobytes()
        return b"".join(rewritten_header(header)) + middle + data[end:]

    return mesh_data(points, faces, rewrite)


def row_type(
    element: Element, order: str, lengths: dict[str, int] | None = None
) -> np.dtype[np.void]:
    """Numpy's type of a binary row; lists have the given lengths."""
    fields: list[Any] = []
    for column in element.properties:
        if column.length is None:
            fields.append((column.name, order + column.kind))
        else:
            assert lengths is not None
            fields.append((f"{column.name} length", order + column.length))
            fields.append((column.name, order + column.kind, (lengths[column.name],)))
    return np.dtype(fields)


def without_normals(vertices: NDArray[Any], order: str) -> NDArray[Any]:
    """A copy of the rows without normals and with x, y, z as floating point."""
    names = vertices.dtype.names or ()
    kept = [name for name in names if name not in NORMALS]
    kinds = [vertices.dtype[name] for name in kept]
    fields = [
        (name, kind if name not in "xyz" or kind.kind == "f" else np.dtype(f"{order}f4"))
        for name, kind in zip(kept, kinds, strict=True)
    ]
    result = np.zeros(len(vertices), fields)
    for name in kept:
        result[name] = vertices[name]
    return result


def rewritten_header(header: Header) -> Iterator[bytes]:
    """The header's lines, those of the vertices as :func:`without_normals` leaves them."""
    inside = False
    for line in header.lines:
        words = line.split()
        if words[:1] == [b"element"]:
            inside = words[1] == b"vertex"
        if inside and words[:1] == [b"property"]:
            name, kind = words[2].decode("latin-1"), TYPES[words[1].decode("latin-1")]
            if name in NORMALS:
                continue
            if name in "xyz" and kind[0] != "f":
                line = b"property float " + words[2] + b"\n"
        yield line


def read_table(
    data: bytes, place: int, element: Element, order: str
) -> tuple[Faces | array[int] | None, int]:
    """A table other than the vertices: the triangles in it, if it has any, and where it ends."""
    corners = next((c for c in element.properties if c.name in CORNERS and c.length), None)
    lengths = first_lengths(data, place, element, order)
    if lengths is not None:
        kind = row_type(element, order, lengths)
        end = place + element.count * kind.itemsize
        if end <= len(data):
            rows = np.frombuffer(data, kind, element.count, place)
            if all((rows[f"{name} length"] == n).all() for name, n in lengths.items()):
                return (None if corners is None else fans(rows[corners.name])), end
    triangles = array("q")
    for number in range(element.count):
        for column in element.properties:
            if column.length is None:
                place += int(column.kind[1])
                continue
            length, place = list_length(data, place, column, order)
            size = int(column.kind[1])
            if place + length * size > len(data):
                raise InputError(f"the file ends inside row {number} of {element.name!r}")
            if column is corners:
                found = struct.unpack_from(f"{order}{length}{STRUCT[column.kind]}", data, place)
                add_fan(triangles, [int(corner) for corner in found], f"face {number}")
            place += length * size
    if place > len(data):
        raise InputError(f"the file ends inside table {element.name!r}")
    return triangles, place


def first_lengths(data: bytes, place: int, element: Element, order: str) -> dict[str, int] | None:
    """List lengths of the first row, which most files have in every row; None if it is not there.

    None also for a list that is longer than any face, which takes the careful way.
    """
    lengths: dict[str, int] = {}
    for column in element.properties:
        if column.length is None:
            place += int(column.kind[1])
            continue
        if place + int(column.length[1]) > len(data):
            return None
        lengths[column.name], place = list_length(data, place, column, order)
        place += lengths[column.name] * int(column.kind[1])
        if lengths[column.name] > 255:
            return None
    return lengths


def list_length(data: bytes, place: int, column: Property, order: str) -> tuple[int, int]:
    """A list's length and where its entries start."""
    assert column.length is not None
    size = int(column.length[1])
    if place + size > len(data):
        raise InputError("the file ends inside a list: cut off or damaged")
    (length,) = struct.unpack_from(order + STRUCT[column.length], data, place)
    if length < 0:
        raise InputError(f"a list of {length} entries")
    return int(length), place + size


def fans(polygons: NDArray[np.generic]) -> Faces:
    """Triangles of polygons that all have the same number of corners, (F, c) to (F (c - 2), 3)."""
    count = polygons.shape[1]
    if len(polygons) and count < 3:
        raise InputError(f"a face needs 3 corners, these have {count}")
    check_count(len(polygons) * max(count - 2, 0), MAX_FACES, "triangles")
    whole_numbers = polygons.astype(np.int64)
    parts = [whole_numbers[:, [0, i, i + 1]] for i in range(1, count - 1)]
    return np.stack(parts, axis=1).reshape(-1, 3) if parts else np.zeros((0, 3), np.int64)


def read_text(data: bytes, header: Header) -> MeshData:
    """Tables as lines of numbers, one row each."""
    lines = (
        (number, line.split())
        for number, line in text_lines(data[header.start :], len(header.lines) + 1)
        if line.strip()
    )
    points, triangles = array("d"), array("q")
    for element in header.elements:
        names = [column.name for column in element.properties]
        for _ in range(element.count):
            number, words = next(lines, (0, None))
            if words is None:
                raise InputError(f"the file ends inside table {element.name!r}: cut off or damaged")
            if element.name == "vertex":
                if len(words) < len(names):
                    raise InputError(f"line {number}: {len(words)} of {len(names)} numbers")
                points.extend(numbers([words[names.index(axis)] for axis in "xyz"], number))
            elif element.name == "face":
                polygon = text_corners(words, element, number)
                if polygon is not None:
                    add_fan(triangles, polygon, f"line {number}")
    return mesh_data(points, triangles, lambda new: rewritten_text(data, header, new))


def text_corners(words: list[bytes], element: Element, number: int) -> list[int] | None:
    """The corners in a line of a face; None if the table has none."""
    place = 0
    for column in element.properties:
        if column.length is None:
            place += 1
            continue
        length = whole(words[place], number) if place < len(words) else -1
        entries = words[place + 1 : place + 1 + max(length, 0)]
        if length < 0 or len(entries) < length:
            raise InputError(f"line {number}: a list that is shorter than it says")
        if column.name in CORNERS:
            return [whole(word, number) for word in entries]
        place += 1 + length
    return None


def rewritten_text(data: bytes, header: Header, points: Points) -> bytes:
    """The file with other x, y and z and without normals."""
    vertex = next(e for e in header.elements if e.name == "vertex")
    before = header.elements[: header.elements.index(vertex)]
    first = sum(element.count for element in before)
    names = [column.name for column in vertex.properties]
    result, row = io.BytesIO(b"".join(rewritten_header(header))), 0
    result.seek(0, io.SEEK_END)
    for _, line in text_lines(data[header.start :]):
        words = line.split()
        if words:
            row += 1
        if words and first < row <= first + vertex.count:
            values = dict(zip(names, words, strict=False))
            for axis, value in zip("xyz", points[row - first - 1], strict=True):
                values[axis] = b"%.10g" % value
            line = b" ".join(values[name] for name in names if name not in NORMALS) + b"\n"
        result.write(line)
    return result.getvalue()


def ply_bytes(
    points: Points, faces: Faces | None, more: dict[str, NDArray[np.generic]] | None = None
) -> bytes:
    """A binary PLY of points (N, 3), triangles, and more vertex columns (N,) by name.

    Coordinates are float32 unless the cloud lies so far from its origin that a tenth of a
    millimetre would be lost.
    """
    narrow = np.float32 if np.abs(points).max(initial=0.0) < 1e3 else np.float64
    columns: dict[str, NDArray[np.generic]] = {
        axis: values.astype(narrow) for axis, values in zip("xyz", points.T, strict=True)
    }
    columns |= more or {}
    kinds = {name: values.dtype.newbyteorder("<") for name, values in columns.items()}
    names = {kind: name for name, kind in TYPES.items() if not name[-1].isdigit()}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property {names[kind.str[1:]]} {name}" for name, kind in kinds.items()]
    rows = np.zeros(len(points), list(kinds.items()))
    for name, values in columns.items():
        rows[name] = values
    body = rows.tobytes()
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        table = np.zeros(len(faces), [("length", "u1"), ("corners", "<i4", (3,))])
        table["length"], table["corners"] = 3, faces
        body += table.tobytes()
    return "\n".join([*lines, "end_header", ""]).encode() + body
