"""The gate of ``posebench regress``: which cells are watched, as a TOML file says.

baseline = "baselines.json"          # beside this file

[defaults]                           # of every cell
victim = "mypackage.networks:make_victim"
pairs = 16

[[cell]]
attack = "fgm"
eps = 0.08

[[cell]]
attack = "fgm"
eps = 0.08
defense = "sor"
access = "adaptive"
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast, get_args

from posebench.attacks import make_attack
from posebench.benchmark.data.datasets import parse_task
from posebench.benchmark.training.recipe import check_kinds, kinds
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget, Defense
from posebench.norms import Norm, Unit
from posebench.registry import unknown
from posebench.victims import SIZES, VICTIMS

ACCESS = ("oblivious", "adaptive", "straight-through")
LEAST_PAIRS = 4
"""Below, a t-test over pairs says nothing."""


@dataclass(frozen=True)
class GateCell:
    """One attack on one victim, behind a defence or not.

    Attributes:
        victim: registry name, or ``package.module:function`` whose call returns a victim.
        training: "clean" or "adversarial", which of the shipped weights.
        weights: a weights file in place of shipped ones, relative to the gate's file.
        attack, eps, eps_unit, norm, iterations, defense, access, task: as in ``posebench run``.
        pairs: the task's first so many are attacked.
        size: decides the vertex count and which shipped weights.
    """

    victim: str
    attack: str
    training: str = "clean"
    weights: str | None = None
    eps: float = 0.08
    eps_unit: str = "rms"
    norm: str = "l2"
    iterations: int | None = None
    defense: str | None = None
    access: str = "oblivious"
    task: str = "anny/seen"
    pairs: int = 16
    size: str = "compact"

    @property
    def system(self) -> str:
        """Victim and defence on a task: what cells with different attacks share."""
        name = self.victim
        if self.weights is not None:
            name += f" ({Path(self.weights).stem})"
        elif ":" not in self.victim:
            name += f" ({self.training})"
        name += f" behind {self.defense}" if self.defense else ""
        return name + (f" on {self.task}" if self.task != "anny/seen" else "")

    @property
    def name(self) -> str:
        """What the cell is called in tables and baselines."""
        attack = f"{self.attack} {self.eps:g}"
        attack += f" {self.eps_unit}" if self.eps_unit != "rms" else ""
        attack += f" {self.norm}" if self.norm != "l2" else ""
        attack += f" x{self.iterations}" if self.iterations is not None else ""
        attack += f" {self.access}" if self.defense else ""
        return f"{self.system}: {attack}"

    def made_attack(self) -> Attack:
        """The attack that this cell runs."""
        budget = Budget(self.eps, cast(Norm, self.norm), cast(Unit, self.eps_unit))
        return make_attack(self.attack, budget, self.iterations)

    def made_defense(self) -> Defense | None:
        """The defence in front of the victim."""
        return None if self.defense is None else DEFENSES[self.defense]()


@dataclass(frozen=True)
class Gate:
    """What is watched, and when it is red.

    Attributes:
        cells: what is run.
        baseline: file with what earlier runs gave.
        folder: of the gate's file; weights are relative to it.
        alpha: chance of a false alarm over all cells together.
        effect: smallest ratio that counts as a change; our choice, below asv's factor of 1.1.
        baseline_seeds: runs of each random cell behind a baseline.
        seeds: runs of each random cell when it is compared.
    """

    cells: tuple[GateCell, ...]
    baseline: Path
    folder: Path
    alpha: float = 0.05
    effect: float = 1.05
    baseline_seeds: int = 10
    seeds: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha must be between 0 and 1, got {self.alpha}")
        if not 1 <= self.effect < math.inf:
            raise InputError(f"effect must be a ratio of at least 1, got {self.effect}")
        if self.baseline_seeds < 3 or self.seeds < 1:
            raise InputError(
                f"a gate needs 3 or more baseline_seeds and 1 or more seeds, got "
                f"{self.baseline_seeds} and {self.seeds}"
            )


def read_gate(path: Path, baseline: Path | None = None) -> Gate:
    """A gate's TOML file, everything in it checked; ``baseline`` overrules the file's own.

    Raises:
        InputError: no such file, not TOML, an unknown key or name, or a value out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"gate {path}: {error} (docs/regress.md shows one)") from error
    given = {f.name for f in fields(Gate)} - {"cells", "folder"}
    check_known(content, {*given, "defaults", "cell"}, f"gate {path}")
    settings = {key: value for key, value in content.items() if key in given}
    stored = settings.pop("baseline", "baselines.json")
    if not isinstance(stored, str):
        raise InputError(f"gate {path}: baseline must be a text, got {stored!r}")
    check_kinds(settings, kinds(Gate), f"gate {path}")
    settings |= {key: float(settings[key]) for key in ("alpha", "effect") if key in settings}
    defaults, entries = content.get("defaults", {}), content.get("cell")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"gate {path}: holds no [[cell]]")
    cells: list[GateCell] = []
    for number, entry in enumerate(entries, 1):
        for table in (defaults, entry):
            check_known(table, {f.name for f in fields(GateCell)}, f"gate {path}")
        cell = read_cell({**defaults, **entry}, f"gate {path}: cell {number}")
        if cell.name in [each.name for each in cells]:
            raise InputError(f"gate {path}: two cells are {cell.name!r}")
        cells.append(cell)
    try:
        return Gate(tuple(cells), baseline or path.parent / stored, path.parent, **settings)
    except InputError as error:
        raise InputError(f"gate {path}: {error}") from error


def read_cell(table: dict[str, Any], where: str) -> GateCell:
    """One cell, refused here rather than after minutes of other cells."""
    check_kinds(table, kinds(GateCell), where)
    for key in ("victim", "attack"):
        if key not in table:
            raise InputError(f"{where}: lacks {key!r}")
    cell = GateCell(**{**table, "eps": float(table.get("eps", GateCell.eps))})
    try:
        if ":" not in cell.victim:
            VICTIMS[cell.victim]  # raises with a suggestion
        elif cell.weights is not None:
            raise InputError("weights are for victims of the registry, not for a function's")
        for kind, value, known in (
            ("training", cell.training, ("clean", "adversarial")),
            ("size", cell.size, SIZES),
            ("access", cell.access, ACCESS),
            ("norm", cell.norm, get_args(Norm)),
            ("eps unit", cell.eps_unit, get_args(Unit)),
        ):
            if value not in known:
                raise unknown(kind, value, known)
        parse_task(cell.task)
        if cell.pairs < LEAST_PAIRS:
            raise InputError(f"pairs must be at least {LEAST_PAIRS}, got {cell.pairs}")
        if cell.defense is None and cell.access != "oblivious":
            raise InputError(f"access {cell.access!r} needs a defence")
        if cell.attack == "transfer":
            raise InputError("attack 'transfer' needs a surrogate, which a gate does not have")
        if cell.eps == 0:
            raise InputError("eps must be above 0: nothing is attacked with 0")
        cell.made_attack()
        cell.made_defense()
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return cell


def check_known(table: Any, known: set[str], where: str) -> None:
    """Refuse what is no table, or has a key that is not known."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table with keys {', '.join(sorted(known))}")
    for key in table:
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
