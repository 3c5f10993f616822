"""The steps of a run with what goes on between them: clock, curve, reports and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from posebench.benchmark.training.checkpoint import save_checkpoint
from posebench.benchmark.training.distributed import agreed, average_over_ranks, rank_and_world
from posebench.benchmark.training.optimisers import set_rates
from posebench.benchmark.training.pairs import Pairs
from posebench.benchmark.training.progress import Reporter, report_due
from posebench.benchmark.training.state import State
from posebench.benchmark.training.step import training_step
from posebench.benchmark.training.time_budget import chosen_length, clean_time, with_length
from posebench.errors import InputError

AGREE_EVERY = 16
"""Steps after which several processes agree on the time and on whether to stop."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop and has saved itself; the message says where it stands."""


class Session:
    """Steps, reports and checkpoints of a run until it is done, its time is, or it shall stop."""

    def __init__(
        self,
        state: State,
        folder: Path,
        device: str,
        pairs: Iterator[Pairs],
        reporter: Reporter | None,
        *,
        saved: bool,
    ) -> None:
        self.state, self.folder, self.device = state, folder, device
        self.pairs, self.reporter, self.saved = pairs, reporter, saved
        self.rank, self.world = rank_and_world()

    def limit(self, deadline: float, checkpoint_seconds: float) -> None:
        """Begin the clock; ``deadline`` is of ``time.monotonic``."""
        self.began = time.monotonic()
        self.checkpoint_seconds = checkpoint_seconds
        self.end = deadline - self.began
        self.paced = self.end < math.inf
        waiting = self.state.recipe.adversarial is not None and not self.state.adversarial
        spent = self.state.clock.seconds + self.state.clock.waited
        share = clean_time(self.state.recipe) if waiting else 1.0
        self.clean_end = self.end if share == 1 else share * (spent + self.end) - spent
        self.counted = self.state.step
        self.looked = self.stored = self.aside = 0.0

    def run(self, asked: Callable[[], bool]) -> None:
        """Train to the end; errors as of ``train``."""
        state = self.state
        while state.step < state.recipe.steps:
            self.step()
            due = report_due(state.step, state.recipe)
            if self.world > 1 and state.step % AGREE_EVERY and not due:
                continue  # the processes must stop at the same step
            here = time.monotonic() - self.began
            stop, now, aside = agreed([float(asked()), here, self.aside], self.device)
            self.count(now, aside)
            over = now > self.end or state.step >= state.recipe.steps
            if due or over:
                self.tell()
            if stop or over or now - self.stored > self.checkpoint_seconds:
                self.save()
                self.stored = now
            self.aside = time.monotonic() - self.began - here
            if stop:
                raise Interrupted(f"step {state.step} of {state.recipe.steps} is saved")
            if over:
                return

    def step(self) -> None:
        """One optimiser step."""
        state = self.state
        if state.step == state.recipe.clean_steps:
            state.begin_adversarial_part(self.device)
        set_rates(state.optimisers, state.recipe, state.step)
        before = time.monotonic()
        drawn = next(self.pairs)
        if self.reporter is not None:
            self.reporter.drawing += time.monotonic() - before
        state.sums += training_step(
            state.network, state.optimisers, state.recipe, state.step, drawn, state.generator
        )
        state.average.update()
        state.step += 1

    def count(self, now: float, aside: float) -> None:
        """Add the steps since the last count to the clock, without the seconds ``aside`` of reports
        and checkpoints; choose the part's length when it is time."""
        state = self.state
        steps, seconds = state.step - self.counted, now - self.looked - aside
        state.seconds += seconds
        ended = state.step == state.recipe.clean_steps
        self.counted, self.looked = state.step, now
        if not self.paced or ended:
            return
        first, last = state.part
        left = (self.end if state.adversarial else min(self.clean_end, self.end)) - now
        state.clock.tick(steps, seconds, state.step - first, left)
        if state.chosen > state.adversarial:
            return
        decay, done = state.recipe.decay, state.step - first
        falling = done >= (1 - decay) * (last - first)
        if not falling and state.clock.time_to_choose(done, left, decay):
            length = chosen_length(done, last - first, decay)
            state.recipe = with_length(state.recipe, length, adversarial=state.adversarial)
            falling = True
        if falling:
            state.chosen = 1 + state.adversarial

    def tell(self) -> None:
        """Enter the mean loss since the last report into the curve, and report."""
        state = self.state
        if state.step == state.last:
            return
        means = self._means()
        state.curve.append((state.step, means[0]))
        state.sums.zero_()
        if self.reporter is not None:
            self.reporter.tell(state, means)

    def save(self) -> None:
        """Replace the checkpoint by the present state."""
        if self.state.step > self.state.last:
            self._means()
        if self.rank == 0:
            save_checkpoint(self.folder, self.state)
        self.saved = True

    def _means(self) -> list[float]:
        """Means since the last entry of the curve; all processes have the same sums afterwards.

        Raises:
            InputError: if they or the weights are not finite.
        """
        state = self.state
        average_over_ranks([state.sums])
        means: list[float] = (state.sums / (state.step - state.last)).tolist()
        if not (math.isfinite(means[0]) and state.whole()):
            kept = f"the last good checkpoint is in {self.folder}"
            raise InputError(
                f"training loss became {means[0]} before step {state.step}; "
                f"{kept if self.saved else 'none was saved'}: try a smaller rate or eps, or bf16 "
                "off"
            )
        return means
