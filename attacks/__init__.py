"""Attacks on the pose source: explicit registry, name -> what makes an attack from a budget
(and, for iterative ones, ``iterations``)."""

from __future__ import annotations

from collections.abc import Callable

from posebench.attacks.enforce import run_attack
from posebench.attacks.fgm import FGM
from posebench.attacks.gradient import pose_gradient, project, steepest
from posebench.attacks.iterative import IFGM, MIFGM, PGD
from posebench.attacks.noise import Noise
from posebench.interfaces import Attack
from posebench.registry import Registry

ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", "attacks")
ATTACKS.register("fgm", FGM)
ATTACKS.register("noise", Noise)
ATTACKS.register("ifgm", IFGM)
ATTACKS.register("mifgm", MIFGM)
ATTACKS.register("pgd", PGD)

__all__ = [
    "ATTACKS",
    "FGM",
    "IFGM",
    "MIFGM",
    "PGD",
    "Noise",
    "pose_gradient",
    "project",
    "run_attack",
    "steepest",
]
