"""The reliability check of adversarially trained weights: does their robustness outlast training?

It takes a subject and returns whether its flag is raised (None: does not apply) and figures.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.attacks import APGD, FGM, PGD, Query, make_attack
from posebench.benchmark.checks.subject import Subject, TrainingAttack
from posebench.interfaces import Attack

QUERIES = 100

UNSEEN = 2.0
"""Ratio of mean PMD that attacks which training did not use may reach (our choice)."""

CLIFF = 5.0
"""Ratio of mean PMD that twice the eps may reach. No victim that is linear in the pose grows by
more under the best attack: with clean error a and largest gain b eps, squared errors at eps are at
least a^2 + b^2 (one of the directions +-v), at 2 eps at most (a + 2 b)^2 <= 5 (a^2 + b^2)."""

SLACK = 1.02
"""Ratio of mean PMD by which half the eps may exceed the whole before it counts (our choice)."""


def holds_beyond_training(subject: Subject) -> tuple[bool | None, str]:
    """15: attacks and eps that training did not use find no other picture than its own attack.

    The training's attack at the training's eps is compared with others at the same eps, and with
    itself at half and at twice the eps.
    """
    trained = subject.trained_against
    if trained is None:
        return None, "not adversarially trained, or unknown"
    if trained.eps == 0:
        return None, "trained at eps 0"
    used = mean_error(subject, made(trained))
    others = {name: mean_error(subject, each) for name, each in unseen(subject, trained).items()}
    half, twice = (
        mean_error(subject, made(replace(trained, eps=factor * trained.eps))) for factor in (0.5, 2)
    )
    raised = max(others.values()) > UNSEEN * used or half > SLACK * used or twice > CLIFF * used
    text = ", ".join(f"{name} {1e4 * value:.1f}" for name, value in others.items())
    return raised, (
        f"PMD x1e-4 at eps {trained.eps:g}: {trained.name} of training {1e4 * used:.1f}, others "
        f"{text}; {trained.name} at half the eps {1e4 * half:.1f}, at twice {1e4 * twice:.1f}"
    )


def made(trained: TrainingAttack) -> Attack:
    """The attack of training."""
    return make_attack(trained.name, trained.budget, trained.iterations)


def unseen(subject: Subject, trained: TrainingAttack) -> dict[str, Attack]:
    """Attacks of the training's budget that training did not use."""
    budget = trained.budget
    every: dict[str, Attack] = {
        "fgm": FGM(budget, objective=subject.objective),
        "pgd": PGD(budget, iterations=50, objective=subject.objective),
        "apgd": APGD(budget, iterations=subject.iterations, objective=subject.objective),
        "query": Query(budget, iterations=QUERIES, objective=subject.objective),
    }
    return {name: attack for name, attack in every.items() if name != trained.name}


def mean_error(subject: Subject, attack: Attack) -> float:
    """The system's mean error over pairs under an attack, square metres."""
    return float(torch.mean(subject.attacked(attack)[1]))
