"""One evaluation by names, as options and files give it; run, sweep, check and gate embed it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from posebench.attacks import Setting, make_attack, takes
from posebench.benchmark.data.datasets import dataset_of, parse_task
from posebench.benchmark.data.names import USUAL_SAMPLES
from posebench.benchmark.evaluation.access import Surrogate, check_access
from posebench.benchmark.evaluation.metres import check_metres
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.evaluation.sources import Source, load_surrogate
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.fields import STRICT
from posebench.interfaces import Attack, Budget, Defense
from posebench.norms import Norm, Precision, Unit
from posebench.registry import unknown
from posebench.threats import Threat, find_threat
from posebench.victims import SIZES
from posebench.victims.weights import REGIMES

NONE = "none"
"""As an attack or a defence: without."""

OWN_NORM = ("drop", "add", "sparse")
"""Attacks that know one norm, of their own name."""

MAX_BUDGETS = 100
"""Of one curve."""

SURROGATES = ("gct", "npt")
"""Where transferred solutions come from unless told otherwise: the first that is another network
(our choice: two that hear the pose vertex by vertex)."""


def surrogate_for(victim: str) -> str:
    """Whose solutions are carried over to a victim unless told otherwise."""
    return next(name for name in SURROGATES if name != victim)


@dataclass(frozen=True)
class EvaluationSettings:
    """What is asked, by names; None follows from the rest.

    Attributes:
        victim: registry name.
        weights: a file; None for the shipped ones.
        attack, defense: registry names or "none".
        eps: budgets, each at least the one before.
        eps_unit, norm: of the budgets, see ``Budget``; norm None is the attack's own.
        iterations: of the attack; None leaves its own number.
        objective: what the attack maximises, a key of ``OBJECTIVES``; None leaves its own.
        settings: other arguments of the attack's class, (name, value) each.
        threat: threat model, which decides eps, eps_unit, norm and objective.
        access: what the attack sees; None for the attack's own.
        surrogate: victim name, for access "transfer".
        task: data set and split.
        samples: its first so many pairs.
        size: registry name; decides vertex count and shipped weights.
        regime: of shipped weights, one of ``REGIMES``.
        seed: of attacks, noise baselines and defences.
        precision: of what attacks see: "float32", or "bf16" for studies that no table ranks.
    """

    __pydantic_config__ = STRICT

    victim: str
    weights: Path | None = None
    attack: str = NONE
    eps: tuple[float, ...] = field(default=(0.08,))
    eps_unit: str = "rms"
    norm: str | None = None
    iterations: int | None = None
    objective: str | None = None
    settings: tuple[tuple[str, Setting], ...] = ()
    threat: str | None = None
    defense: str = NONE
    access: str | None = None
    surrogate: str | None = None
    task: str = "anny/seen"
    samples: int = USUAL_SAMPLES
    size: str = "compact"
    vertices: int | None = None
    regime: str = "protocol"
    seed: int = 0
    precision: str = "float32"

    @property
    def mesh_vertices(self) -> int:
        """Of the meshes that are made: those asked for, or those of the size."""
        return SIZES[self.size].vertices if self.vertices is None else self.vertices

    def completed(self) -> EvaluationSettings:
        """What follows from the threat model and from the attack's name filled in.

        Raises:
            InputError: an unknown threat model, or something given that it decides.
        """
        if self.threat is not None:
            return self._threatened(find_threat(self.threat)).completed()
        access, surrogate = self.access, self.surrogate
        norm = self.norm or (self.attack if self.attack in OWN_NORM else "l2")
        if self.attack == "transfer":
            access = access or "transfer"
            surrogate = surrogate or surrogate_for(self.victim)
        return replace(self, norm=norm, access=access or "oblivious", surrogate=surrogate)

    def _threatened(self, threat: Threat) -> EvaluationSettings:
        """The settings with what a threat model decides, in its place."""
        decided: dict[str, object] = {
            "eps": (threat.budget.eps,),
            "eps_unit": threat.budget.unit,
            "norm": threat.budget.norm,
            "objective": threat.objective,
        }
        defaults = {each.name: each.default for each in fields(self)}
        for name, value in decided.items():
            if getattr(self, name) not in (value, defaults[name]):
                raise InputError(f"threat model {threat.name!r} decides {name}: leave it out")
        if self.attack == NONE or not takes(self.attack, "objective"):
            decided["objective"] = None  # such as noise, which maximises nothing
        return replace(self, threat=None, **decided)  # type: ignore[arg-type]

    def made_attacks(self) -> tuple[Attack | None, ...]:
        """An attack for each budget; (None,) without one.

        Raises:
            InputError: a budget, norm or unit that cannot be, or iterations for an attack that
                takes none.
        """
        unit, norm = cast(Unit, self.eps_unit), cast(Norm, self.norm or "l2")
        budgets = [Budget(eps, norm, unit) for eps in self.eps]
        if self.attack == NONE:
            for name in ("iterations", "objective"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} needs an attack")
            return (None,)
        others = dict(self.settings)
        return tuple(
            make_attack(self.attack, each, self.iterations, self.objective, others)
            for each in budgets
        )

    def made_defense(self) -> Defense | None:
        """The defence in front of the victim."""
        return None if self.defense == NONE else DEFENSES[self.defense]()

    def made_surrogate(self) -> Surrogate | None:
        """The network that a transfer attack is made on."""
        return None if self.surrogate is None else load_surrogate(self.surrogate, self.size)


def evaluation_of(settings: EvaluationSettings, source: Source) -> Evaluation:
    """The settings, completed and made, for one of the networks that they name.

    Raises:
        InputError: any setting that cannot be.
    """
    settings = checked(settings)
    return Evaluation(
        victim=source.network,
        attacks=settings.made_attacks(),
        defense=settings.made_defense(),
        access=settings.access or "oblivious",
        surrogate=settings.made_surrogate(),
        task=settings.task,
        samples=settings.samples,
        vertices=settings.mesh_vertices,
        seed=settings.seed,
        weights=source.weights,
        precision=cast(Precision, settings.precision),
    )


def checked(settings: EvaluationSettings) -> EvaluationSettings:
    """The settings completed; everything that can be wrong with them by name is refused.

    Raises:
        InputError: what is wrong, and what is known.
    """
    if settings.size not in SIZES:
        raise unknown("size", settings.size, SIZES)
    if settings.regime not in REGIMES:
        raise unknown("regime", settings.regime, REGIMES)
    if settings.weights is not None and settings.regime != "protocol":
        raise InputError("a regime chooses shipped weights: leave it out beside a weights file")
    if settings.precision not in get_args(Precision):
        raise unknown("precision", settings.precision, get_args(Precision))
    parse_task(settings.task)
    if settings.vertices is not None and dataset_of(settings.task).own_vertices:
        raise InputError(f"task {settings.task!r} brings its own vertices: leave the number out")
    if settings.defense == NONE and settings.access == "adaptive":
        raise InputError("access 'adaptive' needs a defence: without one there is only one access")
    settings = settings.completed()
    for attack in settings.made_attacks():
        if attack is not None:
            check_metres(attack.budget, settings.mesh_vertices)
    settings.made_defense()
    check_access(settings.access or "oblivious", settings.made_surrogate())
    return settings


def eps_values(text: str) -> tuple[float, ...]:
    """'0.08' to (0.08,); '0:0.16:9' to nine values from 0 to 0.16, both ends included.

    Raises:
        InputError: anything else, or a range that does not rise.
    """
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts[:2]]
        count = int(parts[2]) if len(parts) == 3 else 1
    except ValueError:
        numbers = []
    if len(numbers) == 1 and len(parts) == 1:
        return tuple(numbers)
    if len(numbers) != 2 or len(parts) != 3:
        raise InputError(f"eps must be a number such as 0.08 or low:high:count, got {text!r}")
    low, high = numbers
    if not (0 <= low < high < math.inf and 2 <= count <= MAX_BUDGETS):
        raise InputError(
            f"eps {text!r}: low:high:count needs 0 <= low < high and a count of 2..{MAX_BUDGETS}"
        )
    return tuple(float(value) for value in np.linspace(low, high, count))
