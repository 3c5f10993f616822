"""Cells: what an evaluation will be, known before anything runs.

A record's path follows from its cell, so a sweep can tell what is done and what is missing. The
harness makes its records from the same ``Evaluation``: planned and written cells cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from posebench.attacks import EOT, Transfer, attack_name
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.task import PairTask
from posebench.benchmark.evaluation.access import seen_by_attack
from posebench.benchmark.evaluation.measure import EVALUATION_DRAWS
from posebench.defenses import defense_name
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget, Defense, Victim
from posebench.victims.wrappers import Defended, EqualPoints, any_count

EOT_DRAWS = 8
"""Draws that attacks on a stochastic victim average their loss over; never those of evaluation."""


@dataclass(frozen=True)
class VictimSource:
    """Where a victim's weights came from, for the record.

    Attributes:
        size: registry key, such as "compact".
        training: "clean", "adversarial", "noise", "imported" or "given".
        recipe: of the run that made the weights, None where unknown.
        network: constructor arguments of a built-in network, None for others.
        weights_sha256: of the weights file, None for a victim that has none.
    """

    size: str | None = None
    training: str = "given"
    recipe: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """A victim, what is done to it on which pairs, and the cells that come of it.

    Attributes:
        pairs: the task's samples.
        system: the victim with its wrappers and its defence.
        seen: what attacks get; behind EOT where a draw is involved.
        cells: the cell of each attack's record.
    """

    pairs: PairTask
    system: Victim
    seen: Victim
    cells: list[dict[str, Any]]

    @property
    def stochastic(self) -> bool:
        """Whether anything draws: a draw belongs to a sample, so it must not meet a batch."""
        return self.system.spec.stochastic or self.seen.spec.stochastic


def plan_evaluation(
    victim: Victim,
    attacks: Sequence[Attack | None],
    *,
    defense: Defense | None = None,
    task: str = "anny/seen",
    access: str = "oblivious",
    surrogate: Victim | None = None,
    samples: int = 32,
    vertices: int = 1700,
    seed: int = 0,
    source: VictimSource | None = None,
) -> Evaluation:
    """What ``evaluate_sweep`` with these arguments will run, without a forward.

    Raises:
        InputError: unknown task or access, counts out of range, or budgets that do not grow.
    """
    pairs = load_task(task, samples=samples, vertices=vertices)
    if not pairs.keeps_count or any(a is not None and a.budget.counts_points for a in attacks):
        victim = any_count(victim)
        surrogate = None if surrogate is None else any_count(surrogate)
    if access != "transfer" and any(isinstance(attack, Transfer) for attack in attacks):
        raise InputError("attack 'transfer' needs access 'transfer' and a surrogate")
    system = victim if defense is None else Defended(victim, defense)
    seen = seen_by_attack(victim, defense, access, surrogate)
    check_growing([attack.budget for attack in attacks if attack is not None])
    shared = {
        "task": task,
        "samples": samples,
        "vertices": vertices,
        "fingerprint": pairs.fingerprint,
        "victim": victim.spec.name,
        **asdict(source or VictimSource()),
        "defense": None if defense is None else defense_name(defense),
        "defense_settings": None if defense is None else repr(defense),
        "access": access if surrogate is None else f"{access} from {surrogate.spec.name}",
        "wrappers": wrappers(system),
        "seed": seed,
        "draws": EVALUATION_DRAWS if system.spec.stochastic else 1,
    }
    cells = []
    for number, attack in enumerate(attacks):
        warm = [each for each in attacks[:number] if each is not None]
        cells.append({**shared, **attack_fields(attack, warm)})
    return Evaluation(pairs, system, EOT(seen, EOT_DRAWS) if seen.spec.stochastic else seen, cells)


def check_growing(budgets: Sequence[Budget]) -> None:
    """Raise InputError unless each budget holds the one before: its poses may be kept."""
    for small, large in pairwise(budgets):
        if (small.norm, small.unit) != (large.norm, large.unit) or small.eps > large.eps:
            raise InputError(f"a sweep's budgets must grow, got {large} after {small}")


def attack_fields(attack: Attack | None, warm: list[Attack]) -> dict[str, Any]:
    """The attack's part of a cell; ``warm`` are the attacks that a sweep ran before it."""
    if attack is None:
        names = ("attack", "attack_settings", "eps", "eps_unit", "norm")
        return dict.fromkeys(names)
    before = f" warm from eps {warm[-1].budget.eps:g}" if warm else ""
    return {
        "attack": attack_name(attack),
        "attack_settings": repr(attack) + before,
        "eps": attack.budget.eps,
        "eps_unit": attack.budget.unit,
        "norm": attack.budget.norm,
    }


def wrappers(victim: Victim) -> list[str]:
    """Names of the wrappers around a victim, outermost first."""
    names: list[str] = []
    while isinstance(victim, (Defended, EqualPoints)):
        names.append(type(victim).__name__)
        inner = victim.victim
        if isinstance(victim, Defended) and not inner.spec.masks:
            names.append(EqualPoints.__name__)
        victim = inner
    return names
