"""Committed results by name, so that nobody computes again what stands in the table."""

from __future__ import annotations

from pathlib import Path

from posebench.attacks import PTEnsemble
from posebench.benchmark.evaluation.plan import attack_cell
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.selection import find, records_below, shipped_plain
from posebench.errors import InputError
from posebench.threats import find_threat

COMMITTED = Path(__file__).resolve().parents[2] / "leaderboards" / "records"
"""Of a checkout; an installed wheel has none."""


def published(
    victim: str,
    threat: str,
    *,
    training: str = "clean",
    task: str = "anny/seen",
    records: Path | str = COMMITTED,
) -> Record:
    """The committed record of a shipped network's worst case (``pt-ensemble``) in a threat model.

    ``records`` is a folder of records, that of the checkout by default. Of several records the one
    of most pairs.

    Raises:
        InputError: unknown threat model, no such folder, or no such record.
    """
    asked = find_threat(threat)
    attack = attack_cell(PTEnsemble(asked.budget, objective=asked.objective), ())
    plain = [record for record in records_below(Path(records)) if shipped_plain(record)]
    found = find(plain, attack, task=task, victim=victim, training=training)
    if found is None:
        there = {
            f"{each.cell.victim} ({each.cell.weights.training})"
            for each in plain
            if each.cell.attack == attack and each.cell.task == task
        }
        raise InputError(
            f"no record of {victim!r}, {training} training, in {threat!r} on {task} below "
            f"{records}; there are: {', '.join(sorted(there)) or 'none'}. Measure it with "
            f"'posebench run --victim {victim} --attack pt-ensemble --threat {threat}'"
        )
    return found
