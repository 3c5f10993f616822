"""What can be measured where nobody knows the right answer: displacement and plausibility.

Displacement is the PMD between the outputs for the attacked and for the clean pose source: what an
attack does, whatever the output was worth. Plausibility compares an output with the identity that
it was made of. The error itself, ``pmd``, is NaN.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posebench.attacks import Noise, run_attack
from posebench.benchmark.evaluation.measure import EVALUATION_DRAWS, NOISE_DRAWS, predict
from posebench.benchmark.evaluation.metrics import edge_error, face_normals, pmd
from posebench.cloud import Clouds
from posebench.interfaces import Attack, Batch, Budget, Victim
from posebench.rng import generator_for
from posebench.shapes import Int

START = 0.1
"""Noise under which an attack's target is taken, as a share of the budget; PGD's own start."""

Values = dict[str, Tensor]


def aimed(seen: Victim, batch: Batch, budget: Budget, seed: int) -> Batch:
    """The batch with a target to lead the output away from: what the victim itself answers.

    At the clean output itself the distance has zero gradient, and FGM or APGD, which start there,
    would not move. So the target is taken on the pose under noise of a tenth of the budget: at the
    clean pose the gradient then leads away from it, J^T J noise for small noise, which is one power
    iteration towards what the victim amplifies most.
    """
    small = Noise(replace(budget, eps=START * budget.eps))
    nearby = noisy(small, seen, batch, seed, "target")
    return replace(batch, target=predict(seen, batch.with_pose(nearby), seed))


def noisy(noise: Noise, system: Victim, batch: Batch, seed: int, *keys: int | str) -> Clouds:
    """The pose under one draw of noise."""
    return run_attack(noise, system, batch, generator=generator_for(seed, *keys)).pose


def clean_values(system: Victim, batch: Batch, seed: int) -> Values:
    """Plausibility of the outputs for unattacked poses, (B,) each, and an undefined ``pmd``.

    ``edge_change``: mean over edges of | |e_out| / |e_identity| - 1 |. ``crease_change``: see
    :func:`crease_change`. NaN for identities without faces.
    """
    return averaged([plausible(output, batch) for output in outputs_of(system, batch, seed)])


def attacked_values(system: Victim, batch: Batch, pose: Clouds, seed: int) -> Values:
    """The same for attacked poses, and ``displacement`` from the clean outputs, square metres."""
    clean = outputs_of(system, batch, seed)
    found = []
    for before, after in zip(clean, outputs_of(system, batch.with_pose(pose), seed), strict=True):
        moved = pmd(after, replace(batch, target=before))
        found.append({**plausible(after, batch), "displacement": moved})
    return averaged(found)


def noise_displacement(system: Victim, attack: Attack, batch: Batch, seed: int) -> Tensor:
    """Largest displacement of each sample over noise of the attack's budget, (B,)."""
    draws = [
        noisy(Noise(attack.budget), system, batch, seed, "noise", draw)
        for draw in range(NOISE_DRAWS)
    ]
    values = [attacked_values(system, batch, pose, seed)["displacement"] for pose in draws]
    return torch.stack(values).amax(dim=0)


def outputs_of(system: Victim, batch: Batch, seed: int) -> list[Clouds]:
    """The victim's outputs, of a stochastic one several; equal draws see equal random numbers."""
    draws = EVALUATION_DRAWS if system.spec.stochastic else 1
    return [predict(system, batch, seed, draw) for draw in range(draws)]


def plausible(output: Clouds, batch: Batch) -> Values:
    """Plausibility of one output."""
    against = replace(batch, target=batch.identity)
    unknown = torch.full((len(batch),), torch.nan, dtype=output.points.dtype)
    return {
        "pmd": unknown,
        "edge_change": edge_error(output, against),
        "crease_change": crease_change(output, batch),
    }


def crease_change(output: Clouds, batch: Batch) -> Tensor:
    """Mean change of the angle between neighbouring faces from the identity's, degrees, (B,).

    A pose turns limbs as a whole and bends the surface at the joints alone; an output that is
    crumpled bends it everywhere (our choice, because the normals themselves turn with the pose).
    """
    rows = []
    for number in range(len(batch)):
        one = slice(number, number + 1)
        faces = batch.faces[one]
        first, second = neighbours(faces[0])
        bends = []
        for cloud in (output, batch.identity):
            normals = face_normals(cloud.points[one], faces)[0]
            across = torch.linalg.cross(normals[first], normals[second]).norm(dim=1)
            bends.append(torch.atan2(across, (normals[first] * normals[second]).sum(dim=1)))
        rows.append(torch.rad2deg((bends[0] - bends[1]).abs().mean()))
    return torch.stack(rows)


def neighbours(faces: Int[Tensor, "f 3"]) -> tuple[Tensor, Tensor]:
    """Numbers of the two faces at each edge that has two, (E,) each."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    owner = torch.arange(len(faces), device=faces.device).repeat(3)
    _, which, count = edges.unique(dim=0, return_inverse=True, return_counts=True)
    shared = count[which] == 2
    order = which[shared].argsort(stable=True)
    pairs = owner[shared][order].reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def averaged(draws: list[Values]) -> Values:
    """Means over draws."""
    return {name: torch.stack([each[name] for each in draws]).mean(dim=0) for name in draws[0]}
