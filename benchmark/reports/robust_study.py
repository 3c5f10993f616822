"""What choices of training against a threat model cost and bring: a table of docs/defences.md.

Its rows are the runs of the recipe ``robust-study``, told by their recipes alone: weights of a
study are not shipped. Its columns are what the sweep of that name asks for. A run that nobody
measured has a row of dashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from posebench.benchmark.evaluation.cost import StepCost, read_costs
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.leaderboard import judged
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.reports.swept import attack_asked
from posebench.benchmark.runs.grid import combinations
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.stats.bootstrap import ratio_interval
from posebench.benchmark.training.checkpoint import differences
from posebench.benchmark.training.recipe import flat_recipe, shown_value
from posebench.benchmark.training.recipe_file import TrainingRun, read_recipes

STUDY = "robust-study"
"""Recipe, sweep and file of costs."""

BASE = 1
"""Number of the run that the others change; the first attacks nothing."""

Found = dict[str, dict[str, Record]]
"""Run -> threat model -> record."""


def study_steps(costs: Path) -> tuple[StepCost, ...]:
    """What steps of the study cost, from a folder of costs; none where nobody measured them."""
    path = costs / f"{STUDY}.json"
    return read_costs(path).steps if path.is_file() else ()


def study_table(records: Iterable[Record], steps: Sequence[StepCost]) -> list[str]:
    """A row for each run: what it changes, time of a step in clean steps, errors after the best
    translation, and the worst ones as multiples of the unchanged run's on the same pairs."""
    runs = read_recipes(STUDY)
    (grid,) = read_grids(STUDY)
    found = study_records(records, runs)
    times = {each.run: f"{each.times_first:.2f}" for each in steps}
    head = ["run", "change", "step", "clean"]
    for threat in grid.threats:
        head += [f"worst within {threat.removeprefix('point-')}", "x"]
    base = found.get(runs[BASE].name, {})
    rows = []
    for run in runs:
        here = found.get(run.name, {})
        any_of = next(iter(here.values()), None)
        clean = NOTHING if any_of is None else interval(any_of.metrics.clean["pmd_aligned"])
        row = [run.name.removeprefix(f"{run.recipe.victim}-"), change(run, runs[BASE])]
        row += [times.get(run.name, NOTHING), clean]
        for threat in grid.threats:
            row += [judged(here.get(threat)), times_worse(here.get(threat), base.get(threat))]
        rows.append(row)
    recipe = runs[BASE].recipe
    return [
        *table(head, rows),
        "",
        f"{recipe.victim}, {recipe.size}: {recipe.batch * recipe.steps:,} pairs a run from the "
        f"clean weights, {grid.attacks[0]} with {grid.iterations} gradients on {grid.samples} "
        "pairs. step: time of a training step in steps that attack nothing. x: times the error of "
        "the run without a change, on the same pairs.",
    ]


def study_records(records: Iterable[Record], runs: Sequence[TrainingRun]) -> Found:
    """What was measured of weights that the runs made, all from the start that most have."""
    (grid,) = read_grids(STUDY)
    asked = {attack_asked(each): each.threat for each in combinations(grid)}
    matched = []
    for record in records:
        cell = record.cell
        usual = cell.defense is None and cell.seed == 0 and cell.access.kind == "oblivious"
        where = (cell.task, cell.samples) == (grid.tasks[0], grid.samples)
        if usual and where and cell.attack in asked and cell.weights.recipe:
            name = run_of(cell.weights.recipe, runs)
            if name is not None:
                matched.append((cell.weights.recipe.get("start"), name, record))
    starts = Counter(start for start, _, _ in matched).most_common(1)
    found: Found = {}
    for start, name, record in matched:
        if start == starts[0][0]:
            found.setdefault(name, {})[str(asked[record.cell.attack])] = record
    return found


def run_of(stored: dict[str, object], runs: Sequence[TrainingRun]) -> str | None:
    """The run that has this recipe, whatever weights it started from."""
    start = stored.get("start")
    for run in runs:
        here = replace(run.recipe, start=start if isinstance(start, str) else None)
        if not differences(stored, here):
            return run.name
    return None


def change(run: TrainingRun, base: TrainingRun) -> str:
    """What sets a run apart from the base, in the words of its recipe."""
    here, usual = (flat_recipe(asdict(each.recipe)) for each in (run, base))
    odd = {key: value for key, value in here.items() if usual.get(key) != value}
    words = [f"{key.replace('_', ' ')} {shown_value(value)}" for key, value in odd.items()]
    return ", ".join(words) or NOTHING


def times_worse(record: Record | None, base: Record | None) -> str:
    """Mean error over the base's with its interval over pairs, which must be the same ones."""
    if record is None or base is None or record.cell.fingerprint != base.cell.fingerprint:
        return NOTHING
    if record is base:
        return "1"
    found = [each.metrics.attacked["pmd_aligned"].values for each in (record, base)]
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ratio_interval(*found))
