"""Training inside a time budget: how long a part of the run becomes, chosen by the clock once.

A part trains at its full rate until three quarters of its time are gone. Then it gets a third as
many steps again, and over them the rate falls to zero. No step is spent on a trial, nothing but
the pace so far is extrapolated, and only over the last quarter. What was chosen
stands in the recipe (``steps``, ``decay``, ``adversarial.after``), which repeats the run without a
clock. See docs/design/010-time-budget.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError

DECAY = 0.25
"""Share of a budgeted part over which its rates fall."""

MARGIN = 0.96
"""Share of the time left that is filled: reports, looks and steps that get slower have the rest."""

WARM_UP = 3
"""First steps that do not count for the pace: they compile and allocate."""

WARM_UP_SHARE = 0.05
"""Share of a part's time after which steps count all the same."""

GRADIENT_COST = 2 / 3
"""A forward and a gradient to the pose, as a share of a training step (no weight gradients)."""

LEAST = 10.0
"""Seconds below which no run of several is begun: it could not load its meshes."""

UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class PartClock:
    """Time and steps of the part that trains, as far as they count for its pace.

    Attributes:
        seconds, steps: counted so far.
        waited: seconds before the count began.
    """

    seconds: float = 0.0
    steps: int = 0
    waited: float = 0.0

    def tick(self, steps: int, seconds: float, done: int, left: float) -> None:
        """Add ``steps`` that took ``seconds``; ``done`` of the part's are over, ``left`` seconds
        remain to it."""
        if not self.steps and done <= WARM_UP:
            self.waited += seconds
            if self.waited < WARM_UP_SHARE * (self.waited + max(left, 0.0)):
                return
        self.seconds += seconds
        self.steps += steps

    def time_to_choose(self, done: int, left: float, decay: float) -> bool:
        """Whether the steps over which the rates fall, once ``done`` are over, would with another
        step take longer than the seconds ``left``."""
        if not self.steps:
            return False
        to_come = (done + 1) * decay / max(1 - decay, 1e-9)
        return to_come * self.seconds / self.steps >= MARGIN * left


def chosen_length(done: int, longest: int, decay: float) -> int:
    """Steps of a part of which ``done`` are over: as the recipe would have trained them, too, so
    that the rates begin to fall with the next one."""
    return min(longest, math.ceil(done / (1 - decay))) if decay < 1 else longest


def clean_time(recipe: Recipe) -> float:
    """The clean part's share of a run's time, estimated from the arithmetic of its attack.

    If that is off, the parts' lengths are not quite in the proportion the recipe asks for; the
    whole still ends in time.
    """
    if recipe.adversarial is None:
        return 1.0
    if recipe.start is not None:
        return 0.0
    attack = recipe.adversarial.made(1.0)
    passes = 0 if recipe.adversarial.attack == "noise" else getattr(attack, "iterations", 1)
    cost = 1 + (1 - recipe.adversarial.clean_share) * passes * GRADIENT_COST
    after = recipe.clean_steps / recipe.steps
    return after / (after + (1 - after) * cost)


def with_length(recipe: Recipe, part_steps: int, *, adversarial: bool) -> Recipe:
    """The recipe with another length of one of its parts; the other's stays."""
    if recipe.adversarial is None:
        return replace(recipe, steps=part_steps)
    clean = recipe.clean_steps if adversarial else part_steps
    rest = part_steps if adversarial else recipe.steps - recipe.clean_steps
    part = replace(recipe.adversarial, after=clean / max(1, clean + rest))
    return replace(recipe, steps=clean + rest, adversarial=part)


def dealt(left: float, shares: Sequence[float], least: float = LEAST) -> float:
    """Seconds of ``left`` for the first of several runs that want ``shares`` of it.

    Where there is too little for all, the last ones go without, so that the first get at least
    ``least`` each.
    """
    wanted = list(shares)
    while len(wanted) > 1 and left * min(wanted) / sum(wanted) < least:
        wanted.pop()
    return max(0.0, left) * wanted[0] / sum(wanted)


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
