"""Known faults, to see that a gate goes red: a gate whose cells notice nothing looks healthy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from posebench.attacks import fgm, iterative, space
from posebench.attacks.gradient import pose_gradient
from posebench.attacks.projection import steepest
from posebench.benchmark.gate import compare as regress
from posebench.benchmark.gate import victims as gate_victim
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.interfaces import Budget, Victim
from posebench.rng import generator_for

GRADIENT_ATTACKS = (fgm, iterative, space)
"""Modules whose steps and gradients are tampered with: fgm; ifgm, mifgm, pgd; apgd, cube-apgd."""

TRUE_RADIUS = Budget.radius


def half_step(*given: Any) -> Tensor:
    """Steps of half the length, in every gradient attack."""
    return 0.5 * steepest(*given)


def flipped_gradient(*given: Any, **settings: Any) -> tuple[Tensor, Tensor]:
    """The gradient with its sign flipped."""
    values, gradient = pose_gradient(*given, **settings)
    return values, -gradient


def keep_all(defense: SOR, pose: Clouds) -> Tensor:
    """SOR that keeps every point."""
    return pose.mask


def scaled_radius(factor: float) -> Callable[[Budget, Tensor], Tensor]:
    """A budget whose radius is off by a factor."""

    def radius(budget: Budget, mask: Tensor) -> Tensor:
        return factor * TRUE_RADIUS(budget, mask)

    return radius


def perturbed_victim(share: float, *given: Any) -> Victim:
    """A victim whose every weight is off by ``share`` of itself, a normal draw each."""
    victim = gate_victim.load_gate_victim(*given)
    network = gate_victim.network_of(victim)
    generator = generator_for(0, "perturbed weights")
    with torch.no_grad():
        for weight in () if network is None else network.parameters():
            draws = torch.randn(weight.shape, generator=generator).to(weight)
            weight.mul_(1 + share * draws)
    return victim


def patched(name: str, made: object) -> ExitStack:
    """One name replaced in every module of gradient attacks, until closed."""
    with ExitStack() as stack:  # closed if a module has no such name
        for module in GRADIENT_ATTACKS:
            stack.enter_context(mock.patch.object(module, name, made))
        return stack.pop_all()


Fault = Callable[[], AbstractContextManager[Any]]

MUTATIONS: dict[str, Fault] = {
    "half-step": lambda: patched("steepest", half_step),
    "flipped-gradient": lambda: patched("pose_gradient", flipped_gradient),
    "no-sor": lambda: mock.patch.object(SOR, "kept", keep_all),
    "budget-low": lambda: mock.patch.object(Budget, "radius", scaled_radius(0.9)),
    "budget-high": lambda: mock.patch.object(Budget, "radius", scaled_radius(1.1)),
    "perturbed-weights": lambda: mock.patch.object(
        regress, "load_gate_victim", partial(perturbed_victim, 0.05)
    ),
}


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Inside, the library has this fault; None for none."""
    from posebench.registry import unknown

    if name is None:
        yield
        return
    if name not in MUTATIONS:
        raise unknown("mutation", name, MUTATIONS)
    with MUTATIONS[name]():
        yield
