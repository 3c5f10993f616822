"""Adversarial training on the fly (paper 3.2, Algorithm 1): what takes the clean poses' place.

Each step of the adversarial part attacks the network as it is now, cleans the attacked poses with
SOR if it is asked to, and trains on what is left. Against a threat model (``posebench.threats``)
the attack is another: a few steps against the error after the best translation, under a cap drawn
for each row (``training.capped``). The attack's gradient is taken in eval mode with the parameters
frozen, and the attacked pose is detached, so the step that follows is an ordinary one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Generator, Tensor

from posebench.attacks import ATTACKS, FGM, PGD, make_attack, project, steepest
from posebench.attacks.enforce import bounded
from posebench.attacks.gradient import frozen
from posebench.benchmark.evaluation.metres import check_metres
from posebench.benchmark.training.capped import Capped, Rule
from posebench.benchmark.training.mixed import FewPoints, SmoothField
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Budget
from posebench.objective import mse
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float
from posebench.threats import THREATS, find_threat
from posebench.victims import PoseTransferNetwork
from posebench.victims.wrappers import resampled

Schedule = Literal["constant", "ramp", "spread"]

TRAINABLE = tuple(name for name, each in THREATS.items() if each.budget.norm == "l2_vertex")
"""Threat models that can be trained against: a cap a vertex."""

SHARE = 0.02
"""Share of points that mixed training puts anywhere (our choice): five of a subset of 256."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it modulo 1 fill [0, 1) evenly: a spread of eps without asking the device."""


