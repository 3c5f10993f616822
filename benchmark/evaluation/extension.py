"""A cell on more pairs goes on from its record on fewer: pairs are a list that more samples extend.

Only the attack is spared, which is what costs; everything else is measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from posebench.attacks import Universal
from posebench.benchmark.evaluation.plan import Evaluation, plan_evaluation
from posebench.benchmark.evaluation.table import Table
from posebench.benchmark.records.types import Record
from posebench.benchmark.stats.bootstrap import Summary
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch


def first_part(given: Evaluation, found: Iterable[Record], device: str) -> Record | None:
    """Of ``found`` the record of most pairs that holds the first part of an evaluation."""
    parts = [record for record in found if holds_part(given, record, device)]
    return max(parts, key=lambda record: record.cell.samples, default=None)


def holds_part(given: Evaluation, record: Record, device: str) -> bool:
    """Whether a record is of the same cell on fewer pairs, made on such a device.

    Curves depend on their smaller budgets, universal perturbations on all pairs, and records keep
    a defence's shares as means alone: these start anew.
    """
    attack = given.attacks[0]
    if len(given.attacks) > 1 or attack is None or isinstance(attack, Universal):
        return False
    pairs, where = record.cell.samples, record.environment
    if given.defense is not None or pairs >= given.samples or where.dirty is not False:
        return False
    same = where.device.partition(":")[0] == device.partition(":")[0]
    return same and plan_evaluation(replace(given, samples=pairs)).cells == (record.cell,)


def check_part(given: Evaluation, record: Record, device: str) -> None:
    """Raise InputError unless a record holds the first part of an evaluation."""
    if not holds_part(given, record, device):
        raise InputError("the record to go on from is of another cell, or of one that starts anew")


def add_known(record: Record, ids: Tensor, attack: Attack, batch: Batch, table: Table) -> None:
    """The attacked values of pairs (B,) that a record holds, as ``add_attacked`` puts them."""
    under = record.metrics.attack
    if under is None:
        raise InputError("a clean record has no attacked values")
    columns = {name: _values(each) for name, each in record.metrics.attacked.items()}
    others = {"noise_pmd": _values(under.noise_pmd)}
    wide = torch.float64
    norms = {name: torch.tensor(each.per_sample, dtype=wide) for name, each in under.norms.items()}
    effort = {}
    if under.effort is not None:
        effort["gradients"] = torch.tensor(under.effort.gradients)
        effort["late_gain"] = torch.tensor(under.effort.late_gain, dtype=wide)
    table.add(
        attacked=_rows(columns, ids),
        norms=_rows(norms, ids),
        others={**_rows(others, ids), "radius": attack.budget.radius(batch.pose.mask)},
        effort=_rows(effort, ids),
    )
    table.forwards += record.cost.forwards * len(ids)
    table.backwards += record.cost.backwards * len(ids)


def _values(summary: Summary) -> Tensor:
    return torch.from_numpy(summary.values)


def _rows(columns: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    return {name: column[ids] for name, column in columns.items()}
