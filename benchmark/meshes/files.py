"""Anybody's meshes and clouds: read in file order, brought to metres and y up, and written back.

Data sets of many thousand files are read here too (:func:`read_data`), in their own frame.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.frame import Frame
from posebench.benchmark.meshes.obj import read_obj
from posebench.benchmark.meshes.pcd import read_pcd
from posebench.benchmark.meshes.ply import ply_bytes, read_ply
from posebench.benchmark.meshes.points import read_npy, read_npz, read_xyz
from posebench.benchmark.meshes.trimesh_io import mesh_bytes, read_glb, read_off, read_stl
from posebench.benchmark.meshes.types import MAX_BYTES, Faces, MeshData, Points
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.registry import unknown

READERS: dict[str, Callable[[bytes], MeshData]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".off": read_off,
    ".stl": read_stl,
    ".glb": read_glb,
    ".npz": read_npz,
    ".npy": read_npy,
    ".xyz": read_xyz,
    ".pcd": read_pcd,
}
WRITTEN = (".obj", ".ply", ".off", ".stl", ".glb", ".npz", ".npy", ".xyz")
CLOUDS_WRITTEN = (".ply", ".npz", ".npy", ".xyz")
DISPLACED = (".ply", ".npz")

MIN_POINTS = 100
"""Fewer describe no body."""

MAX_COORDINATE = 1e9
"""In file units; larger numbers are damage, and their squares are infinite in float32 soon."""


@dataclass(frozen=True)
class MeshFile:
    """A file's mesh or cloud in metres and our axes, and what writing it back needs.

    Attributes:
        path: where it came from.
        points: (N, 3) float64 metres, in the file's order.
        faces: (F, 3) triangles, None for a cloud.
        frame: the file's units and axes.
        rewrite: see :class:`MeshData`.
        notes: what a user should know, such as points that were left out.
    """

    path: Path
    points: Points
    faces: Faces | None
    frame: Frame
    rewrite: Callable[[Points], bytes] | None = None
    notes: tuple[str, ...] = ()


def read_mesh(path: Path, frame: Frame | None = None, *, gaps: bool = False) -> MeshFile:
    """A mesh or cloud by its file name's ending; see ``READERS``.

    ``gaps`` allows a cloud to have points without measurement, which are left out and noted: NaN
    or infinite ones and, if there are several, those at exactly (0, 0, 0), as depth cameras
    write them.

    Raises:
        InputError: a file that cannot be read, is no such file, holds no body, or is too large.
    """
    frame = frame or Frame()
    found, notes = _checked(path, gaps=gaps)
    if len(found.points) < MIN_POINTS:
        raise InputError(f"{path}: {len(found.points)} points, a body needs at least {MIN_POINTS}")
    points = frame.inwards(found.points)
    return MeshFile(path, points, found.faces, frame, found.rewrite, notes)


def read_data(path: Path) -> MeshData:
    """What a file of a data set holds, in its own units and axes.

    Raises:
        InputError: a file that cannot be read, is no such file, is damaged or too large.
    """
    return _checked(path, gaps=False)[0]


def _checked(path: Path, *, gaps: bool) -> tuple[MeshData, tuple[str, ...]]:
    """Points and faces that arithmetic may see, and notes about points that were left out."""
    ending = path.suffix.lower()
    if ending not in READERS:
        raise unknown("file ending", ending, READERS)
    raw = read_bytes(path)
    try:
        found = parsed(ending, raw)
        found, notes = without_gaps(found) if gaps and found.faces is None else (found, ())
        check_numbers(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return found, notes


def parsed(ending: str, raw: bytes) -> MeshData:
    """What a file's bytes hold; numpy's warnings about damaged numbers are not for the user."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return READERS[ending](raw)


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes.

    Raises:
        InputError: missing, not a regular file (a pipe would wait forever), empty or too large.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: not a regular file")
        if about.st_size == 0:
            raise InputError(f"{path}: an empty file")
        if about.st_size > MAX_BYTES:
            raise InputError(
                f"{path}: {about.st_size:,} bytes; at most {MAX_BYTES:,} are read, so thin it first"
            )
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"cannot read {path}: {reason}") from error


