"""Strict readers of triangle meshes: vertex order kept, memory bounded by the file's size.

For data sets of many thousand files, whose vertex order is the correspondence. OBJ: ``v`` and ``f``
lines count, others are passed over. PLY: ASCII or binary, triangles alone.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.errors import InputError

MAX_BYTES = 2**26
MAX_LINES, MAX_LINE = 2_000_000, 4096
MAX_HEADER = 2**16

NUMBERS = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
FACE_LETTERS = b"f0123456789/ \t\r\n"
ENDS = {"binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh as the file has it.

    Attributes:
        vertices: (V, 3), the file's unit.
        faces: (F, 3) vertex numbers from 0; (0, 3) for a point cloud.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def read_mesh(path: Path) -> Mesh:
    """An ``.obj`` or ``.ply`` file.

    Raises:
        InputError: unreadable, cut off, not finite, not of triangles, or over 64 MiB.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        if len(raw) > MAX_BYTES:
            raise InputError(f"over {MAX_BYTES >> 20} MiB")
        if path.suffix not in READERS:
            raise InputError(f"a mesh ends in {' or '.join(READERS)}")
        mesh = READERS[path.suffix](raw)
        if not len(mesh.vertices):
            raise InputError("no vertices")
        if not np.isfinite(mesh.vertices).all():
            raise InputError("coordinates that are not finite")
        if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
            raise InputError(f"faces over other vertices than 1..{len(mesh.vertices)}; cut off?")
    except (InputError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: not a mesh that can be used: {reason}") from error
    return mesh


def _check_lines(text: bytes) -> None:
    """Refuse text that would take far more memory than its size."""
    if len(text) > 2**20 and (
        text.count(b"\n") > MAX_LINES or re.search(rb"[^\n]{%d}" % MAX_LINE, text)
    ):
        raise InputError(f"more than {MAX_LINES} lines, or one of more than {MAX_LINE} characters")


def _obj(raw: bytes) -> Mesh:
    _check_lines(raw)
    head, _, tail = raw.partition(b"\nf ")
    published = head.startswith(b"v ") and head.count(b"\nv ") == head.count(b"\n")
    if not published or tail.translate(None, FACE_LETTERS):
        # Not simply all vertices and then all faces: pick the lines out.
        lines = raw.splitlines()
        head = b"\n".join(line for line in lines if line.startswith(b"v "))
        tail = b"\n".join(line[2:] for line in lines if line.startswith(b"f "))
    return Mesh(_numbers(head, (1, 2, 3)), _faces(tail))


# Every mesh of a data set has the same faces.
@lru_cache(maxsize=4)
def _faces(block: bytes) -> NDArray[np.int64]:
    """Faces from OBJ lines without their ``f``; texture and normal numbers are dropped."""
    plain = re.sub(rb"/\S*", b"", block.replace(b"f ", b""))
    faces = _numbers(plain, None).reshape(-1, 3) if plain.strip() else np.zeros((0, 3))
    if (faces != np.rint(faces)).any() or (abs(faces) > 2**31).any():
        raise InputError("face numbers that are no vertex numbers")
    result = faces.astype(np.int64) - 1
    result.flags.writeable = False
    return result


def _numbers(block: bytes, columns: tuple[int, ...] | None) -> NDArray[np.float64]:
    """Columns of a block of equal lines; (0, 3) if it is empty."""
    if not block.strip():
        return np.zeros((0, 3))
    values = np.loadtxt(io.BytesIO(block), usecols=columns, ndmin=2, comments=None)
    if values.shape[1] != 3:
        raise InputError(f"lines of {values.shape[1]} numbers where 3 belong")
    return values


@dataclass(frozen=True)
class _Element:
    """An element of a PLY header: its properties as (name, type, type of a list's count or "")."""

    name: str
    count: int
    properties: tuple[tuple[str, str, str], ...]

    @property
    def is_list(self) -> bool:
        return any(count for _, _, count in self.properties)


def _ply(raw: bytes) -> Mesh:
    end = raw.find(b"end_header", 0, MAX_HEADER)
    if not raw.startswith(b"ply") or end < 0:
        raise InputError("no PLY header")
    form, elements = _ply_header(raw[:end].decode("ascii", "replace").splitlines())
    body = raw[raw.find(b"\n", end) + 1 :]
    if form == "ascii":
        _check_lines(body)
        return _ply_ascii(body, elements)
    if form not in ENDS:
        raise InputError(f"PLY format {form!r}")
    return _ply_binary(body, elements, ENDS[form])


def _ply_header(lines: list[str]) -> tuple[str, list[_Element]]:
    form, elements = "", list[_Element]()
    for line in lines[1:]:
        words = line.split()
        match words:
            case ["format", name, _]:
                form = name
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                elements.append(_Element(name, int(count), ()))
            case ["property", "list", count, kind, name] if (
                elements and count in NUMBERS and kind in NUMBERS
            ):
                elements[-1] = _with(elements[-1], (name, NUMBERS[kind], NUMBERS[count]))
            case ["property", kind, name] if elements and kind in NUMBERS:
                elements[-1] = _with(elements[-1], (name, NUMBERS[kind], ""))
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise InputError(f"PLY header line {line[:60]!r}")
    return form, elements


def _with(element: _Element, given: tuple[str, str, str]) -> _Element:
    return _Element(element.name, element.count, (*element.properties, given))


def _xyz(element: _Element) -> tuple[int, ...]:
    names = [name for name, _, _ in element.properties]
    if element.is_list or any(names.count(axis) != 1 for axis in "xyz"):
        raise InputError("vertices without x, y and z")
    return tuple(names.index(axis) for axis in "xyz")


def _ply_ascii(body: bytes, elements: list[_Element]) -> Mesh:
    lines = body.splitlines()
    vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    for element in elements:
        part, lines = lines[: element.count], lines[element.count :]
        if len(part) < element.count:
            raise InputError(f"{len(part)} of {element.count} {element.name} lines; cut off?")
        if element.name == "vertex":
            vertices = _numbers(b"\n".join(part), _xyz(element))
        elif element.name == "face" and part:
            _check_face(element)
            table = np.loadtxt(io.BytesIO(b"\n".join(part)), dtype=np.int64, ndmin=2)
            faces = _triangles(table[:, 0], table[:, 1:])
    return Mesh(vertices, faces)


def _ply_binary(body: bytes, elements: list[_Element], end: str) -> Mesh:
    vertices, faces, at = np.zeros((0, 3)), np.zeros((0, 3), np.int64), 0
    for element in elements:
        if element.name == "face":
            _check_face(element)
        elif element.is_list:
            raise InputError(f"lists in {element.name}")
        fields: list[Any] = []
        for number, (_, kind, count) in enumerate(element.properties):
            fields += [(f"n{number}", end + count)] if count else []
            fields.append((f"p{number}", end + kind, 3) if count else (f"p{number}", end + kind))
        record = np.dtype(fields)
        if at + element.count * record.itemsize > len(body):
            raise InputError(f"ends within its {element.count} {element.name}s; cut off?")
        table = np.frombuffer(body, record, element.count, at)
        at += element.count * record.itemsize
        if element.name == "vertex":
            columns = [table[f"p{column}"] for column in _xyz(element)]
            vertices = np.stack(columns, axis=1).astype(np.float64)
        elif element.name == "face":
            faces = _triangles(table["n0"], table["p0"])
    return Mesh(vertices, faces)


def _check_face(element: _Element) -> None:
    if not element.properties or not element.properties[0][2]:
        raise InputError("faces whose first property is no list")
    if sum(bool(count) for _, _, count in element.properties) > 1:
        raise InputError("faces of several lists")


def _triangles(corners: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.int64]:
    if (corners != 3).any():
        raise InputError("faces that are not triangles")
    return numbers[:, :3].astype(np.int64)


READERS = {".obj": _obj, ".ply": _ply}
