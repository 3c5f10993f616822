"""Two victims on the same pairs under the same attack: which is better, and how sure that is.

Pairs are compared with themselves, so that hard and easy ones count alike and few are needed; see
``stats.paired``. The uncertainty is over pairs: that the training would come out alike with another
seed is not said by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from posebench.benchmark.data.datasets import parse_task
from posebench.benchmark.records.store import read_record
from posebench.benchmark.records.types import AttackCell, Cell, Record
from posebench.benchmark.reports.selection import CLEAN, FGM_02, FGM_08, PGD_08, WORST
from posebench.benchmark.reports.selection import records_below as read_below
from posebench.benchmark.reports.shipped import weights_names
from posebench.benchmark.stats.paired import Change, Values, change_between, holm
from posebench.errors import InputError
from posebench.registry import unknown

ALPHA = 0.05
"""Error that all verdicts of one command may have together."""

COLUMNS: tuple[AttackCell | None, ...] = (CLEAN, *WORST.values(), FGM_02, FGM_08, PGD_08)
"""What two names are compared in: what the tables show."""


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, and the records that it stands for."""

    name: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Comparison:
    """Two records of one kind.

    Attributes:
        names: what both are called.
        cell: of the first; the second's differs in the victim alone, or in its defence.
        errors: (n,) of each pair, square metres: what the attack is judged by, or clean PMD.
        change: from the second to the first: a ratio below 1 says that the first errs less.
        p: of no difference, two-sided, Holm-adjusted over what was compared together.
        flags: of both records.
    """

    names: tuple[str, str]
    cell: Cell
    errors: tuple[Values, Values]
    change: Change
    p: float
    flags: tuple[str, ...]

    @property
    def wins(self) -> tuple[int, int]:
        """In how many pairs the first errs less, and the second."""
        first, second = self.errors
        return int((first < second).sum()), int((second < first).sum())

    @property
    def better(self) -> int | None:
        """0 or 1 for the one that is surely better, None for neither."""
        if not self.p < ALPHA:
            return None
        return 0 if self.change.ratio < 1 else 1


def compare(first: str, second: str, *, records: Path, task: str) -> list[Comparison]:
    """Compare two record files, or two names of weights that have records below ``records``.

    Names are those of weights files without their ending, such as npt-compact-adversarial; size
    compact and clean training may be left out. A record beside a name is compared with the one of
    that name that is of its kind; two names in all that the tables show of them on ``task``.

    Raises:
        InputError: an unknown name, or nothing that compares; what differs is named.
    """
    given = {each: read_record(Path(each)) for each in (first, second) if each.endswith(".json")}
    tasks = {record.cell.task for record in given.values()} or {task}
    one, other = (
        Side(label(given[each].cell), (given[each],))
        if each in given
        else side_of(each, records, min(tasks))
        for each in (first, second)
    )
    if not given and one.name == other.name:
        raise InputError(f"{first} and {second} are the same weights, {one.name}")
    paired = list(alike(one, other, every=bool(given)))
    if not paired:
        raise InputError(f"{first} and {second} do not compare: {reason(one, other)}")
    names = [label(each.cell) for each in paired[0]] if given else [one.name, other.name]
    if names[0] == names[1]:
        names = [first, second]
    return compared(names[0], names[1], paired)


def side_of(name: str, records: Path, task: str) -> Side:
    """The records on a task of the weights that a name stands for.

    Raises:
        InputError: none, or a name that several weights share.
    """
    parse_task(task)
    there = read_below(records / task.replace("/", "-"))
    bare = Path(name).name.removesuffix(".safetensors").removesuffix("-clean")
    files = {file: sha for sha, file in weights_names().items()}
    for file in (f"{bare}.safetensors", f"{bare}-compact.safetensors"):
        found = [each for each in there if each.cell.weights.sha256 == files.get(file, "")]
        if found:
            return Side(file.removesuffix(".safetensors"), tuple(found))
    named = [each for each in there if own_name(each.cell) in (name, f"{name}-clean")]
    if not named:
        raise unknown(f"weights with records on {task}", name, sorted(known(there)))
    if len({each.cell.weights.sha256 for each in named}) > 1:
        raise InputError(f"{name}: several weights of that name have records; name two records")
    return Side(own_name(named[0].cell), tuple(named))


def known(records: Sequence[Record]) -> set[str]:
    """Names of all weights that have one of the records, none of them that stands for others."""
    names = {label(replace(each.cell, defense=None)) for each in records}
    return {each for each in names if each.removesuffix("-clean") not in names - {each}}


def label(cell: Cell) -> str:
    """The weights' name, and the defence before them."""
    file = weights_names().get(cell.weights.sha256 or "", own_name(cell))
    name = file.removesuffix(".safetensors")
    if cell.defense is None:
        return name
    return f"{name} behind {cell.defense.name} ({cell.access})"


def own_name(cell: Cell) -> str:
    """What the folder of a record is called."""
    return "-".join(p for p in (cell.victim, cell.weights.size, cell.weights.training) if p)


