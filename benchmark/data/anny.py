"""Dataset ``anny``: pose-transfer pairs made from the embedded body, in SMPL-NPT's protocol.

16 identities train on 400 poses; 14 new identities are the test. Splits differ in their poses:

* ``seen``: the 400 training poses; ``unseen``: 200 new ones from the straight sampler alone,
  as in SMPL-NPT; ``unseen-bent``: 200 new ones from the bent sampler; ``wide``: 200 from
  ranges outside the training distribution;
* ``natural``, ``tpose``, ``character``, ``acrobatic``, ``makers``: outside of the protocol, see
  ``held_out``.

Every mesh is centred by its bounding box; pose and identity orders are shuffled independently,
and the target follows the identity's order.

``anny/scan@3``, ``anny/noise@0.02``, ``anny/jitter@2`` and their like are the pairs of ``seen``
with distorted pose sources; see ``distortion``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from posebench.benchmark.data.body import (
    POSE_SETS,
    TEST_IDENTITIES,
    TRAIN_IDENTITIES,
    Body,
    body_fingerprint,
    load_body,
    pose_body,
)
from posebench.benchmark.data.distortion import Distortion, kinds, parse_distortion
from posebench.benchmark.data.held_out import (
    HELD_OUT,
    HELD_OUT_SHA256,
    held_out_body,
    pose_ranges,
)
from posebench.benchmark.data.task import (
    MAX_SAMPLES,
    PROTOCOL_SEED,
    Progress,
    TaskName,
    check_samples,
    renumber,
    reordered,
    shuffles,
)
from posebench.cloud import Clouds, Guide
from posebench.geometry import centred
from posebench.interfaces import Batch
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float, Int

DETAIL = 1700
"""Vertices unless asked otherwise: those of the compact networks' meshes."""

TASKS = {f"anny/{poses}": poses for poses in (*POSE_SETS, *HELD_OUT)}

DISTORTED = "anny/seen"
"""The split whose pose sources are distorted: the same pairs, so numbers compare with its own."""


@dataclass(frozen=True)
class PoseTransferTask:
    """The first ``samples`` test pairs of one split at one level of detail.

    Attributes:
        name: such as "anny/seen" or "anny/scan@3".
        body: the embedded body at the wanted vertex count.
        triples: (S, 4) int64 rows (identity, identity's pose, pose giver, transferred pose).
        split: key of ``TASKS``, whose poses and pairs these are.
        distortion: what is done to the pose sources, None for clean meshes.
    """

    name: str
    body: Body
    triples: Int[Tensor, "s 4"]
    split: str
    distortion: Distortion | None = None

    def __len__(self) -> int:
        return self.triples.shape[0]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over body file, vertex count, distortion and pairs: what the samples were."""
        what = [self.name, body_fingerprint(), self.vertices]
        if self.distortion is not None:
            what.append(self.distortion.settings)
        if TASKS[self.split] in HELD_OUT:
            what.append(HELD_OUT_SHA256)
        digest = hashlib.sha256(json.dumps(what).encode())
        digest.update(self.triples.numpy().tobytes())
        return digest.hexdigest()

    @property
    def vertices(self) -> int:
        return self.body.rest.shape[1]

    def meshes(self, identity: Int[Tensor, "b"], pose: Int[Tensor, "b"]) -> Clouds:
        """Centred meshes of identities in poses of this split, in the body's own order."""
        return posed_meshes(self.body, TASKS[self.split], identity, pose)

    @property
    def keeps_count(self) -> bool:
        return self.distortion is None or self.distortion.keeps_count

    @property
    def distorted(self) -> bool:
        return self.distortion is not None

    def pose_sources(
        self, mesh: Clouds, faces: Int[Tensor, "b f 3"], ids: Int[Tensor, "b"]
    ) -> Clouds:
        """Meshes as this task's pose sources come."""
        if self.distortion is None:
            return mesh
        return self.distortion(mesh, faces, self.distortion.generators(PROTOCOL_SEED, ids))

    def truth(self, cloud: Clouds, ids: Int[Tensor, "b"]) -> Clouds:
        """The clouds as they should be answered: turned, where the pose source was turned."""
        if self.distortion is None or not self.distortion.turns_truth:
            return cloud
        none = self.body.faces[None, :0].expand(len(ids), -1, -1)
        return centred(self.pose_sources(cloud, none, ids))

    def orders(self, ids: Int[Tensor, "b"]) -> tuple[Int[Tensor, "b v"], Int[Tensor, "b v"]]:
        """The two shuffles of each sample: of the pose and of the identity."""
        pose, identity = (shuffles(f"{w}-order", ids, self.vertices) for w in ("pose", "identity"))
        return pose, identity

    def pose_faces(self, ids: Int[Tensor, "b"]) -> Int[Tensor, "b f 3"] | None:
        return None if self.distorted else renumber(self.body.faces, self.orders(ids)[0])

    def batch(self, ids: Int[Tensor, "b"]) -> Batch:
        """The pairs with these sample numbers, shuffled as the protocol demands."""
        identity, identity_pose, giver, pose = self.triples[ids].unbind(dim=1)
        pose_order, identity_order = self.orders(ids)
        mesh = reordered(self.meshes(giver, pose), pose_order)
        return Batch(
            pose=self.pose_sources(mesh, renumber(self.body.faces, pose_order), ids),
            identity=reordered(self.meshes(identity, identity_pose), identity_order).guided(
                self.guide(ids)
            ),
            target=self.truth(reordered(self.meshes(identity, pose), identity_order), ids),
            faces=renumber(self.body.faces, identity_order),
            sample_ids=ids,
        )

    def guide(self, ids: Int[Tensor, "b"]) -> Guide | None:
        """The true correspondence of undistorted pose sources."""
        if self.distorted:
            return None
        _, identity_pose, giver, _ = self.triples[ids].unbind(dim=1)
        pose_order, order = self.orders(ids)
        return Guide(
            reference=reordered(self.meshes(giver, identity_pose), order).points,
            match=pose_order.argsort(dim=1).gather(1, order),
            faces=renumber(self.body.faces, order),
        )

    def trivial_outputs(self, ids: Int[Tensor, "b"]) -> dict[str, Clouds]:
        """What three victims without any skill would answer, in the identity's order.

        ``copy-pose`` returns the pose source before any distortion (with the true
        correspondence), ``copy-identity`` the identity as it came, ``mean-mesh`` the mean of the
        training meshes.
        """
        identity, identity_pose, giver, pose = self.triples[ids].unbind(dim=1)
        _, order = self.orders(ids)
        mean = mean_mesh(self.vertices).expand(len(ids), -1, -1)
        return {
            "copy-pose": self.truth(reordered(self.meshes(giver, pose), order), ids),
            "copy-identity": reordered(self.meshes(identity, identity_pose), order),
            "mean-mesh": reordered(Clouds.dense(mean), order),
        }


