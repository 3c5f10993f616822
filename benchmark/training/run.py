"""From recipe to weights, card, learning curve and log in one folder; or many folders in a row."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from posebench.benchmark.evaluation.sources import resolve_device
from posebench.benchmark.records.environment import environment
from posebench.benchmark.training.card import card_text, make_card, measured
from posebench.benchmark.training.distributed import process_group, rank_and_world
from posebench.benchmark.training.loop import Progress, train
from posebench.benchmark.training.recipe import SHIPPED, Recipe, TrainingRun
from posebench.benchmark.training.time_budget import planned
from posebench.errors import InputError
from posebench.files import check_writable, write_atomically
from posebench.victims import SIZES, load_victim, read_weights, write_weights
from posebench.victims.weights import shipped_path, weights_fingerprint

if TYPE_CHECKING:
    import rich.progress

TRAINING_TIME = 0.85
"""Share of a budget that steps are planned for; the rest is for slow moments and the card."""

MAX_THREADS = 1024

WEIGHTS, CARD, LOG = "weights.safetensors", "card.md", "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How to train, as opposed to what: none of this is part of a recipe.

    Attributes:
        device: "auto" or a torch device.
        threads: of the CPU; 0 leaves torch's choice.
        compiled: run the network through torch.compile.
        recompute: gradient checkpointing, for victims that can.
        budget: seconds for everything asked for; None for as long as it takes.
    """

    device: str = "auto"
    threads: int = 0
    compiled: bool = False
    recompute: bool = False
    budget: float | None = None


def train_runs(
    runs: list[TrainingRun], out: Path, options: TrainOptions, bar: rich.progress.Progress
) -> list[Path]:
    """Train or resume one run after another, each in its folder below ``out``.

    What is left of a budget is dealt evenly over the runs that are still to come. Returns the
    weights' paths.
    """
    began, paths = time.monotonic(), []
    for number, run in enumerate(runs):
        share = None
        if options.budget is not None:
            left = options.budget - (time.monotonic() - began)
            share = max(left, 0.0) / (len(runs) - number)
        start = None if run.start is None else out / run.start / WEIGHTS
        if run.start == SHIPPED:
            start = shipped_path(run.recipe.victim, run.recipe.size)
        path = train_one(run.recipe, out / run.name, start, replace(options, budget=share), bar)
        paths.append(path)
    return paths


def train_one(
    recipe: Recipe,
    folder: Path,
    start: Path | None,
    options: TrainOptions,
    bar: rich.progress.Progress,
) -> Path:
    """Train or resume, evaluate on every split, write weights, card and log.

    With a budget the number of steps is chosen so that they fit, from the measured time of a
    step; a run that is resumed keeps its number. Weights are written before they are evaluated,
    and what the card holds of their evaluation is what time was left for.
    Returns the weights' path.
    """
    began = time.monotonic()
    if not 0 <= options.threads <= MAX_THREADS:
        raise InputError(f"threads must be 0..{MAX_THREADS}, got {options.threads}")
    if options.threads:
        torch.set_num_threads(options.threads)
    check_writable(folder)
    network = None
    if start is not None:
        network, _ = load_victim(recipe.victim, weights=start)
        if network.width != SIZES[recipe.size].width:
            raise InputError(f"weights {start}: of width {network.width}, not of {recipe.size}")
        recipe = replace(recipe, start=weights_fingerprint(start))
    path = folder / WEIGHTS
    with process_group(resolve_device(options.device)) as device:
        deadline = math.inf
        if options.budget is not None:
            deadline = began + options.budget * TRAINING_TIME
            recipe = planned(recipe, folder, deadline, device, compiled=options.compiled)
        if finished(path, recipe):
            if not rank_and_world()[0]:
                bar.console.print(f"weights {path} (finished before)", soft_wrap=True, markup=False)
            return path
        made = environment(device)  # now: the tree may change while it trains
        job = bar.add_task(folder.name, total=recipe.steps)
        log = TrainingLog(folder / LOG)

        def report(progress: Progress) -> None:
            log.add(progress)
            text = f"{folder.name} loss {progress.loss * 1e4:.1f}e-4"
            if progress.attacked_loss:
                text += f", attacked {progress.attacked_loss * 1e4:.1f}e-4"
            text += f", {progress.samples_per_second:.0f}/s"
            bar.update(job, completed=progress.step, description=text)

        trained = train(
            recipe,
            folder,
            start=network,
            device=device,
            compile_network=options.compiled,
            recompute=options.recompute,
            report=report,
            deadline=deadline,
        )
        if rank_and_world()[0]:
            return path
        card = make_card(trained, recipe, log.rows, made)
        write_weights(path, trained.network, card)  # usable even if the evaluation is cut off
        end = math.inf if options.budget is None else began + options.budget
        card |= measured(trained.network, recipe, device=device, bar=bar, deadline=end)
        write_weights(path, trained.network, card)
        write_atomically(folder / CARD, card_text(recipe.victim, card))
        note = f"weights {path}, card {folder / CARD}"
        bar.console.print(note, soft_wrap=True, markup=False)
    return path


def finished(path: Path, recipe: Recipe) -> bool:
    """Whether the weights are there and are the end of this very recipe."""
    card = (read_weights(path) or {}).get("card", {}) if path.is_file() else {}
    same: bool = card.get("recipe") == json.loads(json.dumps(asdict(recipe)))
    return same and card["steps_done"] == recipe.steps and "splits" in card


class TrainingLog:
    """One JSON line per report; lines that a resumed run makes again are replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            try:
                self.rows = [dict(json.loads(line)) for line in lines]
                [row["step"] + row["loss"] for row in self.rows]
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"{path} is damaged ({error}); delete it") from error

    def add(self, progress: Progress) -> None:
        """Append a report."""
        self.rows = [row for row in self.rows if row["step"] < progress.step]
        self.rows.append(asdict(progress))
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows)
        write_atomically(self.path, text)
