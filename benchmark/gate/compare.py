"""The regression of attack success: a gate's cells against their baseline.

What a change means depends on what else changed (docs/design/008-regress.md):

* Weights as in the baseline: lower attacked PMD is a weaker attack, red. Higher is a stronger
  attack, allowed and said; behind a defence it may as well be the defence, red.
* Other weights, or a victim without any: higher attacked PMD is a less robust victim, red.
* Higher clean PMD is a worse victim, red; behind a defence with the same weights any change is.
* Past the budget, or another share of points kept by a defence: red, without statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from posebench.benchmark.evaluation.settings import NONE
from posebench.benchmark.gate.baseline import Measurement, Rows, read_baseline, write_baseline
from posebench.benchmark.gate.config import Gate, flat
from posebench.benchmark.gate.measure import measure_cell
from posebench.benchmark.gate.victims import load_gate_victim
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.types import Json
from posebench.benchmark.stats.paired import Change, change_between, holm
from posebench.errors import InputError
from posebench.files import check_writable
from posebench.interfaces import Victim

OVER_BUDGET = 1 + 1e-4
"""Share of eps above which a perturbation is too large; float32 needs about 1e-6."""

KEPT_TOLERANCE = 0.01
"""Difference in the share of points kept by a defence that counts (our choice): half of what
one more neighbour in SOR changes, and far above a few ties broken otherwise on another CPU."""


@dataclass(frozen=True)
class Finding:
    """One compared quantity.

    Attributes:
        name: cell, or victim and defence where the attack plays no part.
        quantity: "attacked PMD", "clean PMD", "kept points" or "budget".
        before, after: geometric mean over pairs in square metres, or a share.
        change: how sure; None where no statistics are needed.
        p: Holm-adjusted over everything tested; None likewise.
        verdict: "ok" or what happened.
        red: whether that fails the gate.
        note: what else changed.
    """

    name: str
    quantity: str
    before: float
    after: float
    verdict: str
    red: bool
    change: Change | None = None
    p: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Rule:
    """What a fall and a rise of a quantity are called, and whether they fail the gate."""

    fall: str
    fall_red: bool
    rise: str
    rise_red: bool

    def p(self, change: Change) -> float:
        """One-sided where one direction is red, two-sided where both are."""
        if self.fall_red and self.rise_red:
            return change.p_either
        return change.p_lower if self.fall_red else change.p_higher


def attacked_rule(*, same_weights: bool, defended: bool) -> Rule:
    """How a change of attacked PMD is read."""
    if not same_weights:
        return Rule("more robust", False, "less robust", True)
    if defended:
        return Rule("attack weaker", True, "defence weaker", True)
    return Rule("attack weaker", True, "attack stronger", False)


def clean_rule(*, same_weights: bool, defended: bool) -> Rule:
    """How a change of clean PMD is read."""
    if same_weights and defended:
        return Rule("defence changed", True, "defence changed", True)
    return Rule("victim better", False, "victim worse", True)


def run_gate(
    gate: Gate,
    *,
    update: bool = False,
    offset: int = 0,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Measurement]:
    """Measure every cell, by the baseline's seeds if ``update``, else by later ones.

    ``offset`` moves on to other seeds, never to the baseline's. Victims are loaded once each.
    """
    rules = gate.rules
    first = 0 if update else rules.baseline_seeds + offset * rules.seeds
    seeds = range(first, first + (rules.baseline_seeds if update else rules.seeds))
    found: dict[str, Measurement] = {}
    victims: dict[tuple[object, ...], Victim] = {}
    for cell in gate.cells:
        if progress is not None:
            progress(cell.name)
        asked = cell.evaluation
        key = (asked.victim, cell.training, asked.weights, asked.size)
        if key not in victims:
            victims[key] = load_gate_victim(cell, gate.folder, device)
        found[cell.name] = measure_cell(cell, victims[key], seeds, device=device)
    return found


def check_gate(
    gate: Gate,
    *,
    offset: int = 0,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> list[Finding]:
    """Run a gate and compare it with its baseline.

    Raises:
        InputError: no baseline, one of other cells or pairs, or a victim that misbehaves.
    """
    before = read_baseline(gate.baseline)
    check_comparable(gate, before)
    return compare(gate, before, run_gate(gate, offset=offset, device=device, progress=progress))


def update_baseline(
    gate: Gate, *, device: str = "cpu", progress: Callable[[str], None] | None = None
) -> None:
    """Measure a gate's baseline and write it, with what it was measured on."""
    check_writable(gate.baseline.parent)
    found = run_gate(gate, update=True, device=device, progress=progress)
    write_baseline(gate.baseline, found, environment(device))


