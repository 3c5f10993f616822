"""Licensed data sets that a user has on disk: how they name meshes, and what is where.

None of them ships with posebench; docs/data.md says where they come from. Layouts follow their
own READMEs and the released loaders of Neural Pose Transfer, 3D-CoreNet and CGT.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posebench.errors import InputError

DATA_VARIABLE = "POSEBENCH_DATA"
DEPTH = 2
"""Data are looked for in the given folder and this many levels below."""
MAX_FOLDERS = 2000
MAX_LIST_BYTES = 2**24

Key = tuple[int | str, ...]
"""What names a mesh within its data set, such as (identity, pose)."""


@dataclass(frozen=True)
class Pair:
    """A test pair by keys: the identity as it comes, the pose giver, the true result."""

    identity: Key
    giver: Key
    truth: Key


@dataclass(frozen=True)
class Split:
    """Test identities and poses of one split, and the released files that list its pairs."""

    identities: range
    poses: range
    lists: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a data set of identities x poses is kept.

    Attributes:
        title: for tables.
        names: patterns of mesh names with groups ``i`` and ``p``, or ``n`` = 10 i + p.
        shown: a mesh name to print, from i and p.
        whole: all identities and poses of the release; None where those on disk count.
        train: identities and poses that networks train on, for the mean mesh; None for test data.
        splits: by the task's second part.
    """

    title: str
    names: tuple[re.Pattern[str], ...]
    shown: str
    whole: tuple[range, range] | None
    train: tuple[range, range] | None
    splits: dict[str, Split] = field(repr=False)


SMPL_NPT = Layout(
    title="SMPL-NPT",
    names=(re.compile(r"id(?P<i>\d+)_(?P<p>\d+)\.obj"), re.compile(r"(?P<i>\d+)_(?P<p>\d+)\.obj")),
    shown="id{i}_{p}.obj",
    whole=(range(30), range(800)),
    train=(range(16), range(200, 600)),
    splits={
        "seen": Split(range(16, 30), range(200, 600), ("supervised_list_obj.txt",)),
        "unseen": Split(
            range(16, 30), range(600, 800), ("unsupervised_list_obj.txt", "human_test_list")
        ),
        "unseen-bent": Split(range(16, 30), range(200)),
    },
)
SMG_3D = Layout(
    title="SMG-3D",
    names=(re.compile(r"id_(?P<i>\d+)_pose_(?P<p>\d+)\.obj"),),
    shown="id_{i}_pose_{p}.obj",
    whole=None,
    train=(range(35), range(180)),
    splits={"seen": Split(range(35, 1000), range(180), ("seen_pose_list.txt",))},
)
FAUST = Layout(
    title="FAUST",
    names=(re.compile(r"tr_reg_(?P<n>\d{3})\.ply"), re.compile(r"id(?P<i>\d)_(?P<p>\d)\.obj")),
    shown="tr_reg_{i:02}{p}.ply",
    whole=None,
    train=None,
    splits={
        "registrations": Split(range(10), range(10)),
        "scans": Split(range(10), range(10)),
    },
)
LAYOUTS = {"smpl-npt": SMPL_NPT, "smg-3d": SMG_3D, "faust": FAUST}


@dataclass(frozen=True)
class MeshFolder:
    """One recognised data set of identities x poses.

    Attributes:
        dataset: key of ``LAYOUTS``.
        files: (identity, pose) -> mesh file, sorted by key.
        lists: released list name -> file.
        scans: (identity, pose) -> raw scan; FAUST alone.
    """

    dataset: str
    files: dict[Key, Path]
    lists: dict[str, Path]
    scans: dict[Key, Path]

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.dataset]


def data_folder() -> Path:
    """The folder that ``--data`` or POSEBENCH_DATA names.

    Raises:
        InputError: none is named, or it is no folder.
    """
    chosen = os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise InputError(
            f"this task needs data that you have on disk: name their folder with --data or in "
            f"{DATA_VARIABLE} (docs/data.md)"
        )
    if not Path(chosen).is_dir():
        raise InputError(f"data folder {chosen}: no such folder")
    return Path(chosen)


