"""What a step of training costs, for the runs of a recipe file beside each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from posebench.benchmark.evaluation.cost import StepCost, finish
from posebench.benchmark.training.loop import begin
from posebench.benchmark.training.optimisers import set_rates
from posebench.benchmark.training.recipe_file import TrainingRun
from posebench.benchmark.training.state import HowToTrain
from posebench.benchmark.training.step import training_step
from posebench.benchmark.training.streams import PairSource, pair_source


def step_costs(
    runs: Sequence[TrainingRun],
    *,
    device: str,
    rounds: int,
    advance: Callable[[], object] = lambda: None,
) -> list[StepCost]:
    """Time of a step of each run's last part, and how often that of the first run goes into it.

    The runs take turns, a step each, and the median over ``rounds`` counts, of times as of ratios:
    what else the machine does meanwhile slows all of them. Weights are fresh ones, which cost what
    trained ones do. A round before the first is not counted.
    """
    sources: dict[tuple[str, str], PairSource] = {}
    steps = []
    for run in runs:
        key = run.recipe.size, run.recipe.regime
        if key not in sources:
            sources[key] = pair_source(run.recipe, device)
        steps.append(stepper(run, sources[key], device))
    seconds: list[list[float]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for step, found in zip(steps, seconds, strict=True):
            finish(device)
            before = time.perf_counter()
            step()
            finish(device)
            if number:
                found.append(time.perf_counter() - before)
        advance()
    return [
        StepCost(
            run.name,
            1e3 * statistics.median(found),
            statistics.median(a / b for a, b in zip(found, seconds[0], strict=True)),
        )
        for run, found in zip(runs, seconds, strict=True)
    ]


def stepper(run: TrainingRun, source: PairSource, device: str) -> Callable[[], None]:
    """What trains a run one step further each time, in its adversarial part if it has one."""
    state = begin(run.recipe, None, HowToTrain(device))
    state.step = run.recipe.clean_steps if run.recipe.adversarial is not None else 0
    if state.adversarial:
        state.begin_adversarial_part(device)
    pairs = source(run.recipe, state.generator)

    def step() -> None:
        set_rates(state.optimisers, state.recipe, state.step)
        drawn = next(pairs)
        training_step(
            state.network, state.optimisers, state.recipe, state.step, drawn, state.generator
        )
        state.average.update()

    return step
