"""The contracts of data: a data set names, checks and loads tasks; a task is numbered test pairs.

Also what every task shares: the seed of the protocol and the two shuffles of each pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch
from posebench.rng import generator_for
from posebench.shapes import Int

PROTOCOL_SEED = 20240402
"""Fixes which pairs a split consists of; part of the data, not of a run."""

MAX_SAMPLES = 4096

Progress = Callable[[int], None]
"""Told how many more meshes are done."""


@runtime_checkable
class PairTask(Protocol):
    """Test pairs 0..len-1; ``fingerprint`` is a sha256 of what they are.

    Identities have ``vertices`` points. Pose sources have no padding; ``keeps_count`` says whether
    they have as many points as identities, ``distorted`` whether they are something else than the
    meshes of training.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def vertices(self) -> int: ...

    @property
    def keeps_count(self) -> bool: ...

    @property
    def distorted(self) -> bool: ...

    def __len__(self) -> int: ...

    def batch(self, ids: Int[Tensor, "b"]) -> Batch: ...

    def pose_faces(self, ids: Int[Tensor, "b"]) -> Int[Tensor, "b f 3"] | None:
        """Triangles over the pose sources' points; None where these are no mesh's vertices."""
        ...

    def trivial_outputs(self, ids: Int[Tensor, "b"]) -> dict[str, Clouds]:
        """Answers that need no skill, by name; which ones there are is the data's own affair."""
        ...


def has_truth(pairs: PairTask) -> bool:
    """Whether the right answers are known; a task says no by an attribute ``truth``."""
    return bool(getattr(pairs, "truth", True))


def stacks(pairs: PairTask) -> bool:
    """Whether several pairs make a batch; a task of mixed sizes says no by an attribute."""
    return bool(getattr(pairs, "stacks", True))


def check_truth(pairs: PairTask, what: str) -> None:
    """Raise InputError where the right answers are not known and ``what`` needs them."""
    if not has_truth(pairs):
        raise InputError(
            f"{what} need the right answer of each pair, and {pairs.name} has none: give targets "
            "(docs/own-data.md)"
        )


@dataclass(frozen=True)
class TaskName:
    """What a task's name says before any of its data are read.

    Attributes:
        name: such as "anny/scan@3".
        distorted: as the task's own.
        trivial: the task whose pairs and trivial outputs are the same and that costs least: the
            undistorted one where there is one.
    """

    name: str
    distorted: bool
    trivial: str


@runtime_checkable
class Dataset(Protocol):
    """A source of test pairs, registered in ``DATASETS`` under the first part of its tasks' names.

    Attributes:
        on_disk: its meshes are files that a user must have (docs/data.md); nobody else can load it.
        own_vertices: its meshes have a vertex count of their own, which no size changes.
    """

    @property
    def on_disk(self) -> bool: ...

    @property
    def own_vertices(self) -> bool: ...

    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks; those with a level in the name are left to :meth:`families`."""
        ...

    def families(self) -> tuple[str, ...]:
        """Names with a level left open, such as "anny/scan@LEVEL"."""
        ...

    def parse(self, name: str) -> TaskName:
        """What a name means; reads no data.

        Raises:
            InputError: no task of this data set, or a level that does not exist.
        """
        ...

    def load(
        self,
        name: str,
        *,
        samples: int,
        vertices: int | None = None,
        progress: Progress | None = None,
    ) -> PairTask:
        """The first ``samples`` pairs; more samples extend the same list.

        ``vertices`` None is the data set's own or usual count. ``progress`` follows a first
        reading that takes minutes.

        Raises:
            InputError: no such task, count or level of detail, or data that are not there.
        """
        ...


def check_samples(samples: int) -> None:
    """Raise InputError for a number of pairs that no task has."""
    if not 1 <= samples <= MAX_SAMPLES:
        raise InputError(f"samples must be 1..{MAX_SAMPLES}, got {samples}")


def shuffles(kind: str, ids: Int[Tensor, "b"], count: int) -> Int[Tensor, "b v"]:
    """One shuffle of ``count`` points a sample; kinds are "pose-order" and "identity-order"."""
    rows = [
        torch.randperm(count, generator=generator_for(PROTOCOL_SEED, kind, i)) for i in ids.tolist()
    ]
    return torch.stack(rows)


def reordered(cloud: Clouds, order: Int[Tensor, "b v"]) -> Clouds:
    """Shuffled clouds: new point k is old point order[k]."""
    return cloud.replace(cloud.points.gather(1, order[..., None].expand(-1, -1, 3)))


def renumber(faces: Int[Tensor, "f 3"], order: Int[Tensor, "b v"]) -> Int[Tensor, "b f 3"]:
    """Faces over shuffled vertices: new vertex k is old vertex order[k]."""
    return order.argsort(dim=1)[:, faces]
