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
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import get_args

from posebench.benchmark.evaluation.settings import NONE, EvaluationSettings, checked
from posebench.benchmark.records.codec import Place, decode, decoded, dotted
from posebench.benchmark.records.types import Json
from posebench.errors import InputError
from posebench.fields import STRICT
from posebench.norms import Norm, Unit
from posebench.registry import unknown
from posebench.victims import VICTIMS
from posebench.victims.weights import TRAININGS

ACCESS = ("oblivious", "adaptive", "straight-through")
LEAST_PAIRS = 4
"""Below, a t-test over pairs says nothing."""

PAIRS = 16
"""Of a cell that does not say how many."""

NAMES = {"samples": "pairs"}
"""Field of the settings -> its key in a gate, where that is another."""

LATER = {"objective": None, "regime": "protocol", "threat": None}
"""Keys that a baseline has only where they are not these: older baselines stay as they are."""

ABSENT = ("surrogate", "seed", "precision", "settings")
"""Fields of the settings that a gate decides itself: no surrogate, seeds of its own, float32, and
the attack's own settings but for iterations and objective."""


@dataclass(frozen=True)
class GateCell:
    """One attack on one victim, behind a defence or not.

    Attributes:
        evaluation: what is asked, at one eps. Its victim may also be ``package.module:function``
            whose call returns a victim; its weights are relative to the gate's file.
        training: which of the shipped weights, a key of ``TRAININGS``.
    """

    __pydantic_config__ = STRICT

    evaluation: EvaluationSettings
    training: str = "clean"

    @property
    def system(self) -> str:
        """Victim and defence on a task: what cells with different attacks share."""
        asked = self.evaluation
        name = asked.victim
        if asked.weights is not None:
            name += f" ({asked.weights.stem})"
        elif ":" not in asked.victim:
            regime = "" if asked.regime == "protocol" else f"{asked.regime}, "
            name += f" ({regime}{self.training})"
        name += f" behind {asked.defense}" if asked.defense != NONE else ""
        return name + (f" on {asked.task}" if asked.task != "anny/seen" else "")

    @property
    def name(self) -> str:
        """What the cell is called in tables and baselines."""
        asked = self.evaluation
        attack = f"{asked.attack} {asked.eps[0]:g}"
        attack += f" {asked.eps_unit}" if asked.eps_unit != "rms" else ""
        attack += f" {asked.norm}" if asked.norm != "l2" else ""
        attack += f" {asked.objective}" if asked.objective is not None else ""
        attack += f" x{asked.iterations}" if asked.iterations is not None else ""
        attack += f" {asked.access}" if asked.defense != NONE else ""
        return f"{self.system}: {attack}"


@dataclass(frozen=True)
class Rules:
    """When a gate is red.

    Attributes:
        alpha: chance of a false alarm over all cells together.
        effect: smallest ratio that counts as a change; our choice, below asv's factor of 1.1.
        baseline_seeds: runs of each random cell behind a baseline.
        seeds: runs of each random cell when it is compared.
    """

    __pydantic_config__ = STRICT

    alpha: float = 0.05
    effect: float = 1.05
    baseline_seeds: int = 10
    seeds: int = 1


@dataclass(frozen=True)
class Gate:
    """What is watched, and when it is red.

    Attributes:
        cells: what is run.
        baseline: file with what earlier runs gave.
        folder: of the gate's file; weights are relative to it.
        rules: when it is red.
    """

    cells: tuple[GateCell, ...]
    baseline: Path
    folder: Path
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        rules = self.rules
        if not 0 < rules.alpha < 1:
            raise InputError(f"alpha must be between 0 and 1, got {rules.alpha}")
        if not 1 <= rules.effect < math.inf:
            raise InputError(f"effect must be a ratio of at least 1, got {rules.effect}")
        if rules.baseline_seeds < 3 or rules.seeds < 1:
            raise InputError(
                f"a gate needs 3 or more baseline_seeds and 1 or more seeds, got "
                f"{rules.baseline_seeds} and {rules.seeds}"
            )