@dataclass(frozen=True)
class Adversarial:
    """The adversarial part of a training run.

    Attributes:
        attack: registry name; "noise" is the augmentation baseline, Gaussian of the same norm.
            Against a threat model a rule of ``capped.Capped``.
        eps: budget, metres RMS per coordinate; against a threat model its cap. On a
            subset of n vertices the ball has the radius eps * sqrt(3 n), so the displacement per
            vertex is that of the whole mesh.
        iterations: of an iterative attack; None for attacks that have none.
        clean_share: share of each batch that stays clean; the paper has 0. Half costs less (our
            choice).
        sor: clean the attacked poses with SOR, as the paper does. Off by default, because on a
            subset of vertices the distances it judges by are not the mesh's (our choice).
        schedule: "constant"; "ramp", eps rises from 0 over the first half of the part; "spread",
            eps fills (0, eps] evenly from step to step.
        random_start: radius of a Gaussian start, as a share of the budget's; against a threat
            model of a start even in each vertex's ball.
        rate_share: peak learning rate, as a share of the clean part's.
        after: share of all steps that is trained clean first; the paper has 1/2.
        threat: name of a threat model with a cap a vertex; None for the paper's ball.
        eps_low: against a threat model, rows draw their caps evenly from here to ``eps``.
        consistency: None, or weight of the mean squared difference between outputs of attacked and
            clean poses, which takes the place of the attacked error: TRADES (arXiv 1901.08573)
            carried over to regression. Costs one more forward of the attacked rows.
        mixed: against a threat model, a quarter of the attacked rows is bent by smooth fields up to
            the same caps, another has few points anywhere (``training.mixed``).
        awp: None, or by what share of its size each layer is moved up the loss before the gradient
            is taken (``training.awp``); 0.005 in its paper.
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
    threat: str | None = None
    eps_low: float | None = None
    consistency: float | None = None
    mixed: bool = False
    awp: float | None = None

    def __post_init__(self) -> None:
        if self.threat is not None:
            self._check_threat()
        elif self.attack not in ATTACKS:
            raise unknown("attack", self.attack, ATTACKS)
        elif self.eps_low is not None:
            raise InputError("eps_low is of training against a threat model")
        elif self.mixed:
            raise InputError("mixed is of training against a threat model")
        if self.schedule not in get_args(Schedule):
            raise unknown("eps schedule", self.schedule, get_args(Schedule))
        for name in ("clean_share", "random_start", "after"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in 0..1, got {getattr(self, name)}")
        if not (math.isfinite(self.rate_share) and self.rate_share > 0):
            raise InputError(f"rate_share must be a positive number, got {self.rate_share}")
        weight = self.consistency
        if weight is not None and not (math.isfinite(weight) and weight > 0):
            raise InputError(f"consistency must be a positive number, got {weight}")
        if self.awp is not None and not (math.isfinite(self.awp) and self.awp >= 0):
            raise InputError(f"awp must be 0 or a positive number, got {self.awp}")
        if self.awp is not None and self.clean_share == 1:
            raise InputError("awp needs attacked rows, and clean_share 1 leaves none")
        check_metres(self.budget, points=1)  # in metres, however many there are
        self.made(1.0)

    def _check_threat(self) -> None:
        threat = find_threat(self.threat or "")
        if threat.name not in TRAINABLE:
            raise InputError(
                f"threat model {threat.name!r} cannot be trained against: take one of "
                f"{', '.join(TRAINABLE)}"
            )
        if self.attack not in get_args(Rule):
            raise unknown("attack against a threat model", self.attack, get_args(Rule))
        if self.eps != threat.budget.eps:
            raise InputError(f"threat model {threat.name!r} decides eps: leave it out")
        if self.schedule != "constant":
            raise InputError("caps are drawn for each row: against a threat model, no schedule")
        if self.attack == "n-fgm" and (self.iterations is not None or self.random_start):
            raise InputError(
                "n-fgm takes one step from its own noise: for iterations or a start take pgd"
            )

    @property
    def budget(self) -> Budget:
        """The largest budget trained against."""
        return Budget(self.eps) if self.threat is None else find_threat(self.threat).budget

    def made(self, done: float, step: int = 0) -> Attack:
        """The attack at a step; ``done`` is the share of the adversarial part already trained."""
        eps = self.eps
        if self.threat is not None:
            low = eps if self.eps_low is None else self.eps_low
            steps = 3 if self.iterations is None else self.iterations
            steps = 1 if self.attack == "n-fgm" else steps
            return Capped(eps, low, steps, self.random_start, cast(Rule, self.attack))
        if self.schedule == "ramp":
            eps *= min(1.0, 2 * done)
        elif self.schedule == "spread":
            eps *= 1 - (step * GOLDEN) % 1
        return make_attack(self.attack, Budget(eps), self.iterations)

    def others(self) -> tuple[Attack, ...]:
        """What ``mixed`` attacks rows with besides: half of them stay with the threat's attack."""
        steps = 3 if self.iterations is None else self.iterations
        low = self.eps if self.eps_low is None else self.eps_low
        return (SmoothField(self.eps, low, steps), self.made(1.0), FewPoints(SHARE, steps))


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
    if first == size:
        return first, pose, pose.new_zeros(())
    batch = Batch(
        Clouds.dense(pose[first:]),
        Clouds.dense(identity[first:]),
        Clouds.dense(target[first:]),
        torch.zeros((size - first, 1, 3), dtype=torch.int64, device=pose.device),
        ids[first:],
    )
    clean = batch.pose
    if adversarial.threat is not None:  # draws where the network is, from the run's own stream
        attacks = (attack, *adversarial.others()) if adversarial.mixed else (attack,)
        attacked = in_turns(attacks, network, batch, generator)
        return _shown(adversarial, pose, attacked, first)
    if adversarial.random_start:
        draws = torch.randn(clean.points.shape, generator=generator, device=pose.device)
        start = steepest(draws, Budget(attack.budget.eps * adversarial.random_start), clean.mask)
        batch = batch.with_pose(clean.replace(clean.points + start))
    attacked, _ = bounded(attack, network, batch, generator=generator_for(seed, "attack"))
    if adversarial.random_start:
        attacked = project(attacked, clean, attack.budget)
    return _shown(adversarial, pose, attacked, first)


def in_turns(
    attacks: Sequence[Attack], network: PoseTransferNetwork, batch: Batch, generator: Generator
) -> Clouds:
    """Each attack on rows of its own, dealt out one by one."""
    if len(attacks) == 1:
        return bounded(attacks[0], network, batch, generator=generator)[0]
    points = batch.pose.points.detach().clone()
    for number, attack in enumerate(attacks[: len(points)]):
        mine = slice(number, None, len(attacks))  # not numbers of rows, which a device waits for
        pose, identity, target = (
            Clouds.dense(each.points[mine]) for each in (batch.pose, batch.identity, batch.target)
        )
        part = Batch(pose, identity, target, batch.faces[mine], batch.sample_ids[mine])
        points[mine] = bounded(attack, network, part, generator=generator)[0].points
    return batch.pose.replace(points)


def _shown(
    adversarial: Adversarial, pose: Float[Tensor, "b m 3"], attacked: Clouds, first: int
) -> tuple[int, Float[Tensor, "b m 3"], Tensor]:
    """What :func:`attack_rows` returns, after SOR where it is wanted."""
    removed = pose.new_zeros(())
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
