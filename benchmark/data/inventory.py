"""What is in a data folder or SMPL file: recognised form, counts, extents, what is missing."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.data.dfaust import Dfaust, find_dfaust
from posebench.benchmark.data.layouts import Key, MeshFolder, find_meshes
from posebench.benchmark.data.licensed import DfaustPairs, missing_meshes, split_pairs
from posebench.benchmark.data.mesh_cache import open_meshes
from posebench.benchmark.data.smpl import load_smpl
from posebench.benchmark.data.task import Progress
from posebench.errors import InputError

DFAUST_SHOWN = 5
"""Frames of each DFAUST recording that are read for the extents."""

Rows = list[tuple[str, str]]


def check_data(path: Path, progress: Progress | None = None) -> list[tuple[str, Rows]]:
    """A title and rows (what, finding) for everything recognised at a path.

    Mesh folders are converted if they were not, so every mesh of them has been read.

    Raises:
        InputError: nothing recognised, or something in it cannot be used.
    """
    if path.is_file():
        return [("SMPL model", _smpl_rows(path))]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    found = [(folder.layout.title, _folder_rows(folder, progress)) for folder in find_meshes(path)]
    if (dfaust := find_dfaust(path)) is not None:
        found.append(("DFAUST", _dfaust_rows(dfaust)))
    if not found:
        raise InputError(
            f"{path}: no SMPL-NPT, SMG-3D, FAUST or DFAUST data there or two levels below, going "
            "by file names (docs/data.md)"
        )
    return found


def _smpl_rows(path: Path) -> Rows:
    model = load_smpl(path)
    vertices, _, shapes = model.shape_directions.shape
    template = model.template.numpy()[None].astype(np.float32)
    return [
        ("file", str(path)),
        ("vertices", f"{vertices}, {len(model.faces)} faces"),
        ("joints", str(len(model.parents))),
        ("shape directions", f"{shapes} used"),
        ("extents", _extents(template)),
    ]


def _folder_rows(folder: MeshFolder, progress: Progress | None) -> Rows:
    files = list(folder.files.values())
    table = open_meshes(files, progress=progress)
    identities, poses = ({int(key[axis]) for key in folder.files} for axis in (0, 1))
    whole = folder.layout.whole or (sorted(identities), sorted(poses))
    absent = [key for key in product(*whole) if key not in folder.files]
    rows = [
        ("folder", str(files[0].parent)),
        ("meshes", f"{len(files)}: {len(identities)} identities, {len(poses)} poses"),
        ("vertices", f"{table.vertices.shape[1]}, {len(table.faces)} faces"),
        ("extents", _extents(table.vertices)),
        ("missing", _missing(absent, folder)),
    ]
    for name in folder.layout.splits:
        rows.append((f"{folder.dataset}/{name}", _split_finding(name, folder)))
    if folder.dataset == "faust":
        rows.append(("raw scans", f"{len(folder.scans)} of {len(files)} registrations"))
    rows.append(("converted", str(table.path)))
    return rows


def _split_finding(name: str, folder: MeshFolder) -> str:
    """What list a split uses, and whether its meshes are there."""
    task = f"{folder.dataset}/{name}"
    try:
        pairs, listed = split_pairs(task, folder, folder.layout.splits[name])
    except InputError as error:
        return str(error)
    absent = missing_meshes(pairs, folder)
    if name == "scans" and not folder.scans:
        return "no raw scans"
    finding = f"{len(pairs)} pairs of {listed}" if listed else "pairs drawn by the protocol"
    if absent:
        first = folder.layout.shown.format(i=absent[0][0], p=absent[0][1])
        finding += f"; {len(absent)} of their meshes missing, such as {first}"
    return finding


def _dfaust_rows(data: Dfaust) -> Rows:
    recordings = list(data.recordings.values())
    files = sorted({str(recording.file) for recording in recordings})
    rows = [(Path(file).name, file) for file in files]
    people = {recording.subject for recording in recordings}
    frames = sum(recording.frames for recording in recordings)
    keys = [
        (r.subject, r.sequence, int(frame))
        for r in recordings
        for frame in np.linspace(0, r.frames - 1, min(DFAUST_SHOWN, r.frames))
    ]
    extents = np.concatenate([data.vertices([key]) for key in keys])
    scans = sum(len(data.scans_of(recording)) for recording in recordings)
    return [
        *rows,
        ("recordings", f"{len(recordings)} of {len(people)} people, {frames} frames"),
        ("vertices", f"{recordings[0].vertices}, {len(data.faces)} faces"),
        ("extents", f"{_extents(extents)} ({len(keys)} frames read)"),
        ("raw scans", f"{scans} of {frames} registrations"),
        ("tasks", ", ".join(DfaustPairs().tasks())),
    ]


def _extents(vertices: NDArray[np.float32]) -> str:
    """Range of the bounding boxes' sides over all meshes."""
    sides = np.concatenate(
        [
            part.max(axis=1) - part.min(axis=1)
            for part in (vertices[i : i + 256] for i in range(0, len(vertices), 256))
        ]
    )
    low, high = sides.min(axis=0), sides.max(axis=0)
    return ", ".join(f"{a} {low[k]:.2f} to {high[k]:.2f}" for k, a in enumerate("xyz")) + " m"


def _missing(absent: list[Key], folder: MeshFolder) -> str:
    """How many meshes are missing, of how many identities, and between which two."""
    if not absent:
        return "none"
    first, last = (folder.layout.shown.format(i=i, p=p) for i, p in (absent[0], absent[-1]))
    people = len({key[0] for key in absent})
    return f"{len(absent)} of {people} identities, from {first} to {last}"
