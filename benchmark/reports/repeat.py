"""The command that makes a record again, from its cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.data.datasets import dataset_of
from posebench.benchmark.records.types import AttackCell, Cell, Record
from posebench.benchmark.reports.shipped import weights_names
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims import SIZES

UNKNOWN_WEIGHTS = "WEIGHTS"
"""Stands in a command for weights that are not shipped."""


OWN_PAIRS = "PAIRS"
"""Likewise for the files of own pairs."""


def sweeps(records: Iterable[Record]) -> list[list[Record]]:
    """Records that one ``posebench run --eps low:high:count`` made, by growing eps.

    A swept record says which budget its poses started from, so chains can be told from single
    cells; chains of fewer than three budgets are no curve and left out.
    """
    first: list[tuple[str, float, Record]] = []
    later: dict[tuple[str, str], list[tuple[float, Record]]] = {}
    for record in records:
        attack = record.cell.attack
        if attack is None:
            continue
        family = _family(record.cell, attack)
        if attack.warm_from is None:
            first.append((family, attack.eps, record))
        else:
            before = (family, f"{attack.warm_from:g}")
            later.setdefault(before, []).append((attack.eps, record))
    found = []
    for family, eps, record in first:
        chain = [record]
        while larger := [each for each in later.get((family, f"{eps:g}"), []) if each[0] > eps]:
            eps, after = min(larger, key=lambda each: each[0])
            chain.append(after)
        if len(chain) > 2:
            found.append(chain)
    return found


def _family(cell: Cell, attack: AttackCell) -> str:
    """Everything that the records of one sweep share, as text."""
    settings = re.sub(r"\beps=[^,)]+", "eps", attack.settings, count=1)
    same = replace(attack, settings=settings, eps=0.0, warm_from=None)
    return repr(replace(cell, attack=same))


def repeat_command(record: Record, chain: Sequence[Record] | None = None) -> str | None:
    """``posebench run ...`` that makes a record again, as one of its sweep if ``chain`` is given.

    None where the command line cannot: an attack or defence with settings of its own, other
    weights than a registered victim's, or a sweep whose steps are not even.
    """
    cell = record.cell
    sha256 = cell.weights.sha256
    swept = None if chain is None else [each.cell.attack for each in chain]
    attack, defense, size = _attack_words(cell, swept), _defense_words(cell), _size(cell)
    if attack is None or defense is None or size is None or sha256 is None:
        return None
    weights = weights_names().get(sha256)
    words = ["posebench", "run", "--victim", cell.victim]
    words += ["--weights", f"victims/weights/{weights}" if weights else UNKNOWN_WEIGHTS]
    pairs = ["--pairs", OWN_PAIRS] if cell.task.startswith("own/") else ["--task", cell.task]
    words += [*attack, *defense, *pairs, "--samples", str(cell.samples)]
    if size != "compact":
        words += ["--size", size]
    if not dataset_of(cell.task).own_vertices and SIZES[size].vertices != cell.vertices:
        words += ["--vertices", str(cell.vertices)]
    if cell.seed:
        words += ["--seed", str(cell.seed)]
    return shlex.join(words)


def _attack_words(cell: Cell, swept: Sequence[AttackCell | None] | None) -> list[str] | None:
    attack = cell.attack
    if attack is None:
        return ["--attack", "none"]
    if attack.name not in ATTACKS or (attack.warm_from is not None and swept is None):
        return None
    iterations = _iterations(attack)
    eps = f"{attack.eps:.12g}" if swept is None else _eps_words(swept)
    if iterations is None or eps is None:
        return None
    words = ["--attack", attack.name, *iterations, "--eps", eps]
    words += ["--objective", "aligned"] if attack.metric == "pmd_aligned" else []
    if attack.unit != "rms":
        words += ["--eps-unit", attack.unit]
    if attack.norm not in ("l2", attack.name):
        words += ["--norm", attack.norm]
    access = cell.access
    if access.surrogate is not None:
        words += [*([] if attack.name == "transfer" else ["--access", access.kind])]
        words += ["--surrogate", access.surrogate]
    elif access.kind != "oblivious":
        words += ["--access", access.kind]
    return words


def _iterations(attack: AttackCell) -> list[str] | None:
    """The option for an attack's number of steps, if any; None if no number gives its settings."""
    budget = Budget(attack.eps, attack.norm, attack.unit)
    objective = "aligned" if attack.metric == "pmd_aligned" else None
    steps = re.search(r"\biterations=(\d+)", attack.settings)
    for count in (None, int(steps[1])) if steps else (None,):
        try:
            same = repr(make_attack(attack.name, budget, count, objective)) == attack.settings
        except InputError:
            same = False
        if same:
            return [] if count is None else ["--iterations", str(count)]
    return None


def _eps_words(swept: Sequence[AttackCell | None]) -> str | None:
    eps = [each.eps for each in swept if each is not None]
    even = np.linspace(eps[0], eps[-1], len(eps))
    return f"{eps[0]:g}:{eps[-1]:g}:{len(eps)}" if np.allclose(eps, even, atol=1e-12) else None


def _defense_words(cell: Cell) -> list[str] | None:
    if cell.defense is None:
        return []
    name = cell.defense.name
    if name not in DEFENSES:
        return None
    return ["--defense", name] if repr(DEFENSES[name]()) == cell.defense.settings else None


def _size(cell: Cell) -> str | None:
    """The value of ``--size``: the weights', or the first whose meshes have these vertices."""
    try:
        if dataset_of(cell.task).own_vertices:
            return "compact"
    except InputError:  # of a plug-in that is not installed here
        return None
    if cell.weights.size in SIZES:
        return cell.weights.size
    fits = [name for name, size in SIZES.items() if size.vertices == cell.vertices]
    return "compact" if "compact" in fits else next(iter(fits), None)
