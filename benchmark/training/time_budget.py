"""Training inside a time budget: how many steps fit, from the measured time of a step."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from posebench.benchmark.training.checkpoint import stored_recipe
from posebench.benchmark.training.distributed import average_over_ranks
from posebench.benchmark.training.loop import train
from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError

TRIAL_STEPS = 32
"""Steps that are tried, of which the second half is timed."""

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds_per_step(recipe: Recipe, device: str, *, compiled: bool) -> float:
    """Measured wall time of one step, averaged over the parts of the run.

    On throw-away weights; each part is warmed up first.
    """
    lengths = {"clean": recipe.clean_steps if recipe.start is None else 0}
    lengths["adversarial"] = recipe.steps - recipe.clean_steps
    seconds = 0.0
    for part, length in lengths.items():
        if not length:
            continue
        trial = replace(recipe, steps=TRIAL_STEPS, start=None)
        if part == "clean":
            trial = replace(trial, adversarial=None)
        elif recipe.adversarial is not None:
            trial = replace(trial, adversarial=replace(recipe.adversarial, after=0.0))
        with tempfile.TemporaryDirectory() as folder:
            stamps: list[float] = []
            train(
                trial,
                Path(folder),
                device=device,
                compile_network=compiled,
                report=lambda progress, stamps=stamps: stamps.append(time.monotonic()),  # type: ignore[misc]
                checkpoint_seconds=math.inf,
            )
        half = stamps[len(stamps) // 2 :]
        seconds += length * (half[-1] - half[0]) / (len(half) - 1)
    return seconds / sum(lengths.values())


def planned(
    recipe: Recipe, folder: Path, deadline: float, device: str, *, compiled: bool
) -> Recipe:
    """The recipe with as many steps as fit before the deadline, or as its checkpoint has."""
    if (stored := stored_recipe(folder)) is not None:
        return replace(recipe, steps=int(stored["steps"]))
    step = torch.tensor(seconds_per_step(recipe, device, compiled=compiled))
    average_over_ranks([step])  # all processes must plan the same
    fitting = int((deadline - time.monotonic()) / float(step))
    if fitting < 1:
        raise InputError(f"the budget ends before the first step of {folder.name}")
    return replace(recipe, steps=min(recipe.steps, fitting))


def seconds_of(text: str) -> float:
    """'90s', '25m', '1.5h' or plain seconds to seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"budget must be a time such as 90s, 25m or 2h, got {text!r}")
    return seconds
