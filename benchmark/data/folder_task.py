"""A test task on meshes that a user has on disk, in the form of the ``anny`` tasks.

Protocol as everywhere: each mesh centred by its bounding box, pose source and identity shuffled
independently, the truth in the identity's order. A raw scan as pose source gives as many of its
points as the identity has vertices, drawn per sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.data.layouts import Key, Pair
from posebench.benchmark.data.mesh_cache import MeshTable, check_metres
from posebench.benchmark.data.task import PROTOCOL_SEED, renumber, reordered, shuffles
from posebench.benchmark.meshes.files import read_data
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Batch
from posebench.rng import generator_for
from posebench.shapes import Float, Int

SCAN_SIDES = (0.5, 10.0)
"""Longest side of a raw scan in metres: it may show more than the body."""


@runtime_checkable
class Meshes(Protocol):
    """Meshes in correspondence, by key."""

    @property
    def faces(self) -> NDArray[np.int64]: ...

    def vertices(self, keys: Sequence[Key]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class FolderMeshes:
    """Rows of a converted folder by (identity, pose)."""

    table: MeshTable
    rows: dict[Key, int]

    @property
    def faces(self) -> NDArray[np.int64]:
        return self.table.faces

    def vertices(self, keys: Sequence[Key]) -> NDArray[np.float32]:
        """(B, V, 3) meshes of these keys, metres."""
        return np.asarray(self.table.vertices[[self.rows[key] for key in keys]])


@dataclass(frozen=True)
class DatasetTask:
    """Test pairs of a data set on disk.

    Attributes:
        name: such as "smpl-npt/unseen".
        source: the meshes.
        pairs: which meshes make each sample.
        scans: pose giver -> raw scan that takes its mesh's place; empty for meshes.
        training: meshes that ``mean-mesh`` is the mean of; may be empty.
    """

    name: str
    source: Meshes
    pairs: tuple[Pair, ...]
    scans: dict[Key, Path]
    training: tuple[Key, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def keeps_count(self) -> bool:
        return True

    @property
    def distorted(self) -> bool:
        return bool(self.scans)

    @cached_property
    def vertices(self) -> int:
        """Vertices of every mesh."""
        return int(self.source.vertices([self.pairs[0].identity]).shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the samples' coordinates: the same wherever and however they are stored."""
        digest = hashlib.sha256(json.dumps([self.name, self.vertices]).encode())
        digest.update(self.source.faces.astype("<i8").tobytes())
        for pair in self.pairs:
            keys = (pair.identity, pair.giver, pair.truth)
            digest.update(self.source.vertices(keys).astype("<f4").tobytes())
            if pair.giver in self.scans:
                digest.update(_points_of(self.scans[pair.giver]).astype("<f4").tobytes())
        return digest.hexdigest()

    def batch(self, ids: Int[Tensor, "b"]) -> Batch:
        """The pairs with these sample numbers, shuffled as the protocol demands."""
        chosen = [self.pairs[i] for i in ids.tolist()]
        order = self.orders(ids, "identity-order")
        return Batch(
            pose=self._poses(ids, chosen),
            identity=self._meshes([pair.identity for pair in chosen], order),
            target=self._meshes([pair.truth for pair in chosen], order),
            faces=renumber(torch.from_numpy(self.source.faces), order),
            sample_ids=ids,
        )

    def trivial_outputs(self, ids: Int[Tensor, "b"]) -> dict[str, Clouds]:
        """Answers that need no skill, in the identity's order.

        ``copy-pose`` returns the giver's mesh, unless that is the truth itself, ``copy-identity``
        the identity as it came, ``mean-mesh`` the mean of the training meshes that are on disk.
        """
        chosen = [self.pairs[i] for i in ids.tolist()]
        order = self.orders(ids, "identity-order")
        outputs = {}
        if any(pair.giver != pair.truth for pair in self.pairs):
            outputs["copy-pose"] = self._meshes([pair.giver for pair in chosen], order)
        outputs["copy-identity"] = self._meshes([pair.identity for pair in chosen], order)
        if self.training:
            mean = Clouds.dense(self.mean.expand(len(ids), -1, -1))
            outputs["mean-mesh"] = reordered(mean, order)
        return outputs

    def orders(self, ids: Int[Tensor, "b"], kind: str) -> Int[Tensor, "b v"]:
        """One of the two shuffles of each sample."""
        return shuffles(kind, ids, self.vertices)

    def pose_faces(self, ids: Int[Tensor, "b"]) -> Int[Tensor, "b f 3"] | None:
        if self.scans:
            return None
        return renumber(torch.from_numpy(self.source.faces), self.orders(ids, "pose-order"))

    @cached_property
    def mean(self) -> Float[Tensor, "1 v 3"]:
        """Mean of the centred training meshes."""
        total = torch.zeros(1, self.vertices, 3, dtype=torch.float64)
        for start in range(0, len(self.training), 256):
            part = self.source.vertices(self.training[start : start + 256])
            meshes = centred(Clouds.dense(torch.from_numpy(part)))
            total += meshes.points.double().sum(dim=0, keepdim=True)
        return (total / len(self.training)).float()

    def _meshes(self, keys: list[Key], order: Int[Tensor, "b v"]) -> Clouds:
        points = torch.from_numpy(self.source.vertices(keys))
        return reordered(centred(Clouds.dense(points)), order)

    def _poses(self, ids: Int[Tensor, "b"], chosen: list[Pair]) -> Clouds:
        if not self.scans:
            return self._meshes([pair.giver for pair in chosen], self.orders(ids, "pose-order"))
        rows = []
        for i, pair in zip(ids.tolist(), chosen, strict=True):
            points, path = _points_of(self.scans[pair.giver]), self.scans[pair.giver]
            if len(points) < self.vertices:
                raise InputError(f"{path}: {len(points)} points, fewer than {self.vertices}")
            generator = generator_for(PROTOCOL_SEED, "scan-points", i)
            drawn = torch.randperm(len(points), generator=generator)[: self.vertices]
            rows.append(torch.from_numpy(points)[drawn])
        return centred(Clouds.dense(torch.stack(rows)))


def _points_of(path: Path) -> NDArray[np.float32]:
    """Points of a raw scan, metres."""
    points = read_data(path).points.astype(np.float32)
    check_metres(points, str(path), SCAN_SIDES)
    return points
