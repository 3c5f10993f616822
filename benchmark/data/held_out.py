"""Splits outside of the protocol: natural poses, T-poses, acrobatics, other makers' proportions.

Drawn once by ``make_held_out`` with seeds of their own and frozen in ``held_out.npz``, so that a
better sampler for training changes no test. All are of the test identities.

* ``natural``: 400 natural poses.
* ``tpose``: pose sources in 200 T-poses and A-poses, identities given in the natural poses.
* ``character``: the other way round, as characters are modelled: identities in the T- and A-poses,
  pose sources in the natural ones.
* ``acrobatic``: 200 poses with every angle near an end of its anatomical range.
* ``makers``: the natural poses of test identities with other makers' proportions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.data.bodies import stretched
from posebench.benchmark.data.body import TEST_IDENTITIES, Body
from posebench.errors import InputError

HELD_OUT_SHA256 = "51b74567257aa5a680981ece9a5b79b68a41794ca3b749b3d7f4abc5bb0cb8d7"

POSE_STEP = 1e-4
"""Radians per unit of the stored poses."""


@dataclass(frozen=True)
class HeldOut:
    """What sets a split apart.

    Attributes:
        poses: the pose source's.
        identity_poses: the identity's.
        proportions: whether test identities have other makers' proportions.
    """

    poses: str
    identity_poses: str
    proportions: bool = False


HELD_OUT = {
    "natural": HeldOut("natural", "natural"),
    "tpose": HeldOut("tpose", "natural"),
    "character": HeldOut("natural", "tpose"),
    "acrobatic": HeldOut("acrobatic", "acrobatic"),
    "makers": HeldOut("natural", "natural", proportions=True),
}


@lru_cache(maxsize=1)
def held_out_arrays() -> dict[str, Tensor]:
    """Poses (P, 24, 3) by name, radians; ``length`` and ``girth`` (14, 36) of test identities.

    Raises:
        InputError: a file that is not the one released.
    """
    path = files("posebench.benchmark.data").joinpath("held_out.npz")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != HELD_OUT_SHA256:
        raise InputError(
            f"held_out.npz has sha256 {digest[:12]}..., expected {HELD_OUT_SHA256[:12]}...: "
            "reinstall posebench, or update HELD_OUT_SHA256 if you made new splits on purpose"
        )
    with path.open("rb") as stream:
        data = np.load(stream, allow_pickle=False)
        found = {
            name: torch.from_numpy((data[name] * POSE_STEP).astype(np.float32))
            for name in ("natural", "tpose", "acrobatic")
        }
        return found | {name: torch.from_numpy(data[name]) for name in ("length", "girth")}


def held_out_body(body: Body, split: str) -> Body:
    """The body with the split's poses under the split's name, the pose sources' first, and with
    its proportions."""
    kind, arrays = HELD_OUT[split], held_out_arrays()
    poses = [arrays[kind.poses]]
    if kind.identity_poses != kind.poses:
        poses.append(arrays[kind.identity_poses])
    if kind.proportions:
        length, girth = torch.ones((2, *body.to_tpose.shape[:2]))
        test = slice(TEST_IDENTITIES.start, TEST_IDENTITIES.stop)
        length[test], girth[test] = arrays["length"], arrays["girth"]
        body = stretched(body, length, girth)
    return replace(body, poses={**body.poses, split: torch.cat(poses)})


def pose_ranges(body: Body, split: str) -> tuple[range, range]:
    """Numbers of the identity's poses and of the pose source's in the split's pose set."""
    everything = range(body.poses[split].shape[0])
    if split not in HELD_OUT or HELD_OUT[split].identity_poses == HELD_OUT[split].poses:
        return everything, everything
    first = held_out_arrays()[HELD_OUT[split].poses].shape[0]
    return everything[first:], everything[:first]
