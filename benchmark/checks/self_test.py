"""The checks' own test: broken victims whose flags they must raise, and a plain one without any.

A check that cannot fail is worth nothing, so each of these breaks one thing that a check asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from posebench.benchmark.checks.findings import Finding
from posebench.benchmark.checks.subject import Subject, TrainingAttack
from posebench.cloud import Clouds
from posebench.interfaces import Batch, Budget, Victim
from posebench.module_victim import from_module
from posebench.rng import generator_for
from posebench.victims.broken import (
    Constant,
    Detached,
    FirstStepMasked,
    Mixing,
    Noisy,
    Ordered,
    Quantised,
)

Run = Callable[[Subject, Iterable[int]], Iterator[Finding]]


def plain(pose: Tensor, identity: Tensor) -> Tensor:
    """A smooth victim without tricks: identity + tanh(2 pose), point by point."""
    return identity + torch.tanh(2 * pose)


def plain_batch(pairs: int = 4, points: int = 24) -> Batch:
    """Pairs on which ``plain`` is off by 5 cm RMS, in float32."""
    pose, identity, off = (
        0.3 * torch.randn((pairs, points, 3), generator=generator_for(0, "plain", name))
        for name in ("pose", "identity", "off")
    )
    clouds = [Clouds.dense(each) for each in (pose, identity, plain(pose, identity) + off / 6)]
    faces = torch.zeros((pairs, 1, 3), dtype=torch.int64)
    return Batch(clouds[0], clouds[1], clouds[2], faces, torch.arange(pairs))


def plain_subject() -> Subject:
    """The plain victim, pair by pair as ``posebench check`` has them, as if trained against FGM."""
    batch, budget = plain_batch(), Budget(0.01)
    pairs = [batch.select(slice(i, i + 1)) for i in range(len(batch))]
    trained = TrainingAttack("fgm", budget.eps)
    victim = from_module(plain, name="plain")
    return Subject(victim, pairs, budget, trained_against=trained, iterations=20)


def broken(subject: Subject) -> dict[str, tuple[Victim, tuple[int, ...]]]:
    """Name -> a broken victim made of the subject's, and the checks that must see it."""
    victim = subject.victim
    clean = torch.cat([batch.pose.points for batch in subject.batches])
    return {
        "detached": (Detached(victim), (7,)),
        "quantised": (Quantised(victim), (6, 7)),
        "noisy": (Noisy(victim), (8, 14)),
        "constant": (Constant(victim), (7,)),
        "mixing": (Mixing(victim), (13,)),
        "ordered": (Ordered(victim), (13,)),
        "first-step-masked": (FirstStepMasked(victim, clean), (15,)),
    }


def self_test(run: Run, numbers: tuple[int, ...]) -> tuple[bool, str]:
    """Whether the checks fail to tell broken victims from the plain one, and which.

    ``run`` gives the findings of the checks of these ``numbers`` on a subject.
    """
    subject = plain_subject()
    alarms = [f"plain raises {found.flag}" for found in run(subject, numbers) if found.raised]
    victims = broken(subject)
    for name, (victim, wanted) in victims.items():
        alarms += [
            f"{name} does not raise {found.flag}"
            for found in run(replace(subject, victim=victim), wanted)
            if not found.raised
        ]
    found_all = f"{len(victims)} broken victims found, no alarm on a plain one"
    return bool(alarms), "; ".join(alarms) or found_all
