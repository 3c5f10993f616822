"""Dynamic FAUST (Bogo et al., 2017): registrations in HDF5, raw scans paired with them by order.

``registrations_m.hdf5`` and ``registrations_f.hdf5`` hold a data set ``{subject}_{sequence}`` of
shape (V, 3, T) per recording, and ``faces``. The scans of a recording are
``scans/{subject}/{sequence}/{sequence}.{frame:06}.ply``; the i-th in sorted order belongs to the
i-th registration. Read with h5py (extra ``dfaust``), frame by frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.data.layouts import Key, folders_below
from posebench.benchmark.data.mesh_cache import BODY_SIDES, check_metres
from posebench.errors import InputError

FILES = ("registrations_m.hdf5", "registrations_f.hdf5")
RECORDING = re.compile(r"(?P<subject>\d{5})_(?P<sequence>\w+)")
MAX_CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Recording:
    """One sequence of one subject: where it is, and how many frames of how many vertices."""

    subject: str
    sequence: str
    file: Path
    vertices: int
    frames: int


@dataclass(frozen=True)
class Dfaust:
    """The registrations on disk, and the folder of raw scans where there is one.

    Attributes:
        recordings: (subject, sequence) -> recording, sorted.
        faces: (F, 3) triangles, the same in all files.
        scans: the folder ``scans``, or None.
    """

    recordings: dict[Key, Recording]
    faces: NDArray[np.int64]
    scans: Path | None

    def vertices(self, keys: Sequence[Key]) -> NDArray[np.float32]:
        """(B, V, 3) registrations, metres, of (subject, sequence, frame) keys."""
        rows = []
        for subject, sequence, frame in keys:
            recording = self.recordings[subject, sequence]
            with _opened(recording.file) as file:
                points = np.asarray(file[f"{subject}_{sequence}"][:, :, frame], np.float32)
            where = f"{recording.file}: {subject}_{sequence}, frame {frame}"
            if not np.isfinite(points).all():
                raise InputError(f"{where}: coordinates that are not finite")
            check_metres(points, where, BODY_SIDES)
            rows.append(points)
        return np.stack(rows)

    def scans_of(self, recording: Recording) -> list[Path]:
        """The recording's raw scans in order, one per frame; empty if there are none on disk.

        Raises:
            InputError: their number is not that of the registrations, so the pairing is unknown.
        """
        if self.scans is None:
            return []
        folder = self.scans / recording.subject / recording.sequence
        files = sorted(folder.glob(f"{recording.sequence}.*.ply"))
        if files and len(files) != recording.frames:
            raise InputError(
                f"{folder}: {len(files)} scans for {recording.frames} registrations, so they "
                "cannot be paired by order"
            )
        return files


def find_dfaust(root: Path) -> Dfaust | None:
    """The registrations in the folder or up to two levels below, None if there are none.

    Raises:
        InputError: not an HDF5 file, or none of the documented form.
    """
    files: dict[str, Path] = {}
    scans = None
    for entries in folders_below(root):
        for entry in entries:
            if entry.name in FILES:
                files.setdefault(entry.name, Path(entry.path))
            if entry.name == "scans" and _holds_subjects(Path(entry.path)):
                scans = scans or Path(entry.path)
    if not files:
        return None
    recordings: dict[Key, Recording] = {}
    faces: list[NDArray[np.int64]] = []
    for path in files.values():
        for recording in _recordings(path):
            recordings[recording.subject, recording.sequence] = recording
        faces.append(_faces(path))
        if not np.array_equal(faces[0], faces[-1]):
            raise InputError(f"{path}: other faces than {next(iter(files.values()))}")
    (vertices, *others) = {recording.vertices for recording in recordings.values()}
    if others:
        raise InputError(f"{root}: recordings of different vertex counts")
    if not 0 <= faces[0].min() <= faces[0].max() < vertices:
        raise InputError(f"{path}: faces over other vertices than 0..{vertices - 1}")
    return Dfaust(dict(sorted(recordings.items())), faces[0], scans)


def _holds_subjects(folder: Path) -> bool:
    try:
        return any(re.fullmatch(r"\d{5}", child.name) for child in folder.iterdir())
    except OSError:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file; whatever h5py raises on a damaged one becomes an InputError."""
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # damaged files raise almost anything
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: not a readable HDF5 file ({reason})") from error


def _array(file: Any, name: str, path: Path) -> Any:
    """An array inside the file itself, of numbers, in chunks of a sane size."""
    import h5py

    if name not in file or not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{path}: no data set {name!r} in it; not a DFAUST registration file?")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name!r} holds no numbers")
    chunk = np.prod(array.chunks or (1,), dtype=float) * array.dtype.itemsize
    if array.is_virtual or array.external or chunk > MAX_CHUNK_BYTES:
        raise InputError(f"{path}: {name!r} is stored in a way that DFAUST is not")
    return array


def _faces(path: Path) -> NDArray[np.int64]:
    with _opened(path) as file:
        array = _array(file, "faces", path)
        if array.ndim != 2 or array.shape[1] != 3 or not 1 <= array.shape[0] <= 10**6:
            raise InputError(f"{path}: faces have shape {array.shape}, expected (F, 3)")
        faces: NDArray[np.int64] = np.asarray(array[:]).astype(np.int64)
    return faces


def _recordings(path: Path) -> list[Recording]:
    found = []
    with _opened(path) as file:
        for name in file:
            if match := RECORDING.fullmatch(name):
                shape = _array(file, name, path).shape
                if len(shape) != 3 or shape[1] != 3 or not 1 <= shape[0] <= 10**5 or not shape[2]:
                    raise InputError(f"{path}: {name} has shape {shape}, expected (V, 3, T)")
                found.append(
                    Recording(match["subject"], match["sequence"], path, shape[0], shape[2])
                )
    if not found:
        raise InputError(f"{path}: no data set named like 50002_hips in it")
    return found
