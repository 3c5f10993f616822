"""Which records a table shows: of which weights, under which attack, on the most pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from posebench.attacks import FGM, PGD, PTEnsemble
from posebench.benchmark.evaluation.plan import attack_cell
from posebench.benchmark.records.store import read_records
from posebench.benchmark.records.types import AttackCell, Cell, Record
from posebench.benchmark.reports.shipped import is_shipped
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.threats import THREATS
from posebench.victims import SIZES

CLEAN: AttackCell | None = None
FGM_02, FGM_08, PGD_08 = (
    attack_cell(attack, ()) for attack in (FGM(Budget(0.02)), FGM(Budget(0.08)), PGD(Budget(0.08)))
)
"""What the tables show: these attacks with just these settings, PGD with 20 steps."""

WORST = {
    threat.name: attack_cell(PTEnsemble(threat.budget, objective=threat.objective), ())
    for threat in THREATS.values()
}
"""Threat model -> the attack that its worst case is of, in its present version."""

ENSEMBLE_08 = WORST["paper-l2-0.08"]


def records_below(folder: Path) -> list[Record]:
    """All records below a folder that tables may show; see :func:`shown_records`."""
    return shown_records(folder)[0]


def shown_records(folder: Path) -> tuple[list[Record], int]:
    """All records below a folder but those that no table shows, and how many of these have no
    truth. The others are studies in lower precision.

    Raises:
        InputError: if there are none to show, or one is not valid.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder of records; work in a clone of posebench, or name one "
            "(--records)"
        )
    records = [each for each in read_records(folder) if each.cell.precision == "float32"]
    shown = [each for each in records if each.metrics.truth]
    if not shown:
        without = f" with a truth: {len(records)} have none, and" if records else " in float32;"
        raise InputError(
            f"{folder}: holds no records{without} make some with 'posebench run --out {folder}'"
        )
    return shown, len(records) - len(shown)


def shipped_plain(
    record: Record,
    seed: int = 0,
    *,
    regime: str = "protocol",
    size: str = "compact",
) -> bool:
    """As :func:`shipped_bare`, and attacked, if at all, through the victim's own gradients."""
    bare = shipped_bare(record, seed, regime=regime, size=size)
    return record.cell.access.kind == "oblivious" and bare


def shipped_bare(
    record: Record,
    seed: int = 0,
    *,
    regime: str = "protocol",
    size: str = "compact",
) -> bool:
    """Of shipped weights of this size, training seed and regime, evaluation seed 0, no defence."""
    cell = record.cell
    recipe = cell.weights.recipe or {}
    return (
        cell.defense is None
        and cell.seed == 0
        and cell.weights.size == size
        and of_its_size(cell)
        and is_shipped(cell.weights)
        and recipe.get("seed") == seed
        and cell.weights.regime == regime
    )


def of_its_size(cell: Cell) -> bool:
    """Whether meshes have the vertices that go with the network's size, or their own number."""
    usual = SIZES.get(cell.weights.size or "")
    made = cell.task.startswith("anny/")
    return usual is None or not made or cell.vertices == usual.vertices


def unshipped_plain(record: Record) -> bool:
    """Of small weights that posebench trained but does not ship, and without a defence."""
    cell = record.cell
    own = bool(cell.weights.recipe) and not is_shipped(cell.weights)
    return own and cell.weights.size == "small" and cell.defense is None


def most_pairs(records: Iterable[Record]) -> Record | None:
    """The first record of most pairs; None if there is none."""
    return max(records, key=lambda record: record.cell.samples, default=None)


def find(
    records: Iterable[Record],
    attack: AttackCell | None,
    *,
    task: str,
    victim: str | None = None,
    training: str | None = None,
) -> Record | None:
    """The record of most pairs under just this attack; None if there is none.

    Where ``victim`` or ``training`` is None, of any.
    """
    return most_pairs(
        record
        for record in records
        if record.cell.task == task
        and record.cell.attack == attack
        and victim in (None, record.cell.victim)
        and training in (None, record.cell.weights.training)
    )


def weights_of(records: Iterable[Record]) -> list[tuple[str, str]]:
    """(victim, training) of the records, sorted."""
    return sorted({(record.cell.victim, record.cell.weights.training) for record in records})
