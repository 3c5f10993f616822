"""From recipe to weights, card, learning curve and log in one folder; or many folders in a row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.store import write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.training.card import Card, make_card, measured
from posebench.benchmark.training.card_text import card_text
from posebench.benchmark.training.checkpoint import differences
from posebench.benchmark.training.distributed import process_group, rank_and_world
from posebench.benchmark.training.log import TrainingLog
from posebench.benchmark.training.loop import Deferred, Trained, train, undisturbed
from posebench.benchmark.training.progress import Progress
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.recipe_file import TrainingRun, shipped_start
from posebench.benchmark.training.state import HowToTrain
from posebench.benchmark.training.time_budget import DECAY, LEAST, dealt
from posebench.errors import InputError, out_of_memory
from posebench.files import check_writable, write_atomically
from posebench.victims import (
    SIZES,
    VICTIMS,
    PoseTransferNetwork,
    load_network,
    read_weights,
    write_weights,
)
from posebench.victims.weights import rounded, weights_fingerprint

if TYPE_CHECKING:
    import rich.progress

CARD_TIME = 0.07
"""Share of a budget that is kept for the card, which fits itself into it."""

CARD_SECONDS = 60.0
"""At most this much is kept: on a current core all of a compact network's card."""

MAX_THREADS = 1024

