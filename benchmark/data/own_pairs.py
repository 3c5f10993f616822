"""Pairs of a user's own meshes, as a task: any sizes, any faces, with or without the truth.

Protocol as everywhere: each mesh centred by its bounding box, pose source and identity shuffled
independently by the sample's number, the truth in the identity's order. Large pose sources are
thinned to random points, as ``posebench transfer`` thins them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.data.own_pair import OwnPair, mesh_of, pair_of
from posebench.benchmark.data.standing import checked
from posebench.benchmark.data.task import MAX_SAMPLES, renumber, shuffles
from posebench.benchmark.meshes.frame import Stated
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Batch
from posebench.shapes import Int

SEEN_POINTS = 6890
"""Points of a pose source that victims see, SMPL's count, unless others are asked for."""


@dataclass(frozen=True)
class OwnPairs:
    """A task (``PairTask``) of one's own pairs; ``posebench.evaluate`` takes it as ``task``.

    Made by :meth:`of` from arrays or by ``posebench.read_pairs`` from files. All pairs have a
    truth, or none.

    Attributes:
        pairs: the samples.
        points: most points of a pose source that victims see.
        notes: what a user should know, such as bodies that seem to stand upside down.
        whole: the name of the data of which these are the first pairs; None: their own.
    """

    pairs: tuple[OwnPair, ...]
    points: int = SEEN_POINTS
    notes: tuple[str, ...] = ()
    whole: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.pairs) <= MAX_SAMPLES:
            raise InputError(f"own pairs: there must be 1..{MAX_SAMPLES}, got {len(self.pairs)}")
        if self.points < 2:
            raise InputError(f"points must be at least 2, got {self.points}")
        without = [i for i, pair in enumerate(self.pairs) if pair.target is None]
        if without and len(without) < len(self.pairs):
            raise InputError(
                f"own pairs: pair {without[0]} has no target, others have: give all of them "
                "targets, or evaluate the two kinds apart"
            )

    @staticmethod
    def of(
        poses: Sequence[Any],
        identities: Sequence[Any],
        targets: Sequence[Any] | None = None,
        *,
        faces: Any = None,
        points: int = SEEN_POINTS,
    ) -> OwnPairs:
        """Pairs from arrays or tensors (N, 3), metres, y up, facing z.

        ``faces`` is one array (F, 3) for all identities, or a list of one each; None for clouds.

        Raises:
            InputError: lists of different lengths, or what is no body, naming the pair.
        """
        listed = [faces] * len(identities) if faces is None or _is_array(faces) else faces
        truths = [None] * len(identities) if targets is None else targets
        if len({len(each) for each in (poses, identities, truths, listed)}) > 1:
            raise InputError(
                f"own pairs: there are {len(poses)} poses, {len(identities)} identities, "
                f"{len(truths)} targets and faces of {len(listed)}"
            )
        made: list[OwnPair] = []
        notes: list[str] = []
        for number, four in enumerate(zip(poses, identities, truths, listed, strict=True)):
            pose, identity, target, corners = four
            scan = mesh_of(f"pair {number}", pose)
            person = mesh_of(f"pair {number}", identity, corners)
            truth = None if target is None else mesh_of(f"pair {number}", target, corners)
            notes += checked(scan.points, scan, "pose source of", Stated(option=""))
            notes += checked(person.points, person, "identity of", Stated(option=""))
            made.append(pair_of(scan, person, truth, f"pair {number}"))
        return OwnPairs(tuple(made), points, tuple(dict.fromkeys(notes)))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def name(self) -> str:
        """ "own/" and the beginning of the fingerprint of all pairs, whatever the files' names."""
        return self.whole or f"own/{self.fingerprint[:12]}"

    @property
    def truth(self) -> bool:
        """Whether the right answers are known."""
        return self.pairs[0].target is not None

    @property
    def stacks(self) -> bool:
        """Whether several pairs make a batch: all have the same counts."""
        shapes = {(self._seen(p), p.identity.shape, p.faces.shape) for p in self.pairs}
        return len(shapes) == 1

    @property
    def vertices(self) -> int:
        """Of the largest identity."""
        return max(len(pair.identity) for pair in self.pairs)

    @property
    def keeps_count(self) -> bool:
        return all(self._seen(pair) == len(pair.identity) for pair in self.pairs)

    @property
    def distorted(self) -> bool:
        """Nobody knows; they are not the meshes of training in any case."""
        return True

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all coordinates and faces in metres, and ``points``."""
        digest = hashlib.sha256(json.dumps(["own", self.points]).encode())
        for pair in self.pairs:
            for array in (pair.pose, pair.identity, pair.target, pair.faces):
                digest.update(json.dumps(None if array is None else array.shape).encode())
                if array is not None:
                    kind = "<i8" if array.dtype.kind == "i" else "<f4"
                    digest.update(array.astype(kind).tobytes())
        return digest.hexdigest()

    def first(self, samples: int) -> OwnPairs:
        """The first pairs.

        Raises:
            InputError: if there are fewer.
        """
        if not 1 <= samples <= len(self):
            raise InputError(f"own data have {len(self)} pairs, got {samples} samples")
        return replace(self, pairs=self.pairs[:samples], whole=self.name)

    def batch(self, ids: Int[Tensor, "b"]) -> Batch:
        """The pairs with these sample numbers; several only if they ``stacks``.

        Where there is no truth, the target is NaN, so that nobody measures against it unawares.
        """
        parts = [self._one(i) for i in ids.tolist()]
        return Batch(
            Clouds.stacked([part.pose for part in parts]),
            Clouds.stacked([part.identity for part in parts]),
            Clouds.stacked([part.target for part in parts]),
            torch.cat([part.faces for part in parts]),
            ids,
        )

    def pose_faces(self, ids: Int[Tensor, "b"]) -> None:
        """Not kept: pose sources may be scans."""

    def trivial_outputs(self, ids: Int[Tensor, "b"]) -> dict[str, Clouds]:
        """``copy-identity``, the identity as it came; nothing where there is no truth."""
        return {"copy-identity": self.batch(ids).identity} if self.truth else {}

    def _seen(self, pair: OwnPair) -> int:
        return min(len(pair.pose), self.points)

    def _one(self, number: int) -> Batch:
        pair, ids = self.pairs[number], torch.tensor([number])
        pose = shuffles("pose-order", ids, len(pair.pose))[:, : self._seen(pair)]
        order = shuffles("identity-order", ids, len(pair.identity))
        identity = _cloud(pair.identity, order)
        unknown = identity.replace(torch.full_like(identity.points, torch.nan))
        return Batch(
            _cloud(pair.pose, pose),
            identity,
            unknown if pair.target is None else _cloud(pair.target, order),
            renumber(torch.from_numpy(pair.faces), order),
            ids,
        )


def _is_array(faces: Any) -> bool:
    """One array of triangles, not a list of such."""
    return hasattr(faces, "shape") or np.ndim(faces[0]) == 1


def _cloud(points: NDArray[np.float32], order: Int[Tensor, "1 n"]) -> Clouds:
    """A centred cloud of the points that ``order`` names."""
    return centred(Clouds.dense(torch.from_numpy(points)[order]))
