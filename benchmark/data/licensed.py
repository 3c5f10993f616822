"""Which pairs the tasks on licensed data consist of.

``smpl-npt/seen``, ``/unseen`` and ``/unseen-bent``, ``smg-3d/seen``: the first pairs of the
released list file if it is there, else of a list drawn once and for all from the same identities
and poses. ``faust/registrations``: identity and giver are two people who take the same ten poses,
each in their own way, so the truth is approximate. ``dfaust/registrations``: the giver is the
identity itself in another recording, because only then is there a truth. ``.../scans``: the same
with the giver's raw scan as pose source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Generator

from posebench.benchmark.data.dfaust import Dfaust, find_dfaust
from posebench.benchmark.data.folder_task import DatasetTask, FolderMeshes
from posebench.benchmark.data.layouts import (
    LAYOUTS,
    Key,
    Layout,
    MeshFolder,
    Pair,
    Split,
    data_folder,
    find_meshes,
    read_list,
)
from posebench.benchmark.data.mesh_cache import open_meshes
from posebench.benchmark.data.task import (
    MAX_SAMPLES,
    PROTOCOL_SEED,
    Progress,
    TaskName,
    check_samples,
)
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.rng import generator_for


class OnDisk(ABC):
    """What data sets in POSEBENCH_DATA share; see :class:`~posebench.benchmark.data.task.Dataset`.

    Meshes are never simplified, so ``vertices``, if given, must be the data's own count.
    """

    on_disk = True
    own_vertices = True

    @abstractmethod
    def tasks(self) -> tuple[str, ...]: ...

    @abstractmethod
    def pairs(self, name: str, samples: int, progress: Progress | None) -> DatasetTask:
        """The task; its name and the number of samples are checked."""

    def families(self) -> tuple[str, ...]:
        return ()

    def parse(self, name: str) -> TaskName:
        if name not in self.tasks():
            raise unknown("task", name, self.tasks())
        return TaskName(name, distorted=name.endswith("/scans"), trivial=name)

    def load(
        self,
        name: str,
        *,
        samples: int,
        vertices: int | None = None,
        progress: Progress | None = None,
    ) -> DatasetTask:
        self.parse(name)
        check_samples(samples)
        task = self.pairs(name, samples, progress)
        if vertices not in (None, task.vertices):
            raise InputError(
                f"{name} has {task.vertices} vertices, not {vertices}: ask for "
                f"vertices={task.vertices}"
            )
        return task


@dataclass(frozen=True)
class FolderPairs(OnDisk):
    """A data set of identities x poses by its key in ``LAYOUTS``, its files converted once."""

    dataset: str

    @property
    def layout(self) -> Layout:
        """How its files are named, and its splits."""
        return LAYOUTS[self.dataset]

    def tasks(self) -> tuple[str, ...]:
        return tuple(f"{self.dataset}/{split}" for split in self.layout.splits)

    def pairs(self, name: str, samples: int, progress: Progress | None) -> DatasetTask:
        return _folder_task(name, self.layout.splits[name.split("/")[1]], samples, progress)


class DfaustPairs(OnDisk):
    """Dynamic FAUST."""

    def tasks(self) -> tuple[str, ...]:
        return ("dfaust/registrations", "dfaust/scans")

    def pairs(self, name: str, samples: int, progress: Progress | None) -> DatasetTask:
        return _dfaust_task(name, name.split("/")[1], samples)


def split_pairs(name: str, folder: MeshFolder, split: Split) -> tuple[list[Pair], Path | None]:
    """All pairs of a split and the released list they come from, None for a drawn list."""
    for listed in split.lists:
        if listed in folder.lists:
            return read_list(folder.lists[listed], folder.layout), folder.lists[listed]
    identities, poses = list(split.identities), list(split.poses)
    if folder.layout.whole is None:
        on_disk = [{int(part) for part in parts} for parts in zip(*folder.files, strict=True)]
        identities = [i for i in identities if i in on_disk[0]]
        poses = [p for p in poses if p in on_disk[1]]
    if len(identities) < 2 or not poses:
        raise InputError(f"{name}: its split needs two identities, on disk are {len(identities)}")
    # By its poses, so that FAUST's two splits share their pairs.
    generator = generator_for(PROTOCOL_SEED, folder.dataset, split.poses.start, split.poses.stop)
    people = torch.randint(len(identities), (MAX_SAMPLES,), generator=generator).tolist()
    others = torch.randint(1, len(identities), (MAX_SAMPLES,), generator=generator).tolist()
    own = torch.randint(len(poses), (MAX_SAMPLES,), generator=generator).tolist()
    taken = torch.randint(len(poses), (MAX_SAMPLES,), generator=generator).tolist()
    pairs = []
    for i, step, p, q in zip(people, others, own, taken, strict=True):
        giver = identities[(i + step) % len(identities)]
        pairs.append(Pair((identities[i], poses[p]), (giver, poses[q]), (identities[i], poses[q])))
    return pairs, None


def _folder_task(name: str, split: Split, samples: int, progress: Progress | None) -> DatasetTask:
    root = data_folder()
    dataset = name.split("/")[0]
    folders = [folder for folder in find_meshes(root) if folder.dataset == dataset]
    if not folders:
        layout = LAYOUTS[dataset]
        raise InputError(
            f"{root}: no {layout.title} meshes such as {layout.shown.format(i=1, p=2)} there or "
            "two levels below"
        )
    (folder,) = folders
    pairs, listed = split_pairs(name, folder, split)
    if samples > len(pairs):
        raise InputError(f"{listed} has {len(pairs)} pairs, got {samples} samples: ask for fewer")
    scans = folder.scans if name.endswith("/scans") else {}
    chosen = tuple(pairs[:samples])
    check_present(chosen, folder, listed)
    if name.endswith("/scans"):
        absent = [pair.giver for pair in chosen if pair.giver not in scans]
        if absent:
            raise InputError(f"{root}: the raw scan of registration {absent[0]} is not there")
    table = open_meshes(list(folder.files.values()), progress=progress)
    rows = {key: row for row, key in enumerate(folder.files)}
    training = folder.layout.train
    return DatasetTask(
        name,
        FolderMeshes(table, rows),
        chosen,
        scans,
        () if training is None else tuple(key for key in product(*training) if key in rows),
    )


def check_present(pairs: Sequence[Pair], folder: MeshFolder, listed: Path | None) -> None:
    """Raise InputError naming the first mesh that the pairs need and that is not on disk."""
    absent = missing_meshes(pairs, folder)
    if absent:
        first = folder.layout.shown.format(i=absent[0][0], p=absent[0][1])
        by = f"{listed} names" if listed else "the protocol's pairs need"
        raise InputError(
            f"{by} {len(absent)} meshes that are not on disk, the first is {first}; run "
            "'posebench data check' for the rest"
        )


def missing_meshes(pairs: Sequence[Pair], folder: MeshFolder) -> list[Key]:
    """Meshes of these pairs that are not on disk."""
    needed = {key for pair in pairs for key in (pair.identity, pair.giver, pair.truth)}
    return sorted(needed - set(folder.files))


def _dfaust_task(name: str, split: str, samples: int) -> DatasetTask:
    root = data_folder()
    data = find_dfaust(root)
    if data is None:
        raise InputError(f"{root}: no registrations_m.hdf5 or registrations_f.hdf5 there")
    scans = {}
    usable = data.recordings
    if split == "scans":
        usable = {}
        for key, recording in data.recordings.items():
            for frame, path in enumerate(data.scans_of(recording)):
                usable[key] = recording
                scans[(*key, frame)] = path
        if not usable:
            raise InputError(f"{root}: no raw scans such as scans/50002/hips/hips.000001.ply")
    generator = generator_for(PROTOCOL_SEED, name)
    pairs = tuple(_dfaust_pair(data, sorted(usable), generator) for _ in range(samples))
    return DatasetTask(name, data, pairs, scans, ())


def _dfaust_pair(data: Dfaust, usable: list[Key], generator: Generator) -> Pair:
    """A frame to reach, and the same person in another recording (the same if there is no other).

    The giver is the truth's own frame.
    """

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    subject, sequence = usable[draw(len(usable))]
    frame = draw(data.recordings[subject, sequence].frames)
    others = [key for key in data.recordings if key[0] == subject and key[1] != sequence]
    other = (others or [(subject, sequence)])[draw(max(1, len(others)))]
    start = (*other, draw(data.recordings[other].frames))
    reached = (subject, sequence, frame)
    return Pair(start, reached, reached)
