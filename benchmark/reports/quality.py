"""What buys clean quality at equal processor time: the table of docs/weights.md.

    posebench train --recipe quality --threads 1 --out runs/quality
    python -m posebench.benchmark.reports.quality runs/quality leaderboards/studies/quality.json

collects the runs' cards and logs; the networks themselves are not kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.studies import QualityStudy, Tried, write_study
from posebench.benchmark.records.types import Json
from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.benchmark.training.log import TrainingLog
from posebench.benchmark.training.progress import Progress
from posebench.benchmark.training.recipe import flat_recipe
from posebench.errors import InputError
from posebench.victims import SIZES, read_weights

TASK = "anny/seen"
"""Whose clean error is compared."""

BASE = "base"
"""What a victim's first run is called, after the victim."""


def collect(folder: Path) -> list[Tried]:
    """The finished runs in a folder, by name.

    Raises:
        InputError: none is there, or one of another kind.
    """
    found = [_of_run(path.parent) for path in sorted(folder.glob("*/weights.safetensors"))]
    if not found:
        raise InputError(f"{folder}: no finished training run (FOLDER/*/weights.safetensors)")
    return found


def _of_run(folder: Path) -> Tried:
    header = read_weights(folder / "weights.safetensors")
    card = None if header is None else header.get("card")
    log = TrainingLog(folder / "log.jsonl").rows
    if not card or not log:
        raise InputError(f"{folder}: weights without a card, or without the log of their training")
    made = {
        "name": folder.name,
        "recipe": card["recipe"],
        "pairs": card["samples_seen"],
        "cpu_seconds": spent(log),
        "loss": log[-1].loss,
        "seen": card["splits"][TASK]["clean_pmd"]["per_sample"],
        "environment": card["environment"],
    }
    return decode(Tried, made, str(folder))


def spent(log: Sequence[Progress]) -> float:
    """Processor seconds of a run, whose count begins again after each interruption."""
    ends = [a.cpu_seconds for a, b in pairwise(log) if b.cpu_seconds < a.cpu_seconds]
    return sum(ends) + log[-1].cpu_seconds


def quality_table(tried: Iterable[Tried]) -> list[str]:
    """A row a run: what it changes, its time, the pairs it saw, its error."""
    runs = {each.name: each for each in tried}
    head = ["victim", "changed", "processor s", "pairs seen", "training loss", "clean PMD on seen"]
    rows = []
    for run in runs.values():
        victim = run.recipe["victim"]
        base = runs.get(f"{victim}-{BASE}")
        changed = NOTHING if base is None else changes(run.recipe, base.recipe)
        seen = f"{1e4 * sum(run.seen) / len(run.seen):.1f}"
        row = [victim, changed, f"{run.cpu_seconds:.0f}", f"{run.pairs:,}"]
        rows.append([*row, f"{1e4 * run.loss:.1f}", seen])
    order = sorted(rows, key=lambda row: (row[0], float(row[-1])))
    return table(head, order) if order else [NOTHING]


def changes(recipe: Json, base: Json) -> str:
    """What sets a recipe apart from another, besides its length; a size as its width."""
    mine, others = flat_recipe(recipe), flat_recipe(base)
    odd = {k: v for k, v in mine.items() if k != "steps" and others.get(k) != v}
    if "size" in odd:
        odd["width"] = SIZES[str(odd.pop("size"))].width
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in odd.items()) or "nothing"


if __name__ == "__main__":
    found = QualityStudy("posebench/quality/1", tuple(collect(Path(sys.argv[1]))))
    write_study(Path(sys.argv[2]), found)
