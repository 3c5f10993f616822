"""What an evaluation will be, known before anything runs.

A record's path follows from its cell, so a sweep can tell what is done and what is missing. The
harness makes its records from the same ``Plan``: planned and written cells cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, cast

from posebench.attacks import EOT, Transfer, attack_name, attack_version
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.names import USUAL_SAMPLES
from posebench.benchmark.data.own_pairs import OwnPairs
from posebench.benchmark.data.task import PairTask, has_truth
from posebench.benchmark.evaluation.access import Surrogate, seen_by_attack
from posebench.benchmark.evaluation.measure import EVALUATION_DRAWS
from posebench.benchmark.records.types import Access, AttackCell, Cell, DefenseCell, Weights
from posebench.defenses import defense_name
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget, Defense, Victim
from posebench.norms import AccessKind, Precision
from posebench.victims.wrappers import Defended, EqualPoints, InBf16, any_count

EOT_DRAWS = 8
"""Draws that attacks on a stochastic victim average their loss over; never those of evaluation."""


@dataclass(frozen=True)
class Evaluation:
    """A victim, what is done to it, and on which pairs: all that decides a record's numbers.

    Attributes:
        victim: what is measured.
        attacks: a record each; None measures clean poses. Growing budgets make a curve.
        defense: in front of the victim.
        access: what attacks see, a key of ``posebench.norms.AccessKind``.
        surrogate: what transfer attacks are made on.
        task: name of the pairs; their first ``samples`` are used.
        data: the pairs themselves, in the place of the task's.
        vertices: of each mesh, where the task offers a choice.
        seed: of attacks, noise baselines and defences.
        weights: where the victim's weights came from, for the record.
        precision: of what attacks see; numbers are float32's.
    """

    victim: Victim
    attacks: tuple[Attack | None, ...] = (None,)
    defense: Defense | None = None
    access: str = "oblivious"
    surrogate: Surrogate | None = None
    task: str = "anny/seen"
    data: OwnPairs | None = None
    samples: int = USUAL_SAMPLES
    vertices: int = 1700
    seed: int = 0
    weights: Weights = field(default_factory=Weights)
    precision: Precision = "float32"


@dataclass(frozen=True)
class Plan:
    """An evaluation made ready to run.

    Attributes:
        pairs: the task's samples.
        system: the victim with its wrappers and its defence.
        seen: what attacks get; behind EOT where a draw is involved.
        rough: the system in the lower precision that attacks saw; None where that is float32.
        cells: the cell of each attack's record.
    """

    pairs: PairTask
    system: Victim
    seen: Victim
    rough: Victim | None
    cells: tuple[Cell, ...]

    @property
    def stochastic(self) -> bool:
        """Whether anything draws: a draw belongs to a sample, so it must not meet a batch."""
        return self.system.spec.stochastic or self.seen.spec.stochastic


def plan_evaluation(given: Evaluation) -> Plan:
    """What running an evaluation means, without a forward.

    Raises:
        InputError: unknown task or access, counts out of range, or budgets that do not grow.
    """
    pairs = pairs_of(given)
    victim, surrogate, defense = given.victim, given.surrogate, given.defense
    shown = victim
    if given.precision == "bf16":
        shown = InBf16(victim)
        surrogate = surrogate and replace(surrogate, victim=InBf16(surrogate.victim))
    budgets = [attack.budget for attack in given.attacks if attack is not None]
    if not pairs.keeps_count or any(budget.counts_points for budget in budgets):
        victim, shown = any_count(victim), any_count(shown)
        surrogate = None if surrogate is None else surrogate.any_count()
    if given.access != "transfer" and any(isinstance(each, Transfer) for each in given.attacks):
        raise InputError("attack 'transfer' needs access 'transfer' and a surrogate")
    system, rough = (v if defense is None else Defended(v, defense) for v in (victim, shown))
    seen = seen_by_attack(shown, defense, given.access, surrogate)
    check_growing(budgets)
    cells = tuple(
        Cell(
            task=pairs.name,
            samples=given.samples,
            vertices=pairs.vertices,
            fingerprint=pairs.fingerprint,
            victim=victim.spec.name,
            weights=given.weights,
            attack=attack_cell(attack, given.attacks[:number], truth=has_truth(pairs)),
            defense=None if defense is None else DefenseCell(defense_name(defense), repr(defense)),
            access=access_cell(given.access, surrogate),
            wrappers=wrappers(system),
            seed=given.seed,
            draws=EVALUATION_DRAWS if system.spec.stochastic else 1,
            precision=given.precision,
        )
        for number, attack in enumerate(given.attacks)
    )
    seen = EOT(seen, EOT_DRAWS) if seen.spec.stochastic else seen
    return Plan(pairs, system, seen, rough if given.precision == "bf16" else None, cells)


def pairs_of(given: Evaluation) -> PairTask:
    """The pairs that an evaluation is of.

    Raises:
        InputError: as :func:`load_task`.
    """
    if given.data is None:
        return load_task(given.task, samples=given.samples, vertices=given.vertices)
    return given.data.first(given.samples)


def check_growing(budgets: Sequence[Budget]) -> None:
    """Raise InputError unless each budget holds the one before: its poses may be kept."""
    for small, large in pairwise(budgets):
        if (small.norm, small.unit) != (large.norm, large.unit) or small.eps > large.eps:
            raise InputError(f"a sweep's budgets must grow, got {large} after {small}")


def attack_cell(
    attack: Attack | None, before: Sequence[Attack | None], *, truth: bool = True
) -> AttackCell | None:
    """The attack's part of a cell; ``before`` is what its sweep ran first, ``truth`` whether the
    right answers are known."""
    if attack is None:
        return None
    warm = [each for each in before if each is not None]
    return AttackCell(
        name=attack_name(attack),
        settings=repr(attack),
        eps=attack.budget.eps,
        unit=attack.budget.unit,
        norm=attack.budget.norm,
        version=attack_version(attack),
        metric=metric_of(attack) if truth else "displacement",
        warm_from=warm[-1].budget.eps if warm else None,
    )


def metric_of(attack: Attack) -> Literal["pmd", "pmd_aligned"]:
    """What an attack is judged by: the metric that it maximises, PMD where that is neither."""
    return "pmd_aligned" if getattr(attack, "objective", "pmd") == "aligned" else "pmd"


def access_cell(kind: str, surrogate: Surrogate | None) -> Access:
    """What the attack saw, for the record."""
    checked = cast(AccessKind, kind)
    if surrogate is None:
        return Access(checked)
    return Access(checked, surrogate.victim.spec.name, surrogate.weights_sha256)


def wrappers(victim: Victim) -> tuple[str, ...]:
    """Names of the wrappers around a victim, outermost first."""
    names: list[str] = []
    while isinstance(victim, (Defended, EqualPoints)):
        names.append(type(victim).__name__)
        inner = victim.victim
        if isinstance(victim, Defended) and not inner.spec.masks:
            names.append(EqualPoints.__name__)
        victim = inner
    return tuple(names)