def check_comparable(gate: Gate, before: dict[str, Measurement]) -> None:
    """Raise InputError unless the baseline holds the gate's cells, those alone, as they are set."""
    end = "; if that is meant, run 'posebench regress --update' and commit the baseline"
    where = f"baseline {gate.baseline}"
    names = [cell.name for cell in gate.cells]
    if missing := [name for name in names if name not in before]:
        raise InputError(f"{where}: has no cell {missing[0]!r} ({len(missing)} missing){end}")
    if stale := [name for name in before if name not in names]:
        raise InputError(f"{where}: the gate has no cell {stale[0]!r} any more{end}")
    for cell in gate.cells:
        old, now = before[cell.name], flat(cell)
        for key in ("pairs", "size", "training"):
            was = old.settings[key]
            if was != now[key]:
                raise InputError(f"{where}: {cell.name!r} had {key} {was!r}, now {now[key]!r}{end}")
        if len(old.seeds) not in (1, gate.rules.baseline_seeds):  # its seeds would be run again
            raise InputError(
                f"{where}: {cell.name!r} was run with {len(old.seeds)} seeds, baseline_seeds is "
                f"now {gate.rules.baseline_seeds}{end}"
            )


def compare(
    gate: Gate, before: dict[str, Measurement], after: dict[str, Measurement]
) -> list[Finding]:
    """What changed between two runs of a gate's cells; Holm over everything that is tested.

    Raises:
        InputError: cells or pairs are not those of the baseline.
    """
    check_comparable(gate, before)
    tested: list[tuple[Finding, Rule]] = []
    fixed: list[Finding] = []
    systems = set()
    for cell in gate.cells:
        asked, old, new = cell.evaluation, before[cell.name], after[cell.name]
        check_settings(gate, cell.name, old, new)
        same = new.weights_sha256 is not None and old.weights_sha256 == new.weights_sha256
        kind = {"same_weights": same, "defended": asked.defense != NONE}
        note = _note(old, new, same=same)
        values = (cell.name, "attacked PMD", old.pmd, new.pmd)
        tested.append((_tested(*values, note), attacked_rule(**kind)))
        system = (cell.system, asked.samples, asked.size)
        if system not in systems:
            systems.add(system)
            values = (cell.system, "clean PMD", old.clean_pmd, new.clean_pmd)
            tested.append((_tested(*values, note), clean_rule(**kind)))
            fixed += _kept(cell.system, old, new)
        if new.reached > OVER_BUDGET:
            shares = (old.reached, new.reached)
            fixed.append(Finding(cell.name, "budget", *shares, "over budget", True))
    adjusted = holm([rule.p(_change(finding)) for finding, rule in tested])
    judged = [
        _judged(gate, finding, rule, p) for (finding, rule), p in zip(tested, adjusted, strict=True)
    ]
    return sorted([*judged, *fixed], key=lambda finding: finding.quantity)


def check_settings(gate: Gate, name: str, old: Measurement, new: Measurement) -> None:
    """Raise InputError unless a cell was measured with the settings of its baseline."""
    for key, value in new.settings.items():
        if old.settings[key] != value:
            raise InputError(
                f"baseline {gate.baseline}: {name!r} was measured with another {key}; if that is "
                "meant, run 'posebench regress --update' and commit the baseline"
            )


def _tested(name: str, quantity: str, old: Rows, new: Rows, note: str) -> Finding:
    before = np.array(old)
    change = change_between(before, np.array(new))
    level = math.exp(float(np.log(np.maximum(before, 1e-12)).mean()))
    return Finding(
        name, quantity, level, level * change.ratio, "ok", False, change=change, note=note
    )


def _judged(gate: Gate, finding: Finding, rule: Rule, p: float) -> Finding:
    """A red direction needs the adjusted p and the effect; the other is said on its own p."""
    change = _change(finding)
    fell = change.mean < 0
    word, red = (rule.fall, rule.fall_red) if fell else (rule.rise, rule.rise_red)
    sure = p if red else (change.p_lower if fell else change.p_higher)
    finding = replace(finding, p=p)
    if sure >= gate.rules.alpha or abs(change.mean) < math.log(gate.rules.effect):
        return finding
    return replace(finding, verdict=word, red=red)


def _change(finding: Finding) -> Change:
    assert finding.change is not None, "only tested findings come here"
    return finding.change


def _kept(name: str, old: Measurement, new: Measurement) -> list[Finding]:
    if old.kept is None or new.kept is None or abs(new.kept - old.kept) <= KEPT_TOLERANCE:
        return []
    return [Finding(name, "kept points", old.kept, new.kept, "defence changed", True)]


def _note(old: Measurement, new: Measurement, *, same: bool) -> str:
    """What else is not as in the baseline, for the reader."""
    notes = (
        [] if same else ["no weights to compare" if new.weights_sha256 is None else "new weights"]
    )
    was, now = plain(old.resolved), plain(new.resolved)
    notes += [f"was {was[key]}, is {now[key]}" for key in now if was[key] != now[key]]
    return "; ".join(notes)


def as_json(gate: Gate, findings: list[Finding]) -> Json:
    """The outcome for machines; PMD in square metres."""
    return {
        "schema": "posebench/regress/1",
        "red": any(finding.red for finding in findings),
        "alpha": gate.rules.alpha,
        "effect": gate.rules.effect,
        "findings": [
            {
                "name": each.name,
                "quantity": each.quantity,
                "before": each.before,
                "after": each.after,
                "ratio": None if each.change is None else each.change.ratio,
                "ratio_ci95": None if each.change is None else list(each.change.interval),
                "p": each.p,
                "verdict": each.verdict,
                "red": each.red,
                "note": each.note,
            }
            for each in findings
        ],
    }
