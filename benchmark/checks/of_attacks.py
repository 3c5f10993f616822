"""Reliability checks of attacks: were they strong enough for their number to mean something?

Each takes a subject and returns whether its flag is raised (None: does not apply) and figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from posebench.attacks import (
    APGD,
    EOT,
    FGM,
    PGD,
    Noise,
    PTEnsemble,
    Query,
    VertexAdam,
    run_attack,
)
from posebench.attacks.adapters import FoolboxAttack
from posebench.attacks.gradient import pose_values
from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.benchmark.stats.bootstrap import mean_interval
from posebench.benchmark.stats.success import TAU
from posebench.cloud import Clouds
from posebench.interfaces import Attack, Batch, Victim, VictimSpec
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended

NOISE_DRAWS = 100
QUERIES = 100
EPS_STEPS = 7
LARGE_EPS = 1.0
"""Metres RMS: more than half a body's height; no pose survives it."""

SLACK = 1e-4
"""Relative: how much a weaker attack may exceed a stronger one, for rounding in float32."""

FOOLBOX = 1e-3
"""Relative difference of PMD that rounding in float32 may make between two implementations."""

CONVERGED = 0.02
"""Relative growth of the mean PMD by more effort above which an attack has not converged."""


def budget_kept(subject: Subject) -> tuple[bool | None, str]:
    """1: stored float32 poses lie inside the budget and are finite."""
    worst = 0.0
    for attack in (FGM(subject.budget, objective=subject.objective), subject.strongest()):
        poses, _ = subject.attacked(attack)
        for batch, pose in zip(subject.batches, poses, strict=True):
            norm = perturbation_norms(batch.pose, pose)[subject.budget.norm]
            radius = subject.budget.radius(batch.pose.mask)
            worst = max(worst, float((norm / radius.clamp_min(1e-300)).max()))
            if not bool(torch.isfinite(pose.points).all()):
                return True, "an attacked pose is not finite"
    return worst > 1 + 1e-5, f"largest norm {worst:.7f} of the radius"


def grows_with_eps(subject: Subject) -> tuple[bool | None, str]:
    """2: the mean PMD does not fall as eps grows, and eps 0 gives the clean PMD bit for bit."""
    shares = np.linspace(0, 1, EPS_STEPS)
    values = []
    for share in shares:
        budget = replace(subject.budget, eps=share * subject.budget.eps)
        values.append(
            subject.attacked(PGD(budget, iterations=20, objective=subject.objective))[1].numpy()
        )
    if not np.array_equal(values[0], subject.error().numpy()):
        return True, "eps 0 does not give the clean PMD bit for bit"
    falls = [
        share * subject.budget.eps
        for share, small, large in zip(shares[1:], values, values[1:], strict=False)
        if mean_interval(small - large)[0] > 0
    ]
    means = ", ".join(f"{1e4 * value.mean():.1f}" for value in values)
    return bool(falls), f"PMD x1e-4 over {EPS_STEPS} eps: {means}"


def large_budget_wins(subject: Subject) -> tuple[bool | None, str]:
    """3: a budget as large as the body breaks every pair, worse than another sample's pose does."""
    budget = replace(subject.budget, eps=LARGE_EPS, unit="rms")
    _, values = subject.attacked(
        APGD(budget, iterations=subject.iterations, objective=subject.objective)
    )
    ceiling = subject.error(list(swapped(subject.batches)))
    broken = float((values > TAU).double().mean())
    raised = broken < 1 or float(values.mean()) < float(ceiling.mean())
    return raised, (
        f"at eps {LARGE_EPS:g} {100 * broken:.0f} % broken, PMD x1e-4 {1e4 * values.mean():.0f}; "
        f"with another sample's pose {1e4 * ceiling.mean():.0f}"
    )


def stronger_is_stronger(subject: Subject) -> tuple[bool | None, str]:
    """4: per pair, APGD >= PGD-50 >= FGM >= the worst of 100 noise draws."""
    budget = subject.budget
    ladder = {
        "APGD": subject.attacked(
            APGD(budget, iterations=max(50, subject.iterations), objective=subject.objective)
        )[1],
        "PGD-50": subject.attacked(PGD(budget, iterations=50, objective=subject.objective))[1],
        "FGM": subject.attacked(FGM(budget, objective=subject.objective))[1],
        "noise": worst_noise(subject),
    }
    shares = [
        (f"{strong} at least {weak}", float((high >= low * (1 - SLACK)).double().mean()))
        for (strong, high), (weak, low) in pairwise(ladder.items())
    ]
    text = ", ".join(f"{name} on {100 * share:.0f} %" for name, share in shares)
    return min(share for _, share in shares) < 0.99, text


def converged(subject: Subject) -> tuple[bool | None, str]:
    """5: no single attack with more effort than any round of pt-ensemble beats its mean by 2 %."""
    budget, steps = subject.budget, subject.iterations
    _, reference = subject.attacked(PTEnsemble(budget, objective=subject.objective))
    same: dict[str, Any] = {"budget": budget, "objective": subject.objective}
    more: dict[str, Attack] = {
        "APGD, steps x2": APGD(iterations=2 * steps, **same),
        "APGD, restarts x5": APGD(iterations=steps, restarts=5, **same),
        "Adam, steps x4": VertexAdam(iterations=4 * steps, **same),
        "Adam, restarts x5": VertexAdam(iterations=steps, restarts=5, **same),
        "PGD, step x0.5": PGD(iterations=steps, travel=1.25, **same),
        "PGD, step x2": PGD(iterations=steps, travel=5.0, **same),
    }
    growth = {
        name: float(subject.attacked(attack)[1].mean() / reference.mean()) - 1
        for name, attack in more.items()
    }
    text = ", ".join(f"{name} {100 * value:+.1f} %" for name, value in growth.items())
    return max(growth.values()) > CONVERGED, f"against pt-ensemble: {text}"


