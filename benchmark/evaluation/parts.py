"""Which body parts does an attack move? Displacements by part, from the skin weights.

The paper says of its Fig. 5 that "the majority of generated perturbation happened to be located on
the body parts that are consistent with the key kinetic positions, such as knees, elbows, and feet".
Here every vertex belongs to parts by its skin weights, and a part's mean displacement is set
against the whole body's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from posebench.attacks import run_attack
from posebench.benchmark.data.anny import PoseTransferTask
from posebench.benchmark.data.body import load_body
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.stats.bootstrap import Column
from posebench.errors import InputError
from posebench.interfaces import Attack, Victim
from posebench.rng import generator_for

BONES = {
    "head": ("neck01", "neck02", "neck03", "head"),
    "torso": (
        "root",
        "pelvis",
        "spine01",
        "spine02",
        "spine03",
        "spine04",
        "spine05",
        "clavicle",
        "shoulder01",
    ),
    "upper arm": ("upperarm01", "upperarm02"),
    "forearm": ("lowerarm01", "lowerarm02"),
    "hand": ("wrist",),
    "thigh": ("upperleg01", "upperleg02"),
    "shin": ("lowerleg01", "lowerleg02"),
    "foot": ("foot",),
}
"""Part -> its bones; left and right are one part."""

JOINTS = {"elbow": ("upper arm", "forearm"), "knee": ("thigh", "shin")}
"""Joint region -> the two parts that meet there."""

PARTS = (
    "head", "torso", "upper arm", "elbow", "forearm", "hand", "thigh", "knee", "shin", "foot",
)  # fmt: skip

CLAIMED = ("knee", "elbow", "foot")
"""Where the paper sees the majority of the perturbation."""


@lru_cache
def part_weights(vertices: int) -> Column:
    """How far each vertex belongs to each of ``PARTS``, (V, 10), rows sum to 1.

    A part weighs what its bones do. A joint takes from both parts that meet what they share, so
    a vertex that follows thigh and shin alike is all knee (our choice: no threshold).
    """
    with files("posebench.benchmark.data").joinpath("body.npz").open("rb") as stream:
        bones = [str(name).partition(".")[0] for name in np.load(stream)["bones"]]
    skin = load_body(vertices).skin_weights.double().numpy()
    weights = {
        part: skin[:, [bone in names for bone in bones]].sum(axis=1)
        for part, names in BONES.items()
    }
    for joint, (one, other) in JOINTS.items():
        shared = np.minimum(weights[one], weights[other])
        weights[joint] = 2 * shared
        weights[one], weights[other] = weights[one] - shared, weights[other] - shared
    return np.stack([weights[part] for part in PARTS], axis=1)


def displacements(
    victim: Victim,
    attack: Attack,
    *,
    task: str = "anny/seen",
    samples: int = 64,
    vertices: int = 1700,
    seed: int = 0,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Column:
    """How far the attack moves each vertex of the body in each pair, (S, V) metres.

    Raises:
        InputError: for a task whose pose sources are not the body's own vertices.
    """
    pairs = load_task(task, samples=samples, vertices=vertices)
    if not isinstance(pairs, PoseTransferTask) or pairs.distorted:
        raise InputError(f"body parts are known of anny's undistorted tasks alone, not of {task}")
    if attack.budget.counts_points:
        raise InputError("an attack that drops or adds points moves none")
    found = []
    for ids in torch.arange(samples).split(batch_size):
        batch = pairs.batch(ids)
        result = run_attack(attack, victim, batch, generator=generator_for(seed, "attack"))
        moved = (result.pose.points.double() - batch.pose.points.double()).norm(dim=2)
        found.append(in_body_order(moved, pairs.orders(ids)[0]))
        if progress is not None:
            progress(len(ids))
    return torch.cat(found).numpy()


def in_body_order(values: Tensor, order: Tensor) -> Tensor:
    """Values (B, V) of shuffled vertices where the body has them; ``order`` is the shuffle."""
    return torch.zeros_like(values).scatter(1, order, values)


def means_by_part(moved: Column) -> dict[str, Column]:
    """Part, or "body", -> mean displacement over its vertices in each pair, (S,) metres."""
    weights = part_weights(moved.shape[1])
    means = moved @ (weights / weights.sum(axis=0))
    return {"body": moved.mean(axis=1), **{part: means[:, i] for i, part in enumerate(PARTS)}}