def folders_below(root: Path) -> Iterator[list[os.DirEntry[str]]]:
    """Entries of the folder and of those below it, level by level; unreadable ones are skipped."""
    level, seen = [str(root)], 0
    for _ in range(DEPTH + 1):
        following: list[str] = []
        for folder in level:
            if (seen := seen + 1) > MAX_FOLDERS:
                return
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
                    below = [e.path for e in found if not e.name.startswith(".") and e.is_dir()]
            except OSError:
                continue
            yield found
            following += below
        level = following


def find_meshes(root: Path) -> list[MeshFolder]:
    """Every data set of identities x poses in the folder or up to two levels below.

    Of several folders of one data set the one with most meshes counts.

    Raises:
        InputError: two files for one mesh.
    """
    best: dict[str, dict[Key, Path]] = {}
    scans: dict[Key, Path] = {}
    lists: dict[str, dict[str, Path]] = {name: {} for name in LAYOUTS}
    for entries in folders_below(root):
        for dataset, files in _named(entries).items():
            if len(files) > len(best.get(dataset, {})):
                best[dataset] = files
        for entry in entries:
            if match := re.fullmatch(r"tr_scan_(\d{2})(\d)\.ply", entry.name):
                scans[int(match[1]), int(match[2])] = Path(entry.path)
            for dataset, layout in LAYOUTS.items():
                if any(entry.name in split.lists for split in layout.splits.values()):
                    lists[dataset].setdefault(entry.name, Path(entry.path))
    return [
        MeshFolder(
            dataset,
            dict(sorted(files.items())),
            lists[dataset],
            dict(sorted(scans.items())) if dataset == "faust" else {},
        )
        for dataset, files in best.items()
    ]


def _named(entries: Sequence[os.DirEntry[str]]) -> dict[str, dict[Key, Path]]:
    """Data set -> its meshes among the entries of one folder."""
    found: dict[str, dict[Key, Path]] = {}
    for entry in entries:
        for dataset, layout in LAYOUTS.items():
            if (key := key_of(entry.name, layout)) is not None:
                files = found.setdefault(dataset, {})
                if key in files:
                    raise InputError(f"{files[key]} and {entry.name} are the same mesh: keep one")
                files[key] = Path(entry.path)
    # The processed FAUST has SMPL-NPT's names, but no more than 10 x 10 of them.
    if "smpl-npt" in found:
        small = all(int(i) < 10 and int(p) < 10 for i, p in found["smpl-npt"])
        found.pop("smpl-npt" if small and "faust" in found else "faust", None)
    return found


def key_of(name: str, layout: Layout) -> tuple[int, int] | None:
    """(identity, pose) of a mesh name, None for a foreign one."""
    for pattern in layout.names:
        if match := pattern.fullmatch(name):
            groups = match.groupdict()
            if "n" in groups:
                return divmod(int(groups["n"]), 10)
            if len(groups["i"]) < 7 and len(groups["p"]) < 7:
                return int(groups["i"]), int(groups["p"])
    return None


def read_list(path: Path, layout: Layout) -> list[Pair]:
    """Pairs of a released list: lines of ``identity pose truth``, mesh names.

    Raises:
        InputError: unreadable, empty, or a line that names no such triple, with its number.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_LIST_BYTES:
            raise InputError(f"{path}: no file, or too large for a list of pairs")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable list ({str(error)[:100]})") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        keys = [key_of(Path(word).name, layout) for word in line.split()]
        if len(keys) != 3 or None in keys:
            raise InputError(
                f"{path}, line {number}: expected 'identity pose truth' as names such as "
                f"{layout.shown.format(i=16, p=7)}, got {line[:80]!r}"
            )
        identity, giver, truth = (key for key in keys if key is not None)
        if truth != (identity[0], giver[1]):
            raise InputError(
                f"{path}, line {number}: the truth must be the identity's mesh in the giver's "
                f"pose, got {line[:80]!r}"
            )
        pairs.append(Pair(identity, giver, truth))
    if not pairs:
        raise InputError(f"{path}: no pairs")
    return pairs
