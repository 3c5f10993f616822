"""Adversarial training on the fly (paper 3.2, Algorithm 1): what takes the clean poses' place.

Each step of the adversarial part attacks the network as it is now, cleans the attacked poses with
SOR and trains on what is left. The attack's gradient is taken in eval mode with the parameters
frozen, and the attacked pose is detached, so the step that follows is an ordinary one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from posebench.attacks import ATTACKS, FGM, PGD, make_attack, project, steepest
from posebench.attacks.enforce import bounded
from posebench.attacks.gradient import frozen
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Budget
from posebench.objective import mse
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float
from posebench.victims import PoseTransferNetwork
from posebench.victims.wrappers import resampled

Schedule = Literal["constant", "ramp", "spread"]

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it modulo 1 fill [0, 1) evenly: a spread of eps without asking the device."""


@dataclass(frozen=True)
class Adversarial:
    """The adversarial part of a training run.

    Attributes:
        attack: registry name; "noise" is the augmentation baseline, Gaussian of the same norm.
        eps: budget, metres RMS per coordinate. On a subset of n vertices the ball has the
            radius eps * sqrt(3 n), so the displacement per vertex is that of the whole mesh.
        iterations: of an iterative attack; None for attacks that have none.
        clean_share: share of each batch that stays clean; the paper has 0. Half costs less (our
            choice).
        sor: clean the attacked poses with SOR, as the paper does. Off by default, because on a
            subset of vertices the distances it judges by are not the mesh's (our choice).
        schedule: "constant"; "ramp", eps rises from 0 over the first half of the part; "spread",
            eps fills (0, eps] evenly from step to step.
        random_start: radius of a Gaussian start, as a share of the budget's.
        rate_share: peak learning rate, as a share of the clean part's.
        after: share of all steps that is trained clean first; the paper has 1/2.
    """

    attack: str = "fgm"
    eps: float = 0.08
    iterations: int | None = None
    clean_share: float = 0.5
    sor: bool = False
    schedule: Schedule = "constant"
    random_start: float = 0.0
    rate_share: float = 1.0
    after: float = 0.5

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise unknown("attack", self.attack, ATTACKS)
        if self.schedule not in get_args(Schedule):
            raise unknown("eps schedule", self.schedule, get_args(Schedule))
        for name in ("clean_share", "random_start", "after"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in 0..1, got {getattr(self, name)}")
        if not (math.isfinite(self.rate_share) and self.rate_share > 0):
            raise InputError(f"rate_share must be a positive number, got {self.rate_share}")
        self.made(1.0)

    def made(self, done: float, step: int = 0) -> Attack:
        """The attack at a step; ``done`` is the share of the adversarial part already trained."""
        eps = self.eps
        if self.schedule == "ramp":
            eps *= min(1.0, 2 * done)
        elif self.schedule == "spread":
            eps *= 1 - (step * GOLDEN) % 1
        return make_attack(self.attack, Budget(eps), self.iterations)


def attack_rows(
    network: PoseTransferNetwork,
    adversarial: Adversarial,
    rows: tuple[Float[Tensor, "b m 3"], Float[Tensor, "b n 3"], Float[Tensor, "b n 3"]],
    *,
    ids: Tensor,
    attack: Attack,
    seed: int,
    generator: Generator,
) -> tuple[int, Float[Tensor, "b m 3"], Tensor]:
    """How many first rows stay clean, the poses with all others attacked, the share SOR removed.

    ``rows`` are pose sources, identities and targets. ``ids`` (B,) number them over the whole run;
    an attack's random draws follow from them.
    Points that SOR removes are replaced by evenly repeated kept ones, so that shapes stay fixed.
    """
    pose, identity, target = rows
    size = len(pose)
    first = round(size * adversarial.clean_share)
    removed = pose.new_zeros(())
    if first == size:
        return first, pose, removed
    batch = Batch(
        Clouds.dense(pose[first:]),
        Clouds.dense(identity[first:]),
        Clouds.dense(target[first:]),
        torch.zeros((size - first, 1, 3), dtype=torch.int64, device=pose.device),
        ids[first:],
    )
    clean = batch.pose
    if adversarial.random_start:
        draws = torch.randn(clean.points.shape, generator=generator, device=pose.device)
        start = steepest(draws, Budget(attack.budget.eps * adversarial.random_start), clean.mask)
        batch = batch.with_pose(clean.replace(clean.points + start))
    attacked, _ = bounded(attack, network, batch, generator=generator_for(seed, "attack"))
    if adversarial.random_start:
        attacked = project(attacked, clean, attack.budget)
    if adversarial.sor:
        kept = SOR()(attacked)
        removed = 1 - kept.mask.float().mean()
        attacked = resampled(kept, pose.shape[1])
    return first, torch.cat([pose[:first], attacked.points.to(pose.dtype)]), removed


def fgm_and_pgd(network: PoseTransferNetwork, budget: Budget, batch: Batch) -> tuple[float, float]:
    """Mean squared error under FGM and under PGD-10 on the same pairs, square metres.

    Catastrophic overfitting (Wong et al., arXiv 2001.03994) is FGM falling while PGD jumps up.
    """
    values = []
    for attack in (FGM(budget), PGD(budget, iterations=10, start=0.0)):
        pose, _ = bounded(attack, network, batch)
        with torch.no_grad(), frozen(network):
            output = network(pose, batch.identity)
        values.append(float(mse(output, batch.target).mean()))
    return values[0], values[1]
