"""What a gate's cell measures: its evaluation by a few seeds, rounded as a baseline stores it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from posebench.benchmark.data.datasets import task_vertices
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.gate.baseline import Measurement, Resolved, Rows
from posebench.benchmark.gate.config import GateCell
from posebench.benchmark.gate.victims import parameters_sha256
from posebench.benchmark.records.types import Record
from posebench.errors import InputError
from posebench.interfaces import Victim
from posebench.norms import RELEASE_POINTS
from posebench.victims import SIZES

DIGITS = 6


def measure_cell(
    cell: GateCell,
    victim: Victim,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Callable[[], None] | None = None,
) -> Measurement:
    """Run a cell once a seed; two equal runs say that nothing in it is random, and are enough.

    Raises:
        InputError: a victim that misbehaves, or a PMD that is not finite.
    """
    asked = cell.evaluation
    given = Evaluation(
        victim,
        asked.made_attacks(),
        asked.made_defense(),
        access=asked.access or "oblivious",
        task=asked.task,
        samples=asked.samples,
        vertices=vertices_of(cell),
    )
    records: list[Record] = []
    for seed in seeds:
        (record,) = evaluate_all(replace(given, seed=seed), Execution(device=device))
        if not record.metrics.truth:
            raise InputError(
                f"cell {cell.name!r}: these pairs have no targets, so there is no error to gate"
            )
        if not np.isfinite([record.metrics.pmd.values, record.metrics.clean_pmd.values]).all():
            raise InputError(f"cell {cell.name!r}: a PMD is not finite")
        records.append(record)
        if progress is not None:
            progress()
        if len(records) == 2 and per_pair(records[0]) == per_pair(records[1]):
            records = records[:1]
            break
    return measured(cell, records, seeds, parameters_sha256(victim))


def measured(
    cell: GateCell, records: list[Record], seeds: Sequence[int], sha256: str | None
) -> Measurement:
    """What a baseline keeps of a cell's records, one a seed."""
    first = records[0].cell
    assert first.attack is not None, "a gate attacks"
    kept = [record.metrics.clean_kept for record in records]
    return Measurement(
        cell=cell,
        fingerprint=first.fingerprint,
        resolved=Resolved(
            first.attack.settings, None if first.defense is None else first.defense.settings
        ),
        weights_sha256=sha256,
        seeds=tuple(seeds[: len(records)]),
        pmd=rounded([record.metrics.pmd.per_sample for record in records]),
        clean_pmd=rounded([record.metrics.clean_pmd.per_sample for record in records]),
        kept=None if None in kept else float(np.mean([share for share in kept if share])),
        reached=max(reached_share(record) for record in records),
    )


def vertices_of(cell: GateCell) -> int:
    """Vertices of the cell's meshes: of its size, or what the data on disk has."""
    asked = cell.evaluation
    return task_vertices(asked.task, SIZES[asked.size].vertices, samples=asked.samples)


def per_pair(record: Record) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Values of a run, to be compared bit by bit."""
    return record.metrics.pmd.per_sample, record.metrics.clean_pmd.per_sample


def reached_share(record: Record) -> float:
    """Largest perturbation of a run as a share of eps.

    From the poses' measured norms and eps alone, not from what the budget made of it, so that a
    budget which lets too much through is seen.
    """
    attack, under = record.cell.attack, record.metrics.attack
    assert attack is not None, "only attacked records reach anything"
    assert under is not None, "an attacked record has its norms"
    eps, key = attack.eps, {"drop": "dropped", "add": "added"}.get(attack.norm, attack.norm)
    if attack.norm == "l2" and attack.unit == "rms":
        key = "rms"
    elif attack.unit == "release":
        eps *= math.sqrt(3 * RELEASE_POINTS)
    return under.norms[key].max / eps


def rounded(values: Sequence[Sequence[float]]) -> Rows:
    """Values with the digits that a baseline stores: an unchanged run gives them again."""
    return tuple(tuple(float(f"{value:.{DIGITS}g}") for value in row) for row in values)