def differences(one: Cell, other: Cell) -> list[str]:
    """Why two cells do not compare, in words; empty where they do.

    The victim may differ, and what stands before it. The pairs may not, nor what the attack is.
    """
    parts: dict[str, tuple[object, object]] = {
        "task": (one.task, other.task),
        "pairs": (one.samples, other.samples),
        "vertices": (one.vertices, other.vertices),
        "attack": (attack_words(one.attack), attack_words(other.attack)),
        "precision": (one.precision, other.precision),
    }
    if one.attack is not None and other.attack is not None:
        parts["surrogate"] = (one.access.surrogate, other.access.surrogate)
    if parts["attack"][0] == parts["attack"][1] and one.attack and other.attack:
        before, after = one.attack, other.attack
        parts["attack's version"] = (before.version, after.version)
        parts["attack's settings"] = (before.settings, after.settings)
        parts["attack's start"] = (warm_words(before), warm_words(after))
    found = [f"{what} {a} against {b}" for what, (a, b) in parts.items() if a != b]
    if not found and one.fingerprint != other.fingerprint:
        return ["other points under the same task's name (their fingerprints differ)"]
    return found


def warm_words(attack: AttackCell) -> str:
    """Where a sweep let it start."""
    return "afresh" if attack.warm_from is None else f"from that of eps {attack.warm_from:g}"


def attack_words(attack: AttackCell | None) -> str:
    """An attack as tables name it."""
    if attack is None:
        return "none"
    threat = next((name for name, worst in WORST.items() if worst == attack), None)
    if threat is not None:
        return f"worst case in {threat}"
    return f"{attack.name} {attack.eps:g} {attack.unit} ({attack.norm})"


def alike(first: Side, second: Side, *, every: bool) -> Iterator[tuple[Record, Record]]:
    """Records that compare, of most pairs for each attack; without ``every`` those of the tables'
    attacks on bare victims, in their order."""
    pairs = [
        (one, other)
        for one in first.records
        for other in second.records
        if not differences(one.cell, other.cell) and (one.cell != other.cell or not every)
    ]
    if every:  # of several, the one behind the same defence
        yield from sorted(pairs, key=lambda pair: defended(pair[0]) != defended(pair[1]))[:1]
        return
    for attack in COLUMNS:
        fitting = [pair for pair in pairs if all(bare(each, attack) for each in pair)]
        if fitting:
            yield max(fitting, key=lambda pair: pair[0].cell.samples)


def defended(record: Record) -> tuple[str, str]:
    """What stands before the victim, and what the attack sees of it."""
    defense = record.cell.defense
    return ("", "") if defense is None else (defense.settings, str(record.cell.access))


def bare(record: Record, attack: AttackCell | None) -> bool:
    """Of a victim without defence under just this attack, through its own gradients."""
    cell = record.cell
    plain = cell.defense is None and cell.access.kind == "oblivious" and cell.seed == 0
    return plain and cell.attack == attack


def reason(first: Side, second: Side) -> str:
    """Why nothing compares: what differs between the two records that differ least."""
    ways = [differences(a.cell, b.cell) for a in first.records for b in second.records]
    nearest = min(ways, key=len)
    if nearest:
        return "; ".join(nearest)
    same = any(a.cell == b.cell for a in first.records for b in second.records)
    return "it is the same record" if same else "no attack of the tables was run on both"


def compared(first: str, second: str, pairs: Sequence[tuple[Record, Record]]) -> list[Comparison]:
    """The comparisons, their p adjusted together.

    Raises:
        InputError: a single pair, or a value that is undefined.
    """
    errors = [(judged(one), judged(other)) for one, other in pairs]
    for one, other in errors:
        if len(one) < 2:
            raise InputError("one pair tells nothing: compare records of two or more")
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            raise InputError(f"{first} and {second} do not compare: a pair's error is undefined")
    changes = [change_between(other[None], one[None]) for one, other in errors]
    ps = holm([change.p_either for change in changes])
    return [
        Comparison((first, second), one.cell, error, change, p, tuple({*one.flags, *other.flags}))
        for (one, other), error, change, p in zip(pairs, errors, changes, ps, strict=True)
    ]


def judged(record: Record) -> Values:
    """(n,) errors by which a record is judged: its attack's metric, or PMD without one."""
    attack = record.cell.attack
    return record.metrics.attacked["pmd" if attack is None else attack.metric].values


def words(found: Comparison) -> str:
    """One sentence."""
    first, second = found.names
    kind = "accurate on clean poses"
    if found.cell.attack is not None:
        kind = f"robust against {attack_words(found.cell.attack)}"
    total, wins = len(found.errors[0]), found.wins
    low, high = found.change.interval
    ratio = found.change.ratio
    if found.better is None:
        return (
            f"neither is surely more {kind}: {first} errs less in {wins[0]} of {total} pairs, "
            f"{ratio:.2f} times as much as {second} [{low:.2f}, {high:.2f}], "
            f"{p_words(found.p)}"
        )
    better, worse, won = first, second, wins[0]
    if found.better == 1:
        better, worse, won = second, first, wins[1]
        ratio, low, high = 1 / ratio, 1 / high, 1 / low
    return (
        f"{better} is more {kind} than {worse}: it errs less in {won} of {total} pairs, "
        f"{ratio:.2f} times as much [{low:.2f}, {high:.2f}], {p_words(found.p)}"
    )


def p_words(p: float) -> str:
    """As papers print it."""
    return "p < 1e-6" if p < 1e-6 else f"p = {p:.2g}"
