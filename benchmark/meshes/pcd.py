"""PCD files (Point Cloud Library, v0.7): ascii, binary and binary_compressed.

Read here, and not by open3d, which is an extra and whose C++ readers trust what a header says.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.types import (
    MAX_POINTS,
    MeshData,
    check_count,
    mesh_data,
    numbers,
    text_lines,
    whole,
)
from posebench.errors import InputError

MAX_HEADER = 2**16
MAX_UNPACKED = 32 * 2**20
"""Bytes of a compressed PCD once unpacked, byte by byte: some seconds at worst."""

KINDS = {("i", 1), ("i", 2), ("i", 4), ("i", 8), ("f", 4), ("f", 8)}
"""Letters and sizes of numbers; unsigned ones as signed."""


@dataclass(frozen=True)
class PcdHeader:
    """What the lines before the data declare, and where the data start in the file.

    Attributes:
        names: of the columns, x, y and z among them.
        counts: numbers in each column.
        kinds: (letter, size in bytes) of each column's numbers.
        rows: number of points.
        form: of the data, such as "binary".
        start: byte at which the data start.
        line: number of the first line of data.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    kinds: tuple[tuple[str, int], ...]
    rows: int
    form: str
    start: int
    line: int


def read_pcd(data: bytes) -> MeshData:
    """Columns x, y and z of a PCD file; the sensor's VIEWPOINT is not applied.

    Raises:
        InputError: a header or data that do not fit each other.
    """
    header = read_header(data)
    if header.form == "ascii":
        return read_text(data[header.start :], header)
    return read_columns(data[header.start :], header)


def read_header(data: bytes) -> PcdHeader:
    """The header, checked by itself.

    Raises:
        InputError: saying what is missing or out of range.
    """
    found: dict[str, list[bytes]] = {}
    place = 0
    for number, line in text_lines(data[:MAX_HEADER]):  # noqa: B007 - data lines count on
        place += len(line)
        words = line.split()
        if words and not words[0].startswith(b"#"):
            found[words[0].decode("latin-1").upper()] = words[1:]
        if "DATA" in found:
            break
    names = [word.decode("latin-1") for word in found.get("FIELDS", [])]
    if "DATA" not in found or not {"x", "y", "z"} <= set(names):
        raise InputError("not a PCD header with FIELDS x, y, z and a line DATA")
    counts = [whole(word, 0) for word in found.get("COUNT", [b"1"] * len(names))]
    sizes = [whole(word, 0) for word in found.get("SIZE", [])]
    kinds = [word.decode("latin-1").lower() for word in found.get("TYPE", [])]
    rows = whole(b"".join(found.get("POINTS", [])), 0)
    check_count(rows, MAX_POINTS, "points")
    if not len(names) == len(counts) == len(sizes) == len(kinds):
        raise InputError("FIELDS, SIZE, TYPE and COUNT of the header differ in length")
    if not all(0 < n <= 2**12 for n in counts) or len(names) > 2**8:
        raise InputError("COUNT of the header is out of range")
    form = b"".join(found["DATA"]).decode("latin-1").lower()
    pairs = tuple(zip(kinds, sizes, strict=True))
    return PcdHeader(tuple(names), tuple(counts), pairs, rows, form, place, number + 1)


def read_columns(body: bytes, header: PcdHeader) -> MeshData:
    """Points of a binary file, compressed or not."""
    if not all((kind.replace("u", "i"), size) in KINDS for kind, size in header.kinds):
        raise InputError("TYPE and SIZE of the header name no kind of number")
    fields = [np.dtype(f"<{kind}{size}") for kind, size in header.kinds]
    widths = [kind.itemsize * n for kind, n in zip(fields, header.counts, strict=True)]
    starts = np.concatenate([[0], np.cumsum(widths)]).tolist()
    rows, row = header.rows, starts[-1]
    if header.form == "binary":
        strides, offsets = [row] * len(fields), starts
    elif header.form == "binary_compressed":
        body = unpacked(body, rows * row)
        strides, offsets = widths, [start * rows for start in starts]  # one column after another
    else:
        raise InputError(
            f"DATA {header.form[:20]!r}: known are ascii, binary and binary_compressed"
        )
    if len(body) < rows * row:
        raise InputError(
            f"the header promises {rows:,} points, but only {len(body):,} bytes follow: cut off "
            "or damaged"
        )
    columns = []
    for axis in "xyz":
        at = header.names.index(axis)
        column: NDArray[np.generic] = np.ndarray(
            rows, fields[at], body, offsets[at], (strides[at],)
        )
        columns.append(column.astype(np.float64))
    return mesh_data(np.column_stack(columns))


def unpacked(body: bytes, size: int) -> bytes:
    """Compressed data after their two sizes, which must fit the header's."""
    if len(body) < 8:
        raise InputError("the file ends inside its points: cut off or damaged")
    packed, promised = np.frombuffer(body, "<u4", 2).tolist()
    if promised != size or packed > len(body) - 8:
        raise InputError("the compressed size does not fit the header")
    return lzf_decompressed(body[8 : 8 + packed], size)


def read_text(data: bytes, header: PcdHeader) -> MeshData:
    """Points of an ascii file."""
    places = [sum(header.counts[: header.names.index(axis)]) for axis in "xyz"]
    rows = header.rows
    points = array("d")
    for number, line in text_lines(data, header.line):
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
