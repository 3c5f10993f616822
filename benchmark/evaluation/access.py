"""What an attack gets to see: the victim, its defence, or a surrogate in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import torch

from posebench.attacks import Universal
from posebench.attacks.counting import counting
from posebench.benchmark.data.datasets import dataset_of, load_task
from posebench.benchmark.data.own_pairs import OwnPairs
from posebench.benchmark.data.task import MAX_SAMPLES, check_truth
from posebench.errors import InputError
from posebench.interfaces import Batch, Defense, Victim
from posebench.norms import AccessKind
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended, any_count

FIT_PAIRS = 16
"""Pairs that a universal perturbation is fitted on; never among those attacked."""


@dataclass(frozen=True)
class Surrogate:
    """A network that a transfer attack is made on instead of the victim.

    Attributes:
        victim: the network.
        weights_sha256: of its weights file, for the record; None for one that has none.
    """

    victim: Victim
    weights_sha256: str | None = None

    def any_count(self) -> Surrogate:
        """The same behind a resampler where it needs equal point counts."""
        return Surrogate(any_count(self.victim), self.weights_sha256)


def check_access(kind: str, surrogate: Surrogate | None) -> None:
    """Raise InputError for an unknown access, or one that lacks its surrogate."""
    if kind not in get_args(AccessKind):
        raise unknown("access", kind, get_args(AccessKind))
    if (kind == "transfer") != (surrogate is not None):
        raise InputError("access 'transfer' and a surrogate go together: give both or neither")


def seen_by_attack(
    victim: Victim, defense: Defense | None, kind: str, surrogate: Surrogate | None
) -> Victim:
    """The victim whose gradients and outputs an attack with this access gets.

    Raises:
        InputError: unknown access, or one that lacks its surrogate or defence.
    """
    check_access(kind, surrogate)
    if surrogate is not None:
        return surrogate.victim
    if kind == "straight-through" and defense is None:
        raise InputError("access 'straight-through' needs a defence")
    if kind == "oblivious" or defense is None:
        return victim
    return Defended(victim, defense, straight_through=kind == "straight-through")


def fit_universal(
    attack: Universal, seen: Victim, batches: Iterable[Batch], *, seed: int, device: str
) -> tuple[Universal, int]:
    """The attack, fitted on pairs that are not attacked, and the gradients it took."""
    generator = generator_for(seed, "fit", device=device)
    moved = [batch.to(device) for batch in batches]
    with counting(seen) as (shown, calls):
        fitted = attack.fit(shown, moved, generator=generator)
    return fitted, calls.backwards


def fitting_pairs(
    task: str, data: OwnPairs | None, *, samples: int, vertices: int
) -> Iterator[Batch]:
    """Pairs to fit a universal perturbation on, one by one.

    They are the last of all pairs, whichever are attacked; of data on disk, whose lists may be
    short, those that follow the ones attacked.

    Raises:
        InputError: if there are no such pairs beside the ``samples`` that are attacked, or they
            have no truth.
    """
    own = data is not None or dataset_of(task).on_disk
    first = samples if own else MAX_SAMPLES - FIT_PAIRS
    if samples > first:
        raise InputError(
            f"a universal perturbation is fitted on the last {FIT_PAIRS} of {MAX_SAMPLES} pairs: "
            f"at most {first} samples are left to attack, got {samples}"
        )
    count = first + FIT_PAIRS
    try:
        if data is not None and len(data) < count:
            raise InputError(f"{data.name} has {len(data)} pairs")
        pairs = data or load_task(task, samples=count, vertices=vertices)
    except InputError as error:
        raise InputError(
            f"a universal perturbation is fitted on {FIT_PAIRS} more pairs than the {samples} "
            f"that are attacked: {error}"
        ) from error
    check_truth(pairs, "universal perturbations")
    for each in torch.arange(first, count).split(1):
        yield pairs.batch(each)