class Anny:
    """The data set: see :class:`~posebench.benchmark.data.task.Dataset`."""

    on_disk = False
    own_vertices = False

    def tasks(self) -> tuple[str, ...]:
        return tuple(TASKS)

    def families(self) -> tuple[str, ...]:
        return tuple(f"anny/{kind}@LEVEL" for kind in kinds())

    def parse(self, name: str) -> TaskName:
        split, distortion = self.split_of(name)
        if distortion is None:
            return TaskName(name, distorted=False, trivial=name)
        return TaskName(name, distorted=True, trivial=name if distortion.turns_truth else split)

    def split_of(self, name: str) -> tuple[str, Distortion | None]:
        """A task's split and what it does to pose sources.

        Raises:
            InputError: unknown task, or a distortion's level that does not exist.
        """
        if name in TASKS:
            return name, None
        folder, _, distortion = name.partition("/")
        if folder != "anny" or ("@" not in distortion and distortion not in kinds()):
            raise unknown("task", name, (*self.tasks(), *self.families()))
        return DISTORTED, parse_distortion(distortion)

    def load(
        self,
        name: str,
        *,
        samples: int,
        vertices: int | None = None,
        progress: Progress | None = None,
    ) -> PoseTransferTask:
        split, distortion = self.split_of(name)
        check_samples(samples)
        body = load_body(DETAIL if vertices is None else vertices)
        if TASKS[split] in HELD_OUT:
            body = held_out_body(body, TASKS[split])
        triples = split_triples(split, body)
        return PoseTransferTask(name, body, triples[:samples].contiguous(), split, distortion)


def split_triples(split: str, body: Body) -> Int[Tensor, "s 4"]:
    """All pairs of a split: rows (identity, identity's pose, pose giver, transferred pose)."""
    generator = generator_for(PROTOCOL_SEED, split)
    people = torch.tensor(list(TEST_IDENTITIES))
    identity = torch.randint(len(people), (MAX_SAMPLES,), generator=generator)
    other = torch.randint(1, len(people), (MAX_SAMPLES,), generator=generator)
    identity_pose, pose = (
        numbers.start + torch.randint(len(numbers), (MAX_SAMPLES,), generator=generator)
        for numbers in pose_ranges(body, TASKS[split])
    )
    return torch.stack(
        [people[identity], identity_pose, people[(identity + other) % len(people)], pose], dim=1
    )


def posed_meshes(
    body: Body, pose_set: str, identity: Int[Tensor, "b"], pose: Int[Tensor, "b"]
) -> Clouds:
    """Centred meshes (B, V, 3) of identities in poses of one set, on the body's device."""
    return centred(Clouds.dense(pose_body(body, identity, body.poses[pose_set][pose])))


def training_meshes(body: Body) -> Float[Tensor, "i p v 3"]:
    """All 16 x 400 centred training meshes on the body's device, skinned in chunks."""
    poses = torch.arange(body.poses["seen"].shape[0], device=body.rest.device)
    rows = []
    for identity in TRAIN_IDENTITIES:
        chunks = [
            posed_meshes(body, "seen", torch.full_like(part, identity), part).points
            for part in poses.split(100)
        ]
        rows.append(torch.cat(chunks))
    return torch.stack(rows)


@lru_cache(maxsize=4)
def mean_mesh(vertices: int) -> Float[Tensor, "1 v 3"]:
    """Mean of all training meshes at one level of detail."""
    return training_meshes(load_body(vertices)).flatten(0, 1).mean(dim=0, keepdim=True)
