"""One ``posebench run``: settings to cells to records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from posebench.benchmark.data.datasets import task_vertices
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.memory import halving
from posebench.benchmark.evaluation.plan import Evaluation, plan_evaluation
from posebench.benchmark.evaluation.settings import EvaluationSettings, checked, evaluation_of
from posebench.benchmark.evaluation.sources import Source, find_networks
from posebench.benchmark.records.store import write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.runs.within import within_batches
from posebench.files import check_writable
from posebench.interfaces import Victim

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True)
class RunSettings:
    """The options of ``posebench run``.

    Attributes:
        evaluation: what is asked.
        batch_size: pairs at a time.
        device: "auto" or one of torch's.
        out: folder of the records.
    """

    evaluation: EvaluationSettings
    batch_size: int = 8
    device: str = "auto"
    out: Path = Path("records")


@dataclass(frozen=True)
class CellResult:
    """A record, where it was written and how long it took (a sweep's time shared evenly)."""

    record: Record
    path: Path
    seconds: float


def run_cells(settings: RunSettings, bar: Progress) -> list[CellResult]:
    """Evaluate the victim's clean weights and, where shipped, its adversarially trained ones.

    Everything that can be wrong with the settings is found before the first forward.
    """
    asked = checked(settings.evaluation)
    sources = find_networks(asked.victim, asked.weights, asked.size, asked.regime)
    device = resolve_device(settings.device)
    check_writable(settings.out)
    job = bar.add_task("reading meshes", total=None)
    evaluations = [ready(asked, source, partial(bar.advance, job)) for source in sources]
    bar.remove_task(job)
    results = []
    for source, given in zip(sources, evaluations, strict=True):
        job = bar.add_task(source.label, total=asked.samples * len(given.attacks))
        started = time.monotonic()
        placed = on_device(given, device)

        def run(batch_size: int, job: TaskID = job, placed: Evaluation = placed) -> list[Record]:
            bar.reset(job)
            moved = partial(bar.advance, job)
            with within_batches(placed, batch_size, moved) as done:
                return evaluate_all(placed, Execution(batch_size, device, done))

        records = halving(run, min(settings.batch_size, asked.samples))
        seconds = (time.monotonic() - started) / len(records)
        results += [CellResult(r, write_record(settings.out, r), seconds) for r in records]
    return results


def ready(
    asked: EvaluationSettings, source: Source, progress: Callable[[int], None] | None = None
) -> Evaluation:
    """The evaluation of one network, on meshes of the data set's own size where it has one.

    Raises:
        InputError: anything that cannot be, found without a forward.
    """
    given = evaluation_of(asked, source)
    vertices = task_vertices(asked.task, given.vertices, samples=asked.samples, progress=progress)
    given = replace(given, vertices=vertices)
    plan_evaluation(given)
    return given


def on_device(given: Evaluation, device: str) -> Evaluation:
    """The evaluation with its networks on a device, in float32."""
    moved = _moved(given.victim, device)
    surrogate = given.surrogate
    if surrogate is not None:
        surrogate = Surrogate(_moved(surrogate.victim, device), surrogate.weights_sha256)
    return replace(given, victim=moved, surrogate=surrogate)


def _moved(victim: Victim, device: str) -> Victim:
    if not isinstance(victim, torch.nn.Module):
        return victim
    moved: Victim = victim.to(device, torch.float32)
    return moved


def sweeps_of(results: list[CellResult]) -> dict[str, list[Record]]:
    """Training -> its records in the order of their eps."""
    found: dict[str, list[Record]] = {}
    for result in results:
        cell = result.record.cell
        name = f"{cell.victim}, {cell.weights.training} training"
        found.setdefault(name, []).append(result.record)
    return found
