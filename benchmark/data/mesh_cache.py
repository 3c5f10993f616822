"""A folder of meshes of one topology, converted once into one memory-mapped file.

Reading 24,000 text files takes minutes, mapping one array nothing. The cache stands in
``.posebench`` beside the meshes, or below ``POSEBENCH_CACHE`` where the data are read-only:
``meshes-<key>.npy`` float32 (meshes, vertices, 3), ``faces-<key>.npy`` and ``index-<key>.json``,
written last. The key is a hash of the files' names, sizes and times, so other files make another
cache. Times are those of content and of entry (mtime and ctime): an archive or a copy may set the
first to what the file before it had, nobody sets the second. A needless conversion costs a minute
and a half, a stale one a wrong number.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.files import read_data
from posebench.benchmark.meshes.types import Faces, Points
from posebench.errors import InputError
from posebench.files import write_atomically

SCHEMA = "posebench/meshes/2"
CACHE_VARIABLE = "POSEBENCH_CACHE"

BODY_SIDES = (0.5, 3.0)
"""Largest side of a body's bounding box in metres; others are in another unit."""


@dataclass(frozen=True)
class MeshTable:
    """Meshes of one topology.

    Attributes:
        vertices: (M, V, 3) float32, mapped from the file.
        faces: (F, 3) int64.
        path: the mapped file.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    path: Path


def open_meshes(
    files: Sequence[Path],
    *,
    progress: Callable[[int], None] | None = None,
) -> MeshTable:
    """The meshes of these files of one folder, in this order; converted first if need be.

    A conversion that was stopped goes on where it was. ``progress`` is called with the number of
    meshes done.

    Raises:
        InputError: a file that cannot be read, has another topology or is not in metres; no room.
    """
    folder = cache_folder(files[0].parent)
    try:
        told = [_told(path) for path in files]
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    key = hashlib.sha256(json.dumps([SCHEMA, told]).encode()).hexdigest()[:16]
    found = _opened(folder, key, len(files))
    if found is None:
        convert(files, folder, key, progress or (lambda _: None))
        found = _opened(folder, key, len(files))
    if found is None:
        raise InputError(f"{folder}: the converted meshes cannot be read; remove the folder")
    return found


def _told(path: Path) -> tuple[str, int, int, int]:
    """What tells a file from another one of its name, without reading it."""
    about = path.stat()
    return path.name, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def cache_folder(source: Path) -> Path:
    """Where the meshes of a folder are kept."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen) / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]
    return source / ".posebench"


def convert(files: Sequence[Path], folder: Path, key: str, progress: Callable[[int], None]) -> None:
    """Append mesh after mesh to a part file, then rename it; see :func:`open_meshes`."""
    first, topology = body_mesh(files[0])
    row = first.astype("<f4").nbytes
    head = _header((len(files), *first.shape))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"meshes-{key}.part"
        with part.open("ab") as stream:
            _lock(stream, part)
            done = max(0, stream.tell() - len(head)) // row
            stream.truncate(len(head) + done * row if done else 0)
            _check_room(folder, (len(files) - done) * row)
            if not done:
                stream.write(head)
            progress(done)
            for path in files[done:]:
                points = _same_topology(path, len(first), topology)
                stream.write(points.astype("<f4").tobytes())
                progress(1)
            stream.flush()
            os.fsync(stream.fileno())
            part.replace(part.with_suffix(".npy"))
        faces = io.BytesIO()
        np.save(faces, topology)
        write_atomically(folder / f"faces-{key}.npy", faces.getvalue())
        index = {"schema": SCHEMA, "files": [path.name for path in files]}
        write_atomically(folder / f"index-{key}.json", json.dumps(index, indent=0) + "\n")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot keep the converted meshes here ({error.strerror or error}); name "
            f"another folder in {CACHE_VARIABLE}"
        ) from error
    for old in folder.iterdir():  # of files that have changed since
        if old.name.startswith(("meshes-", "faces-", "index-")) and key not in old.name:
            with suppress(OSError):
                old.unlink()


def body_mesh(path: Path) -> tuple[Points, Faces]:
    """Vertices (V, 3) and faces (F, 3) of a mesh that is a body in metres.

    Raises:
        InputError: not a mesh, without faces, or of a size that no body has in metres.
    """
    mesh = read_data(path)
    if mesh.faces is None:
        raise InputError(f"{path}: no faces")
    check_metres(mesh.points, str(path), BODY_SIDES)
    return mesh.points, mesh.faces


def check_metres(
    points: NDArray[np.float64] | NDArray[np.float32], where: str, sides: tuple[float, float]
) -> None:
    """Raise InputError unless the longest side of the bounding box is in the range, metres."""
    side = float((points.max(axis=0) - points.min(axis=0)).max())
    if not sides[0] <= side <= sides[1]:
        guess = " (millimetres?)" if 1000 * sides[0] <= side <= 1000 * sides[1] else ""
        raise InputError(
            f"{where}: longest side {side:.4g}, expected {sides[0]:g} to {sides[1]:g} metres{guess}"
        )


def _same_topology(path: Path, count: int, faces: Faces) -> Points:
    points, own = body_mesh(path)
    if len(points) != count:
        raise InputError(f"{path}: {len(points)} vertices, the others have {count}")
    if not np.array_equal(own, faces):
        raise InputError(f"{path}: other faces than the meshes before it, so no correspondence")
    return points


def _opened(folder: Path, key: str, count: int) -> MeshTable | None:
    """The finished cache, None where there is none or it is damaged."""
    path = folder / f"meshes-{key}.npy"
    if not (folder / f"index-{key}.json").is_file():
        return None
    try:
        vertices = np.load(path, mmap_mode="r", allow_pickle=False)
        faces = np.load(folder / f"faces-{key}.npy", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if vertices.dtype != np.float32 or vertices.ndim != 3 or vertices.shape[0] != count:
        return None
    return MeshTable(vertices, faces, path)


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


def _lock(stream: BinaryIO, part: Path) -> None:
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{part}: another process is converting these meshes; wait") from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder}: the converted meshes need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            f"free; name another folder in {CACHE_VARIABLE}"
        )
