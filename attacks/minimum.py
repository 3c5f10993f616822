"""The smallest budget with which an attack succeeds, per sample, by bisection."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from posebench.attacks.enforce import run_attack
from posebench.attacks.gradient import frozen
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Victim
from posebench.objective import pmd
from posebench.shapes import Float


def minimum_eps(
    make: Callable[[float], Attack],
    victim: Victim,
    batch: Batch,
    *,
    largest: float,
    tau: float = 1e-3,
    rounds: int = 10,
    generator: Generator | None = None,
) -> Float[Tensor, "b"]:
    """``eps_min@tau`` (B,) float64: the least eps tried at which PMD exceeds tau.

    0 where the clean pose fails already, infinity where ``largest`` does not suffice; elsewhere
    within largest / 2 ** rounds of the attack's own threshold, if its success is monotone in eps.

    Raises:
        InputError: if ``largest`` or ``tau`` is not a positive number or rounds is below 1.
    """
    for name, value in (("largest", largest), ("tau", tau)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, got {value}")
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, got {rounds}")

    def succeeds(eps: Tensor) -> Tensor:
        """Whether each sample's own eps suffices; samples with equal eps are attacked together."""
        result = torch.zeros(len(batch), dtype=torch.bool)
        for value in eps.unique().tolist():
            rows = torch.nonzero(eps == value).flatten()
            part = batch.select(rows)
            pose = part.pose
            if value:
                pose = run_attack(make(value), victim, part, generator=generator).pose
            with torch.no_grad(), frozen(victim):
                output = victim(pose, part.identity, generator=generator)
            result[rows] = (pmd(output, part.target) > tau).cpu()
        return result

    low = torch.zeros(len(batch), dtype=torch.float64)
    high = torch.full_like(low, largest)
    fails_clean, breaks = succeeds(low), succeeds(high)
    for _ in range(rounds):
        middle = (low + high) / 2
        hit = succeeds(middle)
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    high = torch.where(breaks, high, math.inf)
    return torch.where(fails_clean, 0.0, high)
