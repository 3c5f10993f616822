"""The header of a PLY file: what its tables hold, compared with the bytes that follow."""

from __future__ import annotations

from dataclasses import dataclass

from posebench.benchmark.meshes.types import MAX_POINTS, check_count, text_lines, whole
from posebench.errors import InputError

MAX_HEADER = 2**16
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """A column: its numpy type and, for a list, that of its length."""

    name: str
    kind: str
    length: str | None = None

    @property
    def least(self) -> int:
        """Bytes that the column takes at least in a binary row."""
        return int((self.length or self.kind)[1])


@dataclass(frozen=True)
class Element:
    """A table of the file: its name, its number of rows and its columns."""

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def lists(self) -> bool:
        """Whether rows can differ in length."""
        return any(column.length for column in self.properties)


@dataclass(frozen=True)
class Header:
    """Lines before the data, what they declare, and where the data start in the file."""

    lines: list[bytes]
    order: str
    elements: list[Element]
    start: int


def read_header(data: bytes) -> Header:
    """The header, its counts compared with the bytes that follow.

    Raises:
        InputError: naming the line that is wrong.
    """
    if not data.startswith(b"ply"):
        raise InputError("does not start with 'ply'")
    lines: list[bytes] = []
    elements: list[Element] = []
    order, place = None, 0
    for number, line in text_lines(data[:MAX_HEADER]):
        lines.append(line)
        place += len(line)
        words = line.decode("latin-1").split()
        if words[:1] == ["end_header"]:
            break
        if words[:1] == ["format"] and len(words) > 1:
            order = FORMATS.get(words[1])
        elif words[:1] == ["element"] and len(words) == 3:
            elements.append(Element(words[1], whole(words[2].encode(), number), ()))
        elif words[:1] == ["property"]:
            if not elements:
                raise InputError(f"line {number}: a property before any element")
            last = elements.pop()
            columns = (*last.properties, read_property(words, number))
            elements.append(Element(last.name, last.count, columns))
        elif words[:1] not in ([], ["ply"], ["comment"], ["obj_info"]):
            raise InputError(f"line {number}: no line of a PLY header")
    else:
        raise InputError("the header has no end ('end_header')")
    if order is None:
        raise InputError("the header names no known format (ascii or binary)")
    check_elements(elements, order, len(data) - place)
    return Header(lines, order, elements, place)


def read_property(words: list[str], number: int) -> Property:
    """``property float x`` or ``property list uchar int vertex_indices``."""
    kinds = [TYPES.get(word) for word in words[1:-1]]
    if len(words) == 3 and kinds[0]:
        return Property(words[2], kinds[0])
    if len(words) == 5 and words[1] == "list" and kinds[1] and kinds[2] and kinds[1][0] in "iu":
        return Property(words[4], kinds[2], kinds[1])
    raise InputError(f"line {number}: no property of a PLY header")


def check_elements(elements: list[Element], order: str, size: int) -> None:
    """Refuse tables that are missing, doubled, or longer than ``size`` bytes can hold."""
    names = [element.name for element in elements]
    if len(set(names)) < len(names) or names.count("vertex") != 1:
        raise InputError("the header must declare one table 'vertex' and none twice")
    for element in elements:
        columns = [column.name for column in element.properties]
        if not columns or len(set(columns)) < len(columns):
            raise InputError(f"table {element.name!r} has no columns or one of them twice")
        least = sum(column.least if order else 2 for column in element.properties)
        # Text needs a digit and a blank per number, but may end without the last one.
        if not 0 <= element.count * least <= size + 1:
            raise InputError(
                f"the header promises {element.count:,} rows of {element.name!r}, but only "
                f"{max(size, 0):,} bytes follow: cut off or damaged"
            )
    vertex = elements[names.index("vertex")]
    if vertex.lists or not {"x", "y", "z"} <= {column.name for column in vertex.properties}:
        raise InputError("the vertices must have columns x, y and z and no lists")
    check_count(vertex.count, MAX_POINTS, "vertices")
