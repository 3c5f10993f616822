"""Attacks on the pose source: explicit registry, name -> what makes an attack from a budget
(and, for iterative ones, ``iterations``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from inspect import Parameter, signature
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from posebench.errors import InputError
from posebench.registry import Registry

if TYPE_CHECKING:
    from posebench.attacks.apgd import APGD
    from posebench.attacks.cw import CW
    from posebench.attacks.enforce import run_attack
    from posebench.attacks.ensemble import PTEnsemble
    from posebench.attacks.fgm import FGM
    from posebench.attacks.gradient import EOT, pose_gradient
    from posebench.attacks.iterative import IFGM, MIFGM, PGD
    from posebench.attacks.noise import Noise
    from posebench.attacks.point_counts import Add, Drop
    from posebench.attacks.projection import project, steepest
    from posebench.attacks.query import Query
    from posebench.attacks.restarts import Restarts
    from posebench.attacks.sparse import Sparse
    from posebench.attacks.transfer import Transfer
    from posebench.attacks.universal import Universal
    from posebench.attacks.vertex_adam import VertexAdam
    from posebench.interfaces import Attack, Budget
else:
    from posebench.lazy import lazily

    __getattr__, __dir__ = lazily(
        __name__,
        {
            "APGD": "posebench.attacks.apgd",
            "CW": "posebench.attacks.cw",
            "EOT": "posebench.attacks.gradient",
            "FGM": "posebench.attacks.fgm",
            "IFGM": "posebench.attacks.iterative",
            "MIFGM": "posebench.attacks.iterative",
            "PGD": "posebench.attacks.iterative",
            "Add": "posebench.attacks.point_counts",
            "Drop": "posebench.attacks.point_counts",
            "Noise": "posebench.attacks.noise",
            "PTEnsemble": "posebench.attacks.ensemble",
            "Query": "posebench.attacks.query",
            "Restarts": "posebench.attacks.restarts",
            "Sparse": "posebench.attacks.sparse",
            "Transfer": "posebench.attacks.transfer",
            "Universal": "posebench.attacks.universal",
            "VertexAdam": "posebench.attacks.vertex_adam",
            "pose_gradient": "posebench.attacks.gradient",
            "project": "posebench.attacks.projection",
            "run_attack": "posebench.attacks.enforce",
            "steepest": "posebench.attacks.projection",
        },
    )

ATTACKS: Registry[Callable[..., Attack]] = Registry("attack", "attacks")
ATTACKS.register(
    "fgm",
    "posebench.attacks.fgm:FGM",
    "fast gradient method, one step to the edge of the budget (Goodfellow et al. 2015)",
)
ATTACKS.register(
    "noise",
    "posebench.attacks.noise:Noise",
    "random noise of the budget's size; never looks at the victim",
)
ATTACKS.register(
    "ifgm",
    "posebench.attacks.iterative:IFGM",
    "FGM in steps that add up to the radius, no random start",
)
ATTACKS.register("mifgm", "posebench.attacks.iterative:MIFGM", "I-FGM with momentum")
ATTACKS.register(
    "pgd", "posebench.attacks.iterative:PGD", "projected gradient ascent from a random start"
)
ATTACKS.register(
    "apgd", "posebench.attacks.apgd:APGD", "Auto-PGD: step sizes by itself (Croce and Hein 2020)"
)
ATTACKS.register(
    "vertex-adam",
    "posebench.attacks.vertex_adam:VertexAdam",
    "projected Adam with one second moment a vertex; strong under a cap a vertex",
)
ATTACKS.register(
    "sparse",
    "posebench.attacks.sparse:Sparse",
    "few points anywhere in the body's box; eps is a share of points",
)
ATTACKS.register(
    "cw", "posebench.attacks.cw:CW", "minimum-norm attack of Carlini and Wagner (2017), L2 alone"
)
ATTACKS.register("query", "posebench.attacks.query:Query", "black box: asks for outputs alone")
ATTACKS.register(
    "universal",
    "posebench.attacks.universal:Universal",
    "one perturbation for all pairs, fitted beforehand",
)
ATTACKS.register(
    "drop",
    "posebench.attacks.point_counts:Drop",
    "removes the most salient points; eps is a share of points",
)
ATTACKS.register(
    "add",
    "posebench.attacks.point_counts:Add",
    "adds points where they hurt most; eps is a share of points",
)
ATTACKS.register(
    "cube-apgd",
    "posebench.attacks.apgd:CubeAPGD",
    "APGD; under a cap a vertex by signs, in the cubes around it",
)
ATTACKS.register("transfer", "posebench.attacks.transfer:Transfer", "APGD made on another victim")
ATTACKS.register(
    "pt-ensemble",
    "posebench.attacks.ensemble:PTEnsemble",
    "the worst case of Adam and APGD in rounds from many starts, until it has converged",
)

Setting: TypeAlias = bool | int | float | str
"""What files may give as a setting of an attack."""

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
        ATTACKS.register(name, cast("Callable[..., Attack]", made))
        return made

    return decorate


def make_attack(
    name: str,
    budget: Budget,
    iterations: int | None = None,
    objective: str | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> Attack:
    """An attack by name; ``iterations`` and ``objective`` None leave the attack's own.

    ``settings`` are other arguments of its class.

    Raises:
        InputError: unknown name, or what the attack has no setting for.
    """
    given: dict[str, Setting | None] = {"iterations": iterations, "objective": objective}
    given = {key: value for key, value in given.items() if value is not None}
    for key in settings or {}:
        if key in given:
            raise InputError(f"{key} is given twice, once among the settings")
    given |= settings or {}
    for key in given:
        if not takes(name, key):
            raise InputError(f"attack {name!r} takes no {key}")
    try:
        return maker_of(name)(budget, **given)
    except TypeError as error:
        if not settings:
            raise
        raise InputError(f"attack {name!r} refuses its settings: {error}") from error


def maker_of(name: str) -> Callable[..., Attack]:
    """What makes the attack of this name from a budget: a class of the registry, or of another
    library for a name such as "foolbox:L2PGD" (``posebench.attacks.adapters``).

    Raises:
        InputError: unknown name.
    """
    if ":" not in name:
        return ATTACKS[name]
    from posebench.attacks.adapters import named

    return named(name)


def takes(name: str, setting: str) -> bool:
    """Whether the attack of this name has a setting of that name, or may have any."""
    known = signature(maker_of(name)).parameters
    anything = any(each.kind is Parameter.VAR_KEYWORD for each in known.values())
    return setting != "budget" and (setting in known or anything)


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
    "Sparse",
    "Transfer",
    "Universal",
    "VertexAdam",
    "attack",
    "attack_name",
    "attack_version",
    "make_attack",
    "maker_of",
    "pose_gradient",
    "project",
    "run_attack",
    "steepest",
    "takes",
]
