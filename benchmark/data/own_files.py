"""Pairs of a user's own meshes from files: a CSV, or a folder with a folder for each pair.

    pose,identity,target
    scans/1.ply,me.obj,
    scans/2.ply,me.obj,

Paths are relative to the CSV. ``target`` may be left out: then there is no error to measure. More
columns say how a row's files lie where that differs from the options: ``unit``, ``up``, ``turn``,
``pose_unit``, ``pose_up``, ``pose_turn`` and ``pose_crop``. A folder holds ``pairs.csv``, or
``NAME/pose.*``, ``NAME/identity.*`` and, if known, ``NAME/target.*`` for each pair, in the order of
their names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from posebench.benchmark.data.own_pair import OwnPair, pair_of
from posebench.benchmark.data.own_pairs import SEEN_POINTS, OwnPairs
from posebench.benchmark.data.standing import checked
from posebench.benchmark.data.task import MAX_SAMPLES
from posebench.benchmark.meshes.crop import Cut, cropped
from posebench.benchmark.meshes.files import READERS, MeshFile, read_mesh
from posebench.benchmark.meshes.frame import FrameOptions, Stated
from posebench.errors import InputError
from posebench.fields import STRICT
from posebench.registry import unknown

LIST = "pairs.csv"
PARTS = ("pose", "identity", "target")
STATED = (*(each.name for each in fields(FrameOptions)), "pose_crop")
"""Columns beside the paths."""

PICTURED = 6
"""Crops that are kept for a picture."""


@dataclass(frozen=True)
class OwnFiles:
    """Which files are own data, and how they are to be read.

    Attributes:
        path: a CSV, or a folder.
        unit, up, turn, pose_unit, pose_up, pose_turn: as in ``FrameOptions``, for rows that say
            nothing.
        pose_crop: what is cut off pose sources, see ``meshes.crop``; likewise.
        points: most points of a pose source that victims see.
    """

    __pydantic_config__ = STRICT

    path: str
    unit: str = "m"
    up: str | None = None
    turn: float = 0.0
    pose_unit: str | None = None
    pose_up: str | None = None
    pose_turn: float | None = None
    pose_crop: str | None = None
    points: int = SEEN_POINTS

    @property
    def frames(self) -> FrameOptions:
        """How the files lie."""
        return FrameOptions(
            **{each.name: getattr(self, each.name) for each in fields(FrameOptions)}
        )


@dataclass(frozen=True)
class Row:
    """The files of one pair; ``where`` names them in messages."""

    pose: Path
    identity: Path
    target: Path | None
    frames: FrameOptions
    crop: str | None
    where: str


@dataclass(frozen=True)
class Opened:
    """Own data, read and checked, and the first crops for a picture."""

    pairs: OwnPairs
    cuts: tuple[Cut, ...]


def read_pairs(path: Path | str, **options: Any) -> OwnPairs:
    """Pairs from a CSV or a folder, for ``posebench.evaluate``; ``options`` are the fields of
    :class:`OwnFiles`, such as ``pose_unit="mm"``.

    Raises:
        InputError: as :func:`opened`.
    """
    return opened(OwnFiles(str(path), **options)).pairs


def opened(files: OwnFiles) -> Opened:
    """Read all pairs; again only if a file has changed.

    Raises:
        InputError: files that are missing or damaged, bodies that cannot be, or pairs of which
            some have a target and others not.
    """
    rows = rows_of(files)
    paths = {path for row in rows for path in (row.pose, row.identity, row.target) if path}
    return _opened(rows, files.points, tuple(sorted((p, *_changed(p)) for p in paths)))


def rows_of(files: OwnFiles) -> tuple[Row, ...]:
    """The pairs that a CSV or a folder lists; opens no mesh.

    Raises:
        InputError: no such file, or one that lists no pairs.
    """
    path = Path(files.path)
    if path.is_dir() and not (path / LIST).is_file():
        rows = tuple(_folder_rows(path, files))
        expected = f"{LIST} or folders with pose.* and identity.* (docs/own-data.md)"
    elif path.is_dir() or path.is_file():
        path = path / LIST if path.is_dir() else path
        rows = tuple(_csv_rows(path, files))
        expected = "rows below its header"
    else:
        raise InputError(f"pairs {path}: no such file or folder")
    if not 1 <= len(rows) <= MAX_SAMPLES:
        most = f", at most {MAX_SAMPLES}" if rows else ""
        raise InputError(f"pairs {path}: holds {len(rows)} pairs, expected {expected}{most}")
    return rows


def _csv_rows(path: Path, files: OwnFiles) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = csv.DictReader(text.splitlines(), skipinitialspace=True, strict=True)
        head = list(table.fieldnames or ())
        for column in head:
            if column not in (*PARTS, *STATED):
                raise unknown("column", column, (*PARTS, *STATED))
        for column in PARTS[:2]:
            if column not in head:
                raise InputError(f"column {column!r} is missing")
        for cells in table:
            yield _csv_row(cells, f"{path} line {table.line_num}", path.parent, files)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"pairs {path}: {error}") from error
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(str(path)) else f"pairs {path}: {said}") from error


def _csv_row(cells: dict[str, str | None], where: str, folder: Path, files: OwnFiles) -> Row:
    if None in cells or None in cells.values():
        raise InputError(f"{where}: has not as many cells as the header")
    filled = {key: value.strip() for key, value in cells.items() if value and value.strip()}
    for column in PARTS[:2]:
        if column not in filled:
            raise InputError(f"{where}: {column} is empty")
    stated: dict[str, str | float] = {key: filled[key] for key in STATED if key in filled}
    for column in ("turn", "pose_turn"):
        if column in stated:
            try:
                stated[column] = float(stated[column])
            except ValueError:
                raise InputError(
                    f"{where}: {column} must be degrees, not {stated[column]!r}"
                ) from None
    own = replace(files, **stated)  # type: ignore[arg-type]  # names and kinds are those of fields
    target = folder / filled["target"] if "target" in filled else None
    pose, identity = folder / filled["pose"], folder / filled["identity"]
    return Row(pose, identity, target, own.frames, own.pose_crop, where)


def _folder_rows(folder: Path, files: OwnFiles) -> Iterator[Row]:
    for inner in sorted(each for each in folder.iterdir() if each.is_dir()):
        found: dict[str, Path] = {}
        for path in sorted(inner.iterdir()):
            if path.stem in PARTS and path.suffix.lower() in READERS:
                if path.stem in found:
                    raise InputError(f"{path}: there is {found[path.stem].name} beside it")
                found[path.stem] = path
        if not found:
            continue
        for part in PARTS[:2]:
            if part not in found:
                raise InputError(f"{inner}: there is no {part}.* with a known ending")
        yield Row(
            found["pose"], found["identity"], found.get("target"), files.frames,
            files.pose_crop, str(inner),
        )  # fmt: skip


def _changed(path: Path) -> tuple[int, int]:
    """Size and time of a file, so that one that changed is read again."""
    try:
        about = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return about.st_size, about.st_mtime_ns


@lru_cache(maxsize=1)
def _opened(
    rows: tuple[Row, ...], points: int, changed: tuple[tuple[Path, int, int], ...]
) -> Opened:
    """Read what ``rows`` name; a mesh that several rows share is read and checked once."""
    bodies: dict[tuple[Path, Stated], MeshFile] = {}
    pairs: list[OwnPair] = []
    notes: list[str] = []
    cuts: list[Cut] = []

    def body(path: Path, stated: Stated, what: str) -> MeshFile:
        if (path, stated) not in bodies:
            mesh = read_mesh(path, stated.frame())
            notes.extend((*mesh.notes, *checked(mesh.points, mesh, what, stated)))
            bodies[path, stated] = mesh
        return bodies[path, stated]

    for row in rows:
        scan, cut = _scan(row, notes.extend)
        if cut is not None and len(cuts) < PICTURED:
            cuts.append(cut)
        person = body(row.identity, row.frames.of_identity, "identity")
        truth = None
        if row.target is not None:
            truth = body(row.target, row.frames.of_identity, "target")
        pairs.append(pair_of(scan, person, truth, row.where))
    made = OwnPairs(tuple(pairs), points, tuple(dict.fromkeys(notes)))
    return Opened(made, tuple(cuts))


def _scan(row: Row, note: Callable[[tuple[str, ...]], None]) -> tuple[MeshFile, Cut | None]:
    """The pose source of a row, cropped and checked."""
    stated = row.frames.of_pose
    scan, cut = cropped(read_mesh(row.pose, stated.frame(), gaps=True), row.crop)
    note((*scan.notes, *checked(scan.points, scan, "pose source", stated)))
    return scan, cut
