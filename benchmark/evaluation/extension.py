"""A cell goes on from a record that holds some of its pairs, and spares their attack.

A record on fewer pairs holds the first ones, since pairs are a list that more samples extend. One
of ``pt-ensemble`` under a lower limit holds those that stopped by themselves before it: a higher
one would have found the same. Only the attack is spared, which is what costs; everything else is
measured again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from posebench.attacks import PTEnsemble, Universal
from posebench.benchmark.data.task import has_truth
from posebench.benchmark.evaluation.metrics import METRICS
from posebench.benchmark.evaluation.plan import Evaluation, Plan, plan_evaluation
from posebench.benchmark.evaluation.table import Table
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.types import Record
from posebench.benchmark.stats.bootstrap import Summary
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch


def most_known(given: Evaluation, found: Iterable[Record], device: str) -> Record | None:
    """Of ``found`` the record that holds most pairs of an evaluation; None if none holds any."""
    found = [record for record in found if known_pairs(given, record, device)]
    return max(found, key=lambda record: len(known_pairs(given, record, device)), default=None)


def known_pairs(given: Evaluation, record: Record, device: str) -> list[int]:
    """Numbers of the pairs whose attacked values a record made on such a device holds.

    Curves depend on their smaller budgets, universal perturbations on all pairs, and records keep
    a defence's shares as means alone: these start anew. So does what a record under the very same
    limit holds of all pairs: it is the evaluation's own.
    """
    attack, under = given.attacks[0], record.metrics.attack
    if len(given.attacks) > 1 or attack is None or isinstance(attack, Universal) or under is None:
        return []
    where = record.environment
    if given.defense is not None or where.dirty is not False:
        return []
    if where.device.partition(":")[0] != device.partition(":")[0]:
        return []
    here = environment(device)  # whose attacks round as those of the record did
    if (where.device_name, where.torch) != (here.device_name, here.torch):
        return []
    pairs, settled = range(record.cell.samples), None
    if isinstance(attack, PTEnsemble) and under.effort is not None:
        limit = limit_of(record)
        if limit < attack.most:
            attack = replace(attack, most=limit)
            settled = [count < limit for count in under.effort.gradients]
    alike = replace(given, samples=min(len(pairs), given.samples), attacks=(attack,))
    if len(pairs) > given.samples:
        return []
    plan = plan_evaluation(alike)
    if plan.cells != (record.cell,) or not holds_metrics(plan, record):
        return []
    if settled is None:
        return list(pairs) if len(pairs) < given.samples else []
    return [pair for pair in pairs if settled[pair]]


def holds_metrics(plan: Plan, record: Record) -> bool:
    """Whether a record has what would be measured now: an older one may lack a metric."""
    if not has_truth(plan.pairs):
        return True
    low = [] if plan.rough is None else ["bf16_pmd"]
    return set(record.metrics.attacked) == {*METRICS.working(), *low}


def limit_of(record: Record) -> int:
    """``most`` in the settings of a record of ``pt-ensemble``."""
    attack = record.cell.attack
    found = None if attack is None else re.search(r"\bmost=([0-9]+)", attack.settings)
    return 0 if found is None else int(found.group(1))


def pairs_to_take(given: Evaluation, record: Record, device: str) -> list[int]:
    """:func:`known_pairs`; raises InputError if there are none."""
    found = known_pairs(given, record, device)
    if not found:
        raise InputError("the record to go on from is of another cell, or of one that starts anew")
    return found


def add_known(record: Record, ids: Tensor, attack: Attack, batch: Batch, table: Table) -> None:
    """The attacked values of pairs (B,) that a record holds, as ``add_attacked`` puts them."""
    under = record.metrics.attack
    if under is None:
        raise InputError("a clean record has no attacked values")
    columns = {name: _values(each) for name, each in record.metrics.attacked.items()}
    others = {"noise_pmd": _values(under.noise_pmd)}
    wide = torch.float64
    norms = {name: torch.tensor(each.per_sample, dtype=wide) for name, each in under.norms.items()}
    effort, share = {}, 1.0
    if under.effort is not None:
        gradients = torch.tensor(under.effort.gradients)
        effort["gradients"] = gradients
        effort["late_gain"] = torch.tensor(under.effort.late_gain, dtype=wide)
        share = float(gradients[ids].double().mean() / gradients.double().mean())
    table.add(
        attacked=_rows(columns, ids),
        norms=_rows(norms, ids),
        others={**_rows(others, ids), "radius": attack.budget.radius(batch.pose.mask)},
        effort=_rows(effort, ids),
    )
    table.forwards += round(record.cost.forwards * share * len(ids))
    table.backwards += round(record.cost.backwards * share * len(ids))


def _values(summary: Summary) -> Tensor:
    return torch.from_numpy(summary.values)


def _rows(columns: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    return {name: column[ids] for name, column in columns.items()}
