"""Sweeps: which cells there are and which are missing, and the loop that writes their records.

Nothing but the records says what is done. Whoever runs a job hands its records back, and one
process writes them, each atomically: a kill at any moment costs the jobs that were running.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.extension import most_known
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.memory import halving
from posebench.benchmark.evaluation.plan import Evaluation, plan_evaluation
from posebench.benchmark.evaluation.settings import EvaluationSettings
from posebench.benchmark.evaluation.sources import Source, find_networks
from posebench.benchmark.records.store import cell_path, read_record, record_path, write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.runs.grid import Grid, grid_settings
from posebench.benchmark.runs.run import RunSettings, on_device, ready
from posebench.errors import InputError
from posebench.registry import unknown

Overwrite = Literal["only-missing", "never", "always"]


@dataclass(frozen=True)
class Job:
    """What is evaluated at once: a cell, or the cells of a curve.

    Attributes:
        settings: of one weights file.
        cells: paths of the records it makes below the folder of records, by growing eps.
        wanted: those of them to write.
        anew: whether records on fewer pairs are left aside.
    """

    settings: RunSettings
    cells: tuple[Path, ...]
    wanted: tuple[Path, ...]
    anew: bool = False


@dataclass(frozen=True)
class Outcome:
    """A job's records, or why there are none."""

    records: tuple[Record, ...] = ()
    error: str | None = None


Outcomes = Iterator[tuple[Job, Outcome]]


def plan_sweep(
    grids: Sequence[Grid], *, batch_size: int, device: str, out: Path, where: str
) -> list[Job]:
    """All jobs in the order in which they run; a cell that several grids name is in the first.

    Raises:
        InputError: anything wrong with a grid, naming it; nothing has run yet.
    """
    jobs: list[Job] = []
    seen: set[Path] = set()
    loaded: tuple[Path | None, Source] | None = None
    for number, grid in enumerate(grids, start=1):
        try:
            for asked in grid_settings(grid):
                if loaded is None or loaded[0] != asked.weights:
                    loaded = (asked.weights, source_of(asked))
                cells = planned_paths(asked, loaded[1])
                wanted = tuple(path for path in cells if path not in seen)
                seen.update(wanted)
                if wanted:
                    settings = RunSettings(asked, batch_size, device, out)
                    jobs.append(Job(settings, cells, wanted))
        except InputError as error:
            raise InputError(f"sweep {where}: grid {number}: {error}") from error
    return jobs


def source_of(asked: EvaluationSettings) -> Source:
    """The network of a cell's weights file."""
    return find_networks(asked.victim, asked.weights, asked.size)[0]


def planned_paths(asked: EvaluationSettings, source: Source) -> tuple[Path, ...]:
    """Where the records of such an evaluation will be, below their folder."""
    plan = plan_evaluation(ready(asked, source))
    return tuple(cell_path(Path(), cell) for cell in plan.cells)


def remaining(jobs: Sequence[Job], out: Path, overwrite: str) -> list[Job]:
    """The jobs that the policy leaves to do.

    Raises:
        InputError: unknown policy, or records in the way of ``never``.
    """
    if overwrite not in get_args(Overwrite):
        raise unknown("overwrite policy", overwrite, get_args(Overwrite))
    if overwrite == "always":
        return [replace(job, anew=True) for job in jobs]
    left = [replace(j, wanted=tuple(p for p in j.wanted if not (out / p).exists())) for j in jobs]
    if overwrite == "never" and left != list(jobs):
        there = [p for job in jobs for p in job.wanted if (out / p).exists()]
        raise InputError(
            f"{len(there)} of the sweep's records exist, such as {out / there[0]}; choose another "
            "--out, or --overwrite only-missing to go on"
        )
    return [job for job in left if job.wanted]


def write_outcomes(outcomes: Outcomes, out: Path, advance: Callable[[int], None]) -> dict[Job, str]:
    """Write the records of jobs as they end; returns the jobs that failed and why."""
    failed: dict[Job, str] = {}
    for job, outcome in outcomes:
        error = outcome.error
        found = {record_path(Path(), record): record for record in outcome.records}
        if error is None and tuple(found) != job.cells:
            error = "made other cells than planned: did weights or library change meanwhile?"
        if error is None:
            try:
                for path in job.wanted:
                    write_record(out, found[path])
            except InputError as problem:  # such as a full disk
                error = str(problem)
        if error is not None:
            failed[job] = error
        advance(len(job.wanted))
    return failed


def run_here(jobs: Iterable[Job]) -> Outcomes:
    """Evaluate jobs one after another in this process."""
    for job in jobs:
        yield job, evaluate_job(job)


def evaluate_job(job: Job) -> Outcome:
    """A job's records; what goes wrong becomes its outcome, so that it costs no other job."""
    try:
        return Outcome(tuple(evaluate_settings(job.settings, anew=job.anew)))
    except InputError as error:
        return Outcome(error=_one_line(error))
    except Exception as error:  # noqa: BLE001 - a bug in one attack must not cost the other cells
        return Outcome(error=f"{type(error).__name__}: {_one_line(error)}")


def evaluate_settings(settings: RunSettings, *, anew: bool) -> list[Record]:
    """The records of a run of one weights file, in smaller batches if memory runs out; going on,
    unless ``anew``, from a record that holds some of its pairs.

    Raises:
        InputError: bad settings, a victim that misbehaves, or too little memory for one pair.
    """
    device = resolve_device(settings.device)
    asked = settings.evaluation
    given = on_device(ready(asked, source_of(asked)), device)

    known = None if anew else most_known(given, alike(given, settings.out), device)

    def run(batch_size: int) -> list[Record]:
        return evaluate_all(given, Execution(batch_size, device, known=known))

    return halving(run, min(settings.batch_size, asked.samples))


def alike(given: Evaluation, out: Path) -> list[Record]:
    """Records in ``out`` whose file names differ from the evaluation's in the hash alone."""
    if len(given.attacks) > 1:
        return []
    path = cell_path(out, plan_evaluation(given).cells[0])
    stem = path.stem.rpartition("-")[0]
    names = re.compile(rf"{re.escape(stem)}-[0-9a-f]{{10}}\.json")
    there = sorted(path.parent.glob("*.json")) if path.parent.is_dir() else []
    return [read_record(each) for each in there if names.fullmatch(each.name) and each != path]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