def read_gate(path: Path, baseline: Path | None = None) -> Gate:
    """A gate's TOML file, everything in it checked; ``baseline`` overrules the file's own.

    Raises:
        InputError: no such file, not TOML, an unknown key or name, or a value out of range.
    """
    where = f"gate {path}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{where}: {error} (docs/regress.md shows one)") from error
    rules = {each.name for each in fields(Rules)}
    check_known(content, {*rules, "baseline", "defaults", "cell"}, where)
    stored = content.get("baseline", "baselines.json")
    if not isinstance(stored, str):
        raise InputError(f"{where}: baseline must be a text, got {stored!r}")
    given = decode(Rules, {key: content[key] for key in rules & content.keys()}, where)
    entries = content.get("cell")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{where}: holds no [[cell]]")
    defaults = checked_table(content.get("defaults", {}), where)
    cells: list[GateCell] = []
    for number, entry in enumerate(entries, 1):
        table = {**defaults, **checked_table(entry, where)}
        cell = read_cell(table, f"{where}: cell {number}")
        if cell.name in [each.name for each in cells]:
            raise InputError(f"{where}: two cells are {cell.name!r}")
        cells.append(cell)
    try:
        return Gate(tuple(cells), baseline or path.parent / stored, path.parent, given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def read_cell(table: Mapping[str, object], where: str) -> GateCell:
    """One cell, refused here rather than after minutes of other cells.

    Raises:
        InputError: a key that is missing, of another type, or a value that cannot be.
    """
    for key in ("victim", "attack"):
        if key not in table:
            raise InputError(f"{where}: lacks {key!r}")
    cell, problems = decoded(GateCell, nested(table), shown_place)
    if cell is None:
        raise InputError(f"{where}: {problems[0]}")
    try:
        return checked_cell(cell)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def checked_cell(cell: GateCell) -> GateCell:
    """The cell with its norm and access filled in.

    Raises:
        InputError: a name that is not known, or a value out of range.
    """
    asked = cell.evaluation
    if ":" not in asked.victim:
        VICTIMS[asked.victim]  # raises with a suggestion
    elif asked.weights is not None:
        raise InputError("weights are for victims of the registry, not for a function's")
    for kind, value, known in (
        ("training", cell.training, TRAININGS),
        ("access", asked.access or "oblivious", ACCESS),
        ("norm", asked.norm or "l2", get_args(Norm)),
        ("eps unit", asked.eps_unit, get_args(Unit)),
        ("precision", asked.precision, ("float32",)),
    ):
        if value not in known:
            raise unknown(kind, value, known)
    if asked.samples < LEAST_PAIRS:
        raise InputError(f"pairs must be at least {LEAST_PAIRS}, got {asked.samples}")
    if asked.attack in (NONE, "transfer"):
        lacks = {NONE: "something to attack with", "transfer": "a surrogate"}[asked.attack]
        raise InputError(f"attack {asked.attack!r} needs {lacks}, which a gate does not have")
    if asked.defense == NONE and asked.access not in (None, "oblivious"):
        raise InputError(f"access {asked.access!r} needs a defence")
    if asked.eps == (0,):
        raise InputError("eps must be above 0: nothing is attacked with 0")
    return replace(cell, evaluation=checked(asked))


def nested(table: Mapping[str, object]) -> Json:
    """A cell's flat table as :class:`GateCell` decodes it; nulls, as JSON has them, left out."""
    inner: Json = {"pairs": PAIRS}
    inner |= {key: value for key, value in table.items() if value is not None}
    outer = {key: inner.pop(key) for key in ("training",) if key in inner}
    if "eps" in inner:
        inner["eps"] = [inner["eps"]]
    if isinstance(inner.get("weights"), str):
        inner["weights"] = Path(inner["weights"])
    fields_of = {key: name for name, key in NAMES.items()}
    return {**outer, "evaluation": {fields_of.get(k, k): value for k, value in inner.items()}}


def flat(cell: GateCell) -> Json:
    """What :func:`nested` takes, with every key but ``weights``: a baseline's settings."""
    asked = cell.evaluation
    keys = cell_keys() - {"weights", "training"}
    fields_of = {key: name for name, key in NAMES.items()}
    table: Json = {key: getattr(asked, fields_of.get(key, key)) for key in sorted(keys)}
    table |= {"eps": asked.eps[0], "training": cell.training}
    table["defense"] = None if asked.defense == NONE else asked.defense
    return {key: value for key, value in table.items() if value != LATER.get(key, MISSING)}


def cell_keys() -> set[str]:
    """Keys of a cell's table."""
    names = {each.name for each in fields(EvaluationSettings)} - {*ABSENT}
    return {NAMES.get(name, name) for name in names} | {"training"}


def shown_place(place: Place) -> str:
    """Where the flat table has what the types have at ``place``."""
    inner = place[1:] if place[:1] == ("evaluation",) else place
    if inner[:1] == ("eps",):
        inner = inner[:1]
    return dotted(tuple(NAMES.get(str(part), part) for part in inner))


def checked_table(table: object, where: str) -> Mapping[str, object]:
    """A table of a cell's keys."""
    return check_known(table, cell_keys(), where)


def check_known(table: object, known: set[str], where: str) -> Mapping[str, object]:
    """Refuse what is no table, or has a key that is not known."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table with keys {', '.join(sorted(known))}")
    for key in table:
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
    return table
