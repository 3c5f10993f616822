"""Running an attack the safe way: the library checks and projects what the attack returns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator

from posebench.attacks.gradient import project
from posebench.attacks.point_counts import enforce_counts
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult, Batch, Victim


def run_attack(
    attack: Attack, victim: Victim, batch: Batch, *, generator: Generator | None = None
) -> AttackResult:
    """Attack the batch's poses; the result is inside the attack's budget, whatever it returned.

    A budget of zero returns the clean poses bit for bit.

    Raises:
        InputError: if a clean cloud is empty or not finite, or if the attack changes shape or
            mask or returns a coordinate that is not finite.
    """
    batch.pose.check_finite("pose source")
    batch.identity.check_finite("identity")
    result = attack(victim, batch, generator=generator)
    clean, pose = batch.pose, result.pose
    name = type(attack).__name__
    if attack.budget.counts_points:
        pose = enforce_counts(pose, clean, attack.budget, name)
    elif pose.points.shape != clean.points.shape or not torch.equal(pose.mask, clean.mask):
        raise InputError(f"{name} changed the shape or mask of the pose, which it must not")
    if not bool(torch.isfinite(pose.points).all()):
        raise InputError(
            f"{name} returned coordinates that are NaN or infinite; so may be the gradient of "
            f"victim {victim.spec.name!r}"
        )
    pose = pose.detach()
    if not attack.budget.counts_points:
        pose = project(pose, clean, attack.budget)
    return replace(result, pose=pose)