def white_box_wins(subject: Subject) -> tuple[bool | None, str]:
    """6: per pair, neither noise nor queries nor transfer beat the white-box attack."""
    _, white = subject.attacked(subject.strongest())
    _, single = subject.attacked(PGD(subject.budget, iterations=50, objective=subject.objective))
    white = torch.maximum(white, single)
    others = {
        f"worst of {NOISE_DRAWS} noise draws": worst_noise(subject),
        f"{QUERIES} queries": subject.attacked(
            Query(subject.budget, iterations=QUERIES, objective=subject.objective)
        )[1],
    }
    if subject.surrogate is not None:
        others["transfer"] = subject.attacked(subject.strongest(), subject.surrogate)[1]
    beaten = {name: int((values > white * (1 + SLACK)).sum()) for name, values in others.items()}
    text = ", ".join(
        f"{name} {1e4 * others[name].mean():.1f} (stronger on {count})"
        for name, count in beaten.items()
    )
    return any(beaten.values()), f"PMD x1e-4: white-box {1e4 * white.mean():.1f}, {text}"


def enough_draws(subject: Subject) -> tuple[bool | None, str]:
    """9: of a random victim, 20 draws in the attack find no less than 1, nor less than frozen."""
    if not subject.system.spec.stochastic:
        return None, "the victim is not random"
    attack = PGD(subject.budget, iterations=20, objective=subject.objective)
    _, one = subject.attacked(attack, EOT(subject.system, 1))
    _, twenty = subject.attacked(attack, EOT(subject.system, 20))
    fixed = Frozen(subject.system)
    generator = generator_for(subject.seed, "check")
    frozen_values = []
    for batch in subject.batches:
        pose = run_attack(attack, fixed, batch, generator=generator).pose
        frozen_values.append(
            pose_values(fixed, batch, pose, objective=OBJECTIVES[subject.objective])
        )
    still = torch.cat(frozen_values).double().cpu()
    weaker = mean_interval((one - twenty).numpy())[0] > 0
    raised = weaker or float(still.mean()) < (1 - CONVERGED) * float(twenty.mean())
    means = ", ".join(f"{1e4 * each.mean():.1f}" for each in (one, twenty, still))
    return raised, f"PMD x1e-4 with 1 draw, 20 draws, randomness frozen: {means}"


def defense_attacked(subject: Subject) -> tuple[bool | None, str]:
    """10: attacks that know the defence are at least as strong as those that do not."""
    if subject.defense is None:
        return None, "no defence"
    attack = subject.strongest()
    through = Defended(subject.victim, subject.defense, straight_through=True)
    known: dict[str, Victim] = {
        "adaptive": subject.seen,
        "straight-through": EOT(through) if through.spec.stochastic else through,
    }
    found = {name: subject.attacked(attack, seen)[1] for name, seen in known.items()}
    blind = subject.attacked(attack, subject.victim)[1]
    best = torch.stack(list(found.values())).amax(dim=0)
    worst = torch.maximum(best, blind).mean()
    text = ", ".join(f"{name} {1e4 * values.mean():.1f}" for name, values in found.items())
    raised = mean_interval((blind - best).numpy())[0] > 0
    return raised, (
        f"PMD x1e-4: oblivious {1e4 * blind.mean():.1f}, {text}; worst of all {1e4 * worst:.1f}"
    )


def same_as_foolbox(subject: Subject) -> tuple[bool | None, str]:
    """12: Foolbox's FGM, through the adapter, gives the PMD that ours gives; first pairs."""
    if find_spec("foolbox") is None:
        return None, "needs the extra foolbox"
    if subject.system.spec.stochastic or subject.budget.norm != "l2":
        return None, "needs a deterministic victim and norm l2"
    first = replace(subject, batches=subject.batches[:1])
    foreign = FoolboxAttack(subject.budget, "L2FastGradientAttack", {"random_start": False})
    _, theirs = first.attacked(foreign)
    _, ours = first.attacked(FGM(subject.budget, objective=subject.objective))
    raised = bool(((theirs - ours).abs() > FOOLBOX * ours).any())
    return raised, f"PMD x1e-4: Foolbox {1e4 * theirs.mean():.3f}, ours {1e4 * ours.mean():.3f}"


@dataclass(frozen=True)
class Frozen:
    """A random victim that draws the same numbers in every call."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return replace(self.victim.spec, stochastic=False)

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        fixed = generator_for(0, "frozen", device=pose.points.device)
        return self.victim(pose, identity, generator=fixed)


def worst_noise(subject: Subject) -> Tensor:
    """The system's largest PMD over random perturbations of the budget, (S,) float64."""
    key = "worst noise", 0
    if key not in subject.found:
        worst = torch.full_like(subject.error(), -math.inf)
        for draw in range(NOISE_DRAWS):
            seeded = replace(subject, seed=draw)
            worst = torch.maximum(worst, seeded.attacked(Noise(subject.budget), subject.victim)[1])
        subject.found[key] = [], worst, None
    return subject.found[key][1]


def swapped(batches: list[Batch]) -> Iterator[Clouds]:
    """Each pair's pose source replaced by the next pair's, the last by the first's."""
    poses = [batch.pose.select(slice(i, i + 1)) for batch in batches for i in range(len(batch))]
    poses = [*poses[1:], poses[0]]
    for batch in batches:
        part, poses = poses[: len(batch)], poses[len(batch) :]
        yield Clouds(
            torch.cat([pose.points for pose in part]),
            torch.cat([pose.mask for pose in part]),
            all(pose.full for pose in part),
        )
