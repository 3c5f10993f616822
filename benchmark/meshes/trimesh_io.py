"""OFF, STL and GLB through trimesh, and every format that a result is converted to.

trimesh meets files from anywhere and may raise anything, so whatever it raises becomes one
:class:`InputError`; its log is silenced, because it would break that one line. Sizes are checked
before it sees a file.
"""

from __future__ import annotations

import io
import json
import logging
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from posebench.benchmark.meshes.types import (
    MAX_FACES,
    MAX_POINTS,
    Faces,
    MeshData,
    Points,
    check_count,
    mesh_data,
)
from posebench.errors import InputError

MAX_SHORT_TEXT = 32 * 2**20
"""Bytes of an OFF or text STL file, of which trimesh makes up to thirty times as much."""

MAX_NODES = 4096
MAX_JSON = 16 * 2**20
OFF_HEADER = re.compile(rb"(?:\s|#[^\n]*\n)*[STCN]{0,4}OFF(?:\s|#[^\n]*\n)+(\d{1,12})\s+\d{1,12}\b")
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


@contextmanager
def through_trimesh(verb: str) -> Iterator[None]:
    """Silence trimesh and turn whatever it raises into InputError: it cannot read, or write."""
    log = logging.getLogger("trimesh")  # its own loggers take their level from this one
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except (InputError, ModuleNotFoundError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"trimesh cannot {verb} it ({type(error).__name__}: {reason})") from error
    finally:
        log.setLevel(before)


def read_off(data: bytes) -> MeshData:
    """OFF, also with colours, normals or texture coordinates (STCNOFF), which are dropped.

    Polygons become triangles.
    """
    check_text(data)
    header = OFF_HEADER.match(data)
    if header is None:
        raise InputError("not an OFF file: no line 'OFF' and counts of vertices and faces")
    found = load_mesh(data, "off")
    if len(found.points) != int(header[1]):
        raise InputError(
            f"{len(found.points):,} vertices where the header promises {int(header[1]):,}"
        )
    return found


def read_stl(data: bytes) -> MeshData:
    """STL, text or binary: three points per triangle, so every corner of the mesh comes often."""
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else 0
    if len(data) == 84 + 50 * count:
        check_count(3 * count, MAX_POINTS, "corners of triangles")
        return load_mesh(data, "stl")
    if not data.lstrip()[:5].lower() == b"solid":
        raise InputError("the size does not fit the number of triangles: cut off or damaged")
    check_text(data)
    return load_mesh(data, "stl")


def check_text(data: bytes) -> None:
    """Refuse text that would take too much memory."""
    if len(data) > MAX_SHORT_TEXT:
        raise InputError(
            f"{len(data):,} bytes of text, at most {MAX_SHORT_TEXT:,} are read; save it as PLY"
        )


def load_mesh(data: bytes, kind: str) -> MeshData:
    """What trimesh finds, its vertices neither merged nor reordered."""
    return joined(loaded_parts(data, kind))


def loaded_parts(data: bytes, kind: str) -> list[Any]:
    """The meshes (or else the clouds) of a file in its order, each where its scene puts it.

    Raises:
        InputError: whatever trimesh has against the file, or nothing in it.
    """
    import trimesh

    with through_trimesh("read"):
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False)
        places: dict[Any, list[Any]] = {}
        for node in scene.graph.nodes_geometry:
            transform, name = scene.graph[node]
            places.setdefault(name, []).append(transform)
        for wanted in (trimesh.Trimesh, trimesh.PointCloud):
            parts = [
                geometry.copy().apply_transform(transform)
                for name, geometry in scene.geometry.items()
                if isinstance(geometry, wanted)
                for transform in places.get(name, [])
            ]
            if parts:
                return parts
    raise InputError("no mesh in it")


def joined(parts: list[Any]) -> MeshData:
    """Meshes or clouds one after another.

    Raises:
        InputError: more than may be read, or vertices that are not (N, 3).
    """
    with through_trimesh("read"):
        check_count(sum(len(part.vertices) for part in parts), MAX_POINTS, "vertices")
        check_count(sum(len(getattr(part, "faces", ())) for part in parts), MAX_FACES, "triangles")
        points = [np.asarray(part.vertices, dtype=np.float64) for part in parts]
        if any(rows.ndim != 2 or rows.shape[1] != 3 for rows in points):
            raise InputError("its vertices have no three coordinates")
        starts = np.cumsum([0, *map(len, points)])
        faces = [
            np.asarray(part.faces, dtype=np.int64).reshape(-1, 3) + start
            for part, start in zip(parts, starts, strict=False)
            if hasattr(part, "faces")
        ]
        corners = np.concatenate(faces) if faces else np.zeros((0, 3), np.int64)
        return mesh_data(np.concatenate(points), corners)