def without_gaps(found: MeshData) -> tuple[MeshData, tuple[str, ...]]:
    """A cloud without its points without measurement, and a note that says how many."""
    finite = np.asarray(np.isfinite(found.points).all(axis=1))
    origin = np.asarray((found.points == 0).all(axis=1))
    kept = finite & ~origin if origin.sum() > 1 else finite
    lost = len(kept) - int(kept.sum())
    if lost == 0:
        return found, ()
    note = f"{lost:,} of {len(kept):,} points hold no measurement (NaN or 0 0 0) and are left out"
    return replace(found, points=found.points[kept], rewrite=None), (note,)


def check_numbers(found: MeshData) -> None:
    """Refuse what no arithmetic should see.

    Raises:
        InputError: coordinates that are not finite or huge, faces out of range.
    """
    points, faces = found.points, found.faces
    good = np.asarray((np.abs(points) <= MAX_COORDINATE).all(axis=1))
    if not good.all():
        at = int(good.argmin())
        shown = " ".join(f"{value:g}" for value in points[at])
        raise InputError(f"point {at} is {shown}: not finite, or too large to be a coordinate")
    if faces is not None and not (faces.min() >= 0 and faces.max() < len(points)):
        at = int(((faces < 0) | (faces >= len(points))).any(axis=1).argmax())
        raise InputError(f"face {at} names a vertex that is not there ({len(points)} vertices)")


# ---- writing


def check_ending(path: Path, known: tuple[str, ...], faces: bool = True) -> None:
    """Raise InputError now if results cannot be written under this name."""
    if path.suffix.lower() not in known:
        raise unknown("file ending", path.suffix.lower(), known)
    if not faces and path.suffix.lower() not in CLOUDS_WRITTEN:
        raise InputError(
            f"{path}: the identity has no faces; a cloud is written as {', '.join(CLOUDS_WRITTEN)}"
        )


def write_mesh(path: Path, points: Points, like: MeshFile) -> tuple[str, ...]:
    """Write points (N, 3), metres in our axes, as a mesh like another; returns notes.

    In the other's own format only the points change: materials, texture coordinates and colours
    stay, normals are left out or made new. In another format only points and faces are written,
    in the other's units and axes but for GLB, which is metres and y up by its standard.

    Raises:
        InputError: if the file cannot be written, or faces are missing that the format needs.
    """
    ending = path.suffix.lower()
    check_ending(path, WRITTEN, like.faces is not None)
    if like.rewrite is not None and ending == like.path.suffix.lower():
        write_atomically(path, like.rewrite(like.frame.outwards(points)))
        return ()
    placed = points if ending == ".glb" else like.frame.outwards(points)
    write_atomically(path, mesh_file(ending, placed, like.faces))
    if like.rewrite is None:
        return ()
    return (f"{path}: points and faces alone; textures stay in the identity's own format",)


def mesh_file(ending: str, points: Points, faces: Faces | None) -> bytes:
    """Points and faces in any written format."""
    if ending in (".obj", ".off", ".stl", ".glb"):
        assert faces is not None
        return mesh_bytes(points, faces, ending[1:])
    if ending == ".ply":
        return ply_bytes(points, faces)
    if ending == ".npz":
        return npz_bytes(points=points, faces=faces)
    stream = io.BytesIO()
    if ending == ".npy":
        np.save(stream, points)
    else:
        np.savetxt(stream, points, fmt="%.10g")
    return stream.getvalue()


def write_displaced(
    path: Path,
    points: Points,
    faces: Faces | None,
    moved: NDArray[np.float32],
    colours: NDArray[np.uint8],
) -> None:
    """An adversarial cloud in file coordinates, with how far each point moved.

    PLY has columns x, y, z, red, green, blue and displacement (metres); NPZ has arrays points,
    displacement (N,) and, for a mesh, faces.
    """
    check_ending(path, DISPLACED)
    if path.suffix.lower() == ".ply":
        more = dict(zip(("red", "green", "blue"), colours.T, strict=True))
        write_atomically(path, ply_bytes(points, faces, {**more, "displacement": moved}))
        return
    write_atomically(path, npz_bytes(points=points, displacement=moved, faces=faces))


def npz_bytes(**arrays: NDArray[Any] | None) -> bytes:
    """An NPZ archive of the arrays that there are."""
    stream = io.BytesIO()
    there: dict[str, Any] = {name: values for name, values in arrays.items() if values is not None}
    np.savez(stream, **there)
    return stream.getvalue()
