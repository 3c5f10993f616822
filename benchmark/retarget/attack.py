"""Attacks on files for which no truth is known: away from the victim's own clean output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.attacks import Noise, run_attack
from posebench.benchmark.evaluation.measure import NOISE_DRAWS, predict
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.benchmark.evaluation.without_truth import aimed, noisy
from posebench.benchmark.meshes.types import Faces, Points
from posebench.benchmark.retarget.pair import POSE_POINTS, Identity, PoseSource
from posebench.benchmark.retarget.transfer import system_of, unpaired
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult
from posebench.objective import pmd
from posebench.rng import generator_for
from posebench.victims import PoseTransferNetwork


@dataclass(frozen=True)
class Change:
    """Mean squared coordinate change of the output against the clean output, both centred (PMD
    between two outputs, square metres): of the attack, and of noise of its size."""

    attack: float
    noise: float


@dataclass(frozen=True)
class Attacked:
    """An attacked pose source.

    Attributes:
        pose: (1, K, 3) the adversarial cloud, inside the budget.
        moved: (K,) how far each point went, metres.
        result: the library's record of the attack.
        change: what it does to the output.
    """

    pose: Clouds
    moved: NDArray[np.float32]
    result: AttackResult
    change: Change

    def norms(self, clean: Clouds) -> dict[str, float]:
        """Sizes of the perturbation in metres."""
        return {k: float(v) for k, v in perturbation_norms(clean, self.pose).items()}


def attacked(
    network: PoseTransferNetwork,
    attack: Attack,
    source: PoseSource,
    identity: Identity,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Attacked:
    """Attack a pose source for which no truth is known: away from the victim's own clean output.

    The attack maximises the distance of the output from a target, as everywhere, but the target is
    the victim's own output near the clean pose, see ``evaluation.without_truth.aimed``.

    The attack sees at most ``POSE_POINTS`` of the identity's vertices, which keeps its memory
    and time bounded; what it finds is then judged on all of them.

    Raises:
        InputError: an attack that drops or adds points, which no file shows as displacements; see
            also :func:`run_attack`.
    """
    if attack.budget.counts_points:
        raise InputError(
            f"norm {attack.budget.norm!r} moves no points: 'posebench run' takes it, files do not"
        )
    system = system_of(network)
    pose = source.cloud.to(device)
    rows = torch.from_numpy(identity.distinct[:POSE_POINTS])[None].to(device)
    batch = unpaired(pose, Clouds.dense(rows))
    generator = generator_for(seed, "attack", device=device)
    led = aimed(system, batch, attack.budget, seed)
    result = run_attack(attack, system, led, generator=generator)
    clean = predict(system, batch, seed)

    def change(attacked_pose: Clouds) -> float:
        return float(pmd(predict(system, batch.with_pose(attacked_pose), seed), clean))

    noise = Noise(attack.budget)
    chance = [change(noisy(noise, system, batch, seed, "noise", k)) for k in range(NOISE_DRAWS)]
    moved = torch.linalg.vector_norm((result.pose.points - pose.points)[0], dim=1)
    return Attacked(
        result.pose,
        moved.cpu().numpy(),
        result,
        Change(change(result.pose), max(chance)),
    )


def attacked_in_file(
    source: PoseSource, found: Attacked
) -> tuple[Points, Faces | None, NDArray[np.float32]]:
    """The adversarial cloud in file order, units and axes, its faces, and how far points moved.

    Faces are those of the file where no point was left out, None otherwise.
    """
    rank = source.order.argsort()
    points = found.pose.points[0].double().cpu().numpy() + source.centre
    placed = source.mesh.frame.outwards(points[rank])
    faces = None if source.thinned else source.mesh.faces
    return placed, faces, found.moved[rank]