# ---- GLB


def read_glb(data: bytes) -> MeshData:
    """All meshes of a binary glTF, each where the scene puts it, one after another.

    A rewritten file keeps materials and texture coordinates; bones, morph targets and animations
    are dropped, because they belong to the old points.

    Raises:
        InputError: no GLB, one that promises more than it holds, or a compressed one.
    """
    check_glb(data)
    # Without triangles a part is not written again.
    parts = [part for part in loaded_parts(data, "glb") if len(getattr(part, "faces", "cloud"))]
    if not parts:
        raise InputError("no mesh in it")
    found = joined(parts)

    def rewrite(new: Points) -> bytes:
        import trimesh

        moved, start = [part.copy() for part in parts], 0
        for part in moved:
            stop = start + len(part.vertices)
            part.vertices = new[start:stop]
            start = stop
        return exported(trimesh.Scene(moved), "glb", include_normals=True)

    return MeshData(found.points, found.faces, rewrite)


def check_glb(data: bytes) -> None:
    """Refuse a GLB whose lists name more numbers than the file holds, or whose nodes run in rings.

    Raises:
        InputError: saying what is wrong.
    """
    if len(data) < 20 or data[:4] != b"glTF":
        raise InputError("not a GLB file (binary glTF 2.0)")
    version, length, size, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2 or kind != 0x4E4F534A:
        raise InputError("not a GLB file (binary glTF 2.0)")
    if length > len(data) or 20 + size > len(data):
        raise InputError("shorter than its header says: cut off or damaged")
    if size > MAX_JSON:
        raise InputError(f"its JSON part of {size:,} bytes is too large")
    try:
        header = json.loads(data[20 : 20 + size])
        check_glb_lists(header, len(data))
        check_glb_nodes(header)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"its JSON part is damaged ({str(error)[:60]})") from error


def check_glb_lists(header: dict[str, Any], size: int) -> None:
    """Counts of accessors, views and drawn primitives against the file's size."""
    used = " ".join(header.get("extensionsUsed", []))
    if "draco" in used or "meshopt" in used:
        raise InputError(f"compressed ({used[:60]}); save it without compression")
    accessors = header.get("accessors", [])
    values = [whole(a["count"]) * COMPONENTS[a["type"]] for a in accessors]
    views = [whole(view["byteLength"]) for view in header.get("bufferViews", [])]
    if sum(values) > 4 * size or sum(views) > 4 * size:
        raise InputError("its lists promise more numbers than the file can hold")
    drawn, primitives = 0, 0
    weight = []
    for mesh in header.get("meshes", []):
        parts = mesh["primitives"]
        primitives += len(parts)
        indexed = [p["indices"] for p in parts if "indices" in p]
        placed = [p["attributes"]["POSITION"] for p in parts]
        weight.append(sum(whole(accessors[i]["count"]) for i in [*indexed, *placed]))
    for node in header.get("nodes", []):
        if "mesh" in node:
            drawn += weight[whole(node["mesh"])]
    check_count(max(drawn, sum(weight)), MAX_POINTS + 3 * MAX_FACES, "vertices and corners")
    check_count(primitives, MAX_NODES, "meshes")


def check_glb_nodes(header: dict[str, Any]) -> None:
    """The nodes must be few and no node the child of two, so that none is its own ancestor."""
    nodes = header.get("nodes", [])
    check_count(len(nodes), MAX_NODES, "nodes")
    children = [whole(child) for node in nodes for child in node.get("children", [])]
    roots = [whole(root) for scene in header.get("scenes", []) for root in set(scene["nodes"])]
    if len(set(children)) < len(children) or set(children) & set(roots):
        raise InputError("a node of its scene has two parents")


def whole(value: object) -> int:
    """A count in JSON: an integer from zero on."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


# ---- writing


def exported(thing: Any, kind: str, **options: Any) -> bytes:
    """What trimesh writes for a mesh, cloud or scene, as bytes."""
    with through_trimesh("write"):
        written = thing.export(file_type=kind, **options)
    return written.encode() if isinstance(written, str) else bytes(written)


def mesh_bytes(points: Points, faces: Faces, kind: str) -> bytes:
    """A mesh in a format of trimesh's: obj, off, stl or glb."""
    import trimesh

    return exported(trimesh.Trimesh(points, faces, process=False), kind)
