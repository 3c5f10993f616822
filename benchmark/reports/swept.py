"""What shipped sweeps ask for, in the words of records: for tables whose cells are a sweep's."""

from __future__ import annotations

from posebench.benchmark.evaluation.plan import attack_cell
from posebench.benchmark.evaluation.settings import EvaluationSettings
from posebench.benchmark.records.types import AttackCell, DefenseCell
from posebench.defenses import defense_name


def attack_asked(asked: EvaluationSettings) -> AttackCell | None:
    """The attack's part of the cell that such settings make, of a single budget."""
    (attack,) = asked.completed().made_attacks()
    return attack_cell(attack, ())


def defense_asked(asked: EvaluationSettings) -> DefenseCell | None:
    """The defence's part."""
    made = asked.made_defense()
    return None if made is None else DefenseCell(defense_name(made), repr(made))
