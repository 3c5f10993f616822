"""Attacks on the pose source: explicit registry, name -> class taking a budget."""

from __future__ import annotations

from collections.abc import Callable

from posebench.attacks.enforce import run_attack
from posebench.attacks.fgm import FGM
from posebench.attacks.gradient import pose_gradient, project, steepest
from posebench.attacks.noise import Noise
from posebench.interfaces import Attack, Budget
from posebench.registry import Registry

ATTACKS: Registry[Callable[[Budget], Attack]] = Registry("attack", "attacks")
ATTACKS.register("fgm", FGM)
ATTACKS.register("noise", Noise)

__all__ = [
    "ATTACKS",
    "FGM",
    "Noise",
    "pose_gradient",
    "project",
    "run_attack",
    "steepest",
]