WEIGHTS, CARD, LOG = "weights.safetensors", "card.md", "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How to train, as opposed to what: none of this is part of a recipe.

    Attributes:
        device: as users name it, such as "auto".
        threads: of the CPU; 0 leaves torch's choice.
        compiled: run the network through torch.compile.
        recompute: gradient checkpointing, for victims that can.
        budget: seconds for everything asked for; None for as long as it takes.
        records: folder for the records of what the card tells; None writes none.
        deferred: when to heed a wish to stop, see ``loop.Deferred``.
    """

    device: str = "auto"
    threads: int = 0
    compiled: bool = False
    recompute: bool = False
    budget: float | None = None
    records: Path | None = None
    deferred: Deferred = undisturbed


def train_runs(
    runs: Sequence[TrainingRun], out: Path, options: TrainOptions, bar: rich.progress.Progress
) -> list[Path]:
    """Train or resume one run after another, each in its folder below ``out``.

    What is left of a budget is dealt over the runs that are still to come, by their shares; where
    it does not reach, the last ones are left out. Returns the weights' paths.
    """
    options = replace(options, records=out / "records")
    began = time.monotonic()
    paths: list[Path] = []
    for number, run in enumerate(runs):
        budget = None
        if options.budget is not None:
            left = options.budget - (time.monotonic() - began)
            budget = dealt(left, [each.share for each in runs[number:]])
            if budget < LEAST and paths:
                names = ", ".join(each.name for each in runs[number:])
                say(bar, f"the time is up; not trained: {names}")
                break
        start = None
        if run.start is not None:
            shipped = shipped_start(run.start, run.recipe.victim, run.recipe.size)
            start = shipped or out / run.start / WEIGHTS
        single = replace(options, budget=budget)
        paths.append(train_one(run.recipe, out / run.name, start, single, bar))
    return paths


def train_one(
    recipe: Recipe,
    folder: Path,
    start: Path | None,
    options: TrainOptions,
    bar: rich.progress.Progress,
) -> Path:
    """Train or resume, evaluate on every split, write weights, card and log; the weights' path.

    With a budget the clock chooses the number of steps, see ``time_budget``; a run that is
    resumed keeps what was chosen. Weights are written before they are evaluated, and what the
    card holds of their evaluation is what time was left for.

    Raises:
        InputError: settings that cannot be, a budget that is over before the first step, or too
            little memory.
        KeyboardInterrupt: if asked to stop.
    """
    began = time.monotonic()
    set_threads(options.threads)
    check_writable(folder)
    network, recipe = started(recipe, start)
    training_end = end = math.inf
    if options.budget is not None:
        end = began + options.budget
        training_end = end - min(CARD_TIME * options.budget, CARD_SECONDS)
        recipe = replace(recipe, decay=DECAY)
    path = folder / WEIGHTS
    with process_group(options.device) as device:
        if finished(path, recipe, paced=options.budget is not None):
            if not rank_and_world()[0]:
                say(bar, f"weights {path} (finished before)")
            return path
        if time.monotonic() >= training_end:
            raise InputError(f"the budget ends before the first step of {folder.name}")
        made, log = environment(device), TrainingLog(folder / LOG)  # the tree may change meanwhile
        try:
            trained = train(
                recipe,
                folder,
                start=network,
                how=HowToTrain(device, options.compiled, options.recompute),
                report=reporting(log, recipe, folder.name, bar, end),
                deadline=training_end,
                deferred=options.deferred,
            )
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise InputError(memory_advice(recipe, folder)) from error
        if not rank_and_world()[0]:
            card = make_card(trained, log.rows, made)
            # Usable from here on, should the evaluation be cut off.
            write_weights(path, rounded(trained.network), card.as_json(), half=True)
            found = measured(trained.network, trained.recipe, device=device, bar=bar, deadline=end)
            write_results(trained, replace(card, **found.on_card), folder)
            if options.records is not None:
                write_records(found.records, path, options.records)
            say(bar, f"weights {path}, card {folder / CARD}; {trained.seconds:.0f} s of steps")
    return path


def set_threads(count: int) -> None:
    """Give torch so many threads of the CPU; 0 leaves its choice.

    Raises:
        InputError: a count that cannot be.
    """
    if not 0 <= count <= MAX_THREADS:
        raise InputError(f"threads must be 0..{MAX_THREADS}, got {count}")
    if count:
        torch.set_num_threads(count)


def started(recipe: Recipe, start: Path | None) -> tuple[PoseTransferNetwork | None, Recipe]:
    """The network that takes the clean part's place, and the recipe that names it.

    Raises:
        InputError: if it is of another victim or size.
    """
    if start is None:
        return None, recipe
    network, _ = load_network(recipe.victim, weights=start)
    if network.width != SIZES[recipe.size].width:
        raise InputError(f"weights {start}: of width {network.width}, not of {recipe.size}")
    return network, replace(recipe, start=weights_fingerprint(start))


def finished(path: Path, recipe: Recipe, *, paced: bool) -> bool:
    """Whether the weights are there and are the end of this very recipe.

    Of a ``paced`` run, one inside a time budget, the recipe on the card has other lengths.
    """
    if not path.is_file():
        return False
    card = (read_weights(path) or {}).get("card", {})
    stored = card.get("recipe")
    if not isinstance(stored, dict) or differences(stored, recipe, lengths=not paced):
        return False
    return bool(card.get("steps_done") == stored["steps"] and "splits" in card)


def reporting(
    log: TrainingLog, recipe: Recipe, name: str, bar: rich.progress.Progress, end: float
) -> Callable[[Progress], None]:
    """What a run's reports go to: its log and the progress bar; ``end`` is of its budget."""
    job = bar.add_task(name, total=recipe.steps)

    def report(progress: Progress) -> None:
        log.add(progress)
        text = f"{name} loss {progress.loss * 1e4:.1f}e-4"
        if progress.attacked_loss:
            text += f", attacked {progress.attacked_loss * 1e4:.1f}e-4"
        text += f", {progress.samples_per_second:.0f}/s"
        left = (progress.steps - progress.step) * recipe.batch / progress.samples_per_second
        left = min(left, end - time.monotonic())
        bar.update(job, completed=progress.step, total=progress.steps, description=text, ends=left)

    return report


def memory_advice(recipe: Recipe, folder: Path) -> str:
    """One line on what to do when a step does not fit."""
    points = "whole meshes" if recipe.points is None else f"{recipe.points} points"
    more = ", or use --recompute" if VICTIMS[recipe.victim].can_recompute else ""
    return (
        f"out of memory in steps of {recipe.batch} pairs of {points}: try a smaller --batch, "
        f"--points or --size{more}, with another folder than {folder}"
    )


def write_results(trained: Trained, card: Card, folder: Path) -> None:
    """The weights with their whole card, and the card as Markdown."""
    content = card.as_json()
    write_weights(folder / WEIGHTS, trained.network, content, half=True)
    write_atomically(folder / CARD, card_text(trained.recipe.victim, content))


def write_records(records: Sequence[Record], weights: Path, folder: Path) -> None:
    """Records of weights that are on disk by now, so that their fingerprint is known."""
    for record in records:
        known = replace(record.cell.weights, sha256=weights_fingerprint(weights))
        write_record(folder, replace(record, cell=replace(record.cell, weights=known)))


def say(bar: rich.progress.Progress, line: str) -> None:
    """A line for the user beside the progress bar."""
    bar.console.print(line, soft_wrap=True, markup=False)
