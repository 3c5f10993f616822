"""Attacks on the pose source: explicit registry, name -> what makes an attack from a budget
(and, for iterative ones, ``iterations``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import TypeVar, cast

from posebench.attacks.apgd import APGD
from posebench.attacks.cw import CW
from posebench.attacks.enforce import run_attack
from posebench.attacks.ensemble import PTEnsemble
from posebench.attacks.fgm import FGM
from posebench.attacks.gradient import EOT, pose_gradient, project, steepest
from posebench.attacks.iterative import IFGM, MIFGM, PGD
from posebench.attacks.noise import Noise
from posebench.attacks.point_counts import Add, Drop
from posebench.attacks.query import Query
from posebench.attacks.restarts import Restarts
from posebench.attacks.transfer import Transfer
from posebench.attacks.universal import Universal
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget
from posebench.registry import Registry

ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", "attacks")
ATTACKS.register("fgm", FGM)
ATTACKS.register("noise", Noise)
ATTACKS.register("ifgm", IFGM)
ATTACKS.register("mifgm", MIFGM)
ATTACKS.register("pgd", PGD)
ATTACKS.register("apgd", APGD)
ATTACKS.register("cw", CW)
ATTACKS.register("query", Query)
ATTACKS.register("universal", Universal)
ATTACKS.register("drop", Drop)
ATTACKS.register("add", Add)
ATTACKS.register("transfer", Transfer)
ATTACKS.register("pt-ensemble", PTEnsemble)


A = TypeVar("A")


def attack(name: str) -> Callable[[type[A]], type[A]]:
    """Class decorator that makes an attack of a class with ``budget`` and ``__call__``.

    The class becomes a frozen dataclass and is registered under ``name``; see
    ``posebench.interfaces.Attack``. A package that names the class under the entry-point group
    ``posebench.attacks`` makes the command line find it.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(made: type[A]) -> type[A]:
        made = made if is_dataclass(made) else dataclass(frozen=True)(made)
        ATTACKS.register(name, cast(Callable[..., Attack], made))
        return made

    return decorate


def make_attack(name: str, budget: Budget, iterations: int | None = None) -> Attack:
    """An attack by name; ``iterations`` None leaves the attack's own number.

    Raises:
        InputError: unknown name, or iterations for an attack that has none.
    """
    make = ATTACKS[name]
    if iterations is None:
        return make(budget)
    try:
        return make(budget, iterations=iterations)
    except TypeError as error:
        raise InputError(f"attack {name!r} takes no iterations") from error


def attack_name(attack: Attack) -> str:
    """The registry's name of an attack; its ``label`` or class for one that is not registered."""
    registered = ATTACKS.name_of(type(attack))
    return registered or str(getattr(attack, "label", type(attack).__name__.lower()))


def attack_version(attack: Attack) -> int:
    """The attack's ``version``, 1 where it names none; see ``posebench.interfaces.Attack``."""
    return int(getattr(attack, "version", 1))


__all__ = [
    "APGD",
    "ATTACKS",
    "CW",
    "EOT",
    "FGM",
    "IFGM",
    "MIFGM",
    "PGD",
    "Add",
    "Drop",
    "Noise",
    "PTEnsemble",
    "Query",
    "Restarts",
    "Transfer",
    "Universal",
    "attack",
    "attack_name",
    "attack_version",
    "make_attack",
    "pose_gradient",
    "project",
    "run_attack",
    "steepest",
]
