"""What a training run says of itself: losses, speed, memory, and FGM beside PGD."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from posebench.benchmark.evaluation.memory import peak_memory
from posebench.benchmark.training.adversarial import fgm_and_pgd
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.state import State
from posebench.errors import InputError
from posebench.interfaces import Batch

REPORTS = 100
"""Reports of a run, evenly over its steps, besides a few at its begin."""

WATCH_EVERY = 5
"""Reports between two looks at FGM against PGD."""

WATCH_STEPS = 250
"""Fewest steps between two looks: one costs about seven steps, so they take at most 3 %."""


@dataclass(frozen=True)
class Progress:
    """What a training run reports now and then; means since the last report.

    Attributes:
        step: optimiser steps done.
        steps: of the whole run; with a time budget at most, until the clock has chosen.
        loss: training loss, square metres.
        attacked_loss: mean squared error on the attacked rows, after SOR; 0 without any.
        removed: share of attacked points that SOR removed.
        seconds: spent on training steps since the run began, interruptions left out.
        fgm, pgd: mean squared error under both on 16 fixed training pairs, None when not taken.
        samples_per_second: since the run, or its resumption, began.
        data_share: of the wall time spent on drawing pairs. On an accelerator work overlaps, so
            this is the share of the launching thread.
        peak_memory: bytes since the run, or its resumption, began; of the device if it counts
            them, else of the process.
        cpu_seconds: of processor time of this process since then, which a busy machine stretches
            less than ``seconds``.
    """

    step: int
    steps: int
    loss: float
    attacked_loss: float
    removed: float
    seconds: float
    samples_per_second: float
    data_share: float
    peak_memory: int
    fgm: float | None = None
    pgd: float | None = None
    cpu_seconds: float = 0.0


def report_due(step: int, recipe: Recipe) -> bool:
    """Whether a run reports after this step: a hundred times, at the ends of its parts, and at
    1, 2, 4, 8, ... until then, as a sign of life."""
    every = max(1, recipe.steps // REPORTS)
    early = step < every and step & (step - 1) == 0
    return step % every == 0 or early or step in (recipe.clean_steps, recipe.steps)


def look_due(step: int, recipe: Recipe) -> bool:
    """Whether that report takes a look at FGM and PGD."""
    if recipe.adversarial is None or step < recipe.clean_steps:
        return False
    every = max(1, recipe.steps // REPORTS)
    apart = every * max(WATCH_EVERY, math.ceil(WATCH_STEPS / every))
    return step % apart == 0 or step in (recipe.clean_steps, recipe.steps)


class Reporter:
    """Makes a run's reports and counts what its process has done for them.

    Attributes:
        drawing: seconds spent on drawing pairs in this process.
    """

    def __init__(
        self, state: State, report: Callable[[Progress], None], watched: Batch, device: str
    ) -> None:
        self.report, self.watched, self.device = report, watched, device
        self.first, self.before, self.cpu_before = state.step, state.seconds, time.process_time()
        self.drawing = 0.0

    def tell(self, state: State, means: list[float]) -> None:
        """Report the state and the means since the last report.

        Raises:
            InputError: if the loss under attack is not finite.
        """
        fgm, pgd = self._look(state)
        spent = max(state.seconds - self.before, 1e-9)
        self.report(
            Progress(
                step=state.step,
                steps=state.recipe.steps,
                loss=means[0],
                attacked_loss=means[1],
                removed=means[2],
                seconds=state.seconds,
                samples_per_second=(state.step - self.first) * state.recipe.batch / spent,
                data_share=self.drawing / spent,
                peak_memory=peak_memory(self.device),
                fgm=fgm,
                pgd=pgd,
                cpu_seconds=time.process_time() - self.cpu_before,
            )
        )

    def _look(self, state: State) -> tuple[float | None, float | None]:
        adversarial = state.recipe.adversarial
        if adversarial is None or not look_due(state.step, state.recipe):
            return None, None
        fgm, pgd = fgm_and_pgd(state.network, adversarial.budget, self.watched)
        if not math.isfinite(fgm + pgd):
            raise InputError(
                f"loss under FGM {fgm}, under PGD {pgd} at step {state.step}: try an eps below "
                f"{adversarial.eps:g}"
            )
        return fgm, pgd
