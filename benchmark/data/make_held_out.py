"""Make ``held_out.npz``, once: ``python -m posebench.benchmark.data.make_held_out``.

Writes beside the module and prints the hash that belongs into ``held_out.HELD_OUT_SHA256``. Another
sampler makes other splits, so every number that was measured on them falls.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from posebench.benchmark.data.bodies import draw_proportions
from posebench.benchmark.data.body import TEST_IDENTITIES
from posebench.benchmark.data.held_out import POSE_STEP
from posebench.benchmark.data.joint_angles import INDEX, poses_of_angles
from posebench.benchmark.data.natural import (
    clear_of_the_body,
    follow,
    in_range,
    limits,
    natural_poses,
)
from posebench.files import write_atomically
from posebench.rng import generator_for
from posebench.shapes import Float

SEED = 20261121
NATURAL, TPOSES, ACROBATIC = 400, 200, 200

END = 0.9
"""Acrobatic angles lie within this share of their range."""

LEAN = 60.0
"""Degrees of tilt and roll of an acrobat's pelvis: upside down is another task."""


def main() -> None:
    """Draw everything and write the file."""
    half = TPOSES // 2
    poses = {
        "natural": natural_poses(NATURAL, generator_for(SEED, "natural")),
        "tpose": torch.cat(
            [
                natural_poses(half, generator_for(SEED, family), family=family)
                for family in ("t-pose", "a-pose")
            ]
        ),
        "acrobatic": acrobatic_poses(ACROBATIC, generator_for(SEED, "acrobatic")),
    }
    arrays: dict[str, NDArray[np.generic]] = {
        name: np.round(drawn.numpy() / POSE_STEP).astype(np.int16) for name, drawn in poses.items()
    }
    length, girth = makers(len(TEST_IDENTITIES), generator_for(SEED, "makers"))
    arrays |= {"length": length.numpy(), "girth": girth.numpy()}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    path = Path(__file__).with_name("held_out.npz")
    write_atomically(path, stream.getvalue())
    print(f"{path}: {hashlib.sha256(stream.getvalue()).hexdigest()}")  # noqa: T201


def acrobatic_poses(count: int, generator: Generator) -> Float[Tensor, "n 24 3"]:
    """Every angle drawn apart and near an end of its range (arcsine), limbs out of the body."""
    low, high = limits(torch.device("cpu"))
    place = (torch.rand((count, len(low)), generator=generator) * torch.pi / 2).sin().square()
    angles: Float[Tensor, "n 48"] = (low + high) / 2 + END * (high - low) * (place - 0.5)
    for name in ("pelvis_tilt", "pelvis_roll"):
        angles[:, INDEX[name]] *= LEAN / high[INDEX[name]]
    for side in ("left", "right"):  # the clavicle does what the arm makes it do
        for name in ("elevation", "protraction"):
            angles[:, INDEX[f"{side}_clavicle_{name}"]] *= 0.25
    return poses_of_angles(in_range(clear_of_the_body(follow(angles))))


def makers(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Length and girth factors (N, J), of people whose proportions do differ."""
    length, girth = draw_proportions(20 * count, generator)
    differs = (length.std(dim=1) > 1e-3).nonzero()[:count, 0]
    return length[differs], girth[differs]


if __name__ == "__main__":
    main()
