"""What an attack gets to see: the victim, and pairs to fit a universal perturbation on."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from posebench.attacks import Universal
from posebench.attacks.counting import counting
from posebench.benchmark.data.anny import MAX_SAMPLES, load_task
from posebench.errors import InputError
from posebench.interfaces import Defense, Victim
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended

Access = Literal["oblivious", "adaptive", "straight-through", "transfer"]

FIT_PAIRS = 16
"""Pairs that a universal perturbation is fitted on; never among those attacked."""


def seen_by_attack(
    victim: Victim, defense: Defense | None, access: str, surrogate: Victim | None
) -> Victim:
    """The victim whose gradients and outputs an attack with this access gets.

    Raises:
        InputError: unknown access, or one that lacks its surrogate or defence.
    """
    if access not in get_args(Access):
        raise unknown("access", access, get_args(Access))
    if (access == "transfer") != (surrogate is not None):
        raise InputError("access 'transfer' and a surrogate go together: give both or neither")
    if surrogate is not None:
        return surrogate
    if access == "straight-through" and defense is None:
        raise InputError("access 'straight-through' needs a defence")
    if access == "oblivious" or defense is None:
        return victim
    return Defended(victim, defense, straight_through=access == "straight-through")


def fit_universal(
    attack: Universal,
    seen: Victim,
    *,
    task: str,
    samples: int,
    vertices: int,
    seed: int,
    device: str,
) -> tuple[Universal, int]:
    """The attack, fitted on pairs from the far end of the task's list, and the gradients it took.

    Raises:
        InputError: if these pairs are among the ``samples`` that are attacked.
    """
    if samples > MAX_SAMPLES - FIT_PAIRS:
        raise InputError(
            f"a universal perturbation is fitted on the last {FIT_PAIRS} of {MAX_SAMPLES} pairs: "
            f"at most {MAX_SAMPLES - FIT_PAIRS} samples are left to attack, got {samples}"
        )
    pairs = load_task(task, samples=MAX_SAMPLES, vertices=vertices)
    last = torch.arange(MAX_SAMPLES - FIT_PAIRS, MAX_SAMPLES)
    batches = [pairs.batch(ids).to(device) for ids in last.split(1)]
    generator = generator_for(seed, "fit", device=device)
    with counting(seen) as (shown, calls):
        fitted = attack.fit(shown, batches, generator=generator)
    return fitted, calls.backwards
