"""What training against a threat model buys, seed by seed: a table of docs/defences.md.

Its rows are the runs of the recipe ``robust-seeds``, told by their recipes, and the clean weights
that each of them started from. Its columns are what the sweep of that name asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.leaderboard import judged
from posebench.benchmark.reports.markdown import NOTHING, interval, table
from posebench.benchmark.reports.robust_study import run_of, times_worse
from posebench.benchmark.reports.swept import attack_asked
from posebench.benchmark.runs.grid import combinations
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.training.recipe_file import TrainingRun, read_recipes

SEEDS = "robust-seeds"
"""Recipe and sweep."""

Column = tuple[str, str]
"""Task and threat model."""


def robust_seeds_table(records: Iterable[Record]) -> list[str]:
    """Three rows for each seed, the clean weights and both ways of going on from them: errors after
    the best translation, and how many times lower each way makes the attacked ones, on the same
    pairs."""
    grid = read_grids(SEEDS)[0]  # the others differ in weights alone
    runs = read_recipes(SEEDS)
    found = seed_records(records)
    head = ["seed", "training"]
    for task in grid.tasks:
        head.append(f"{task}: clean")
        for threat in grid.threats:
            head += [f"within {threat.removeprefix('point-')}", "lower"]
    rows = []
    for run in sorted(runs, key=lambda run: (run.recipe.seed, attacks(run))):
        here = found.get(run.name, {})
        sha = {(each.cell.weights.recipe or {}).get("start") for each in here.values()}
        before = found.get(str(sha.pop()), {}) if len(sha) == 1 else {}
        seed = str(run.recipe.seed)
        if not attacks(run):
            rows.append([seed, "clean", *_cells(before, {}, grid.tasks)])
        way = "robust" if attacks(run) else "as robust, none attacked"
        rows.append([seed, way, *_cells(here, before, grid.tasks)])
    recipe = runs[0].recipe
    return [
        *table(head, rows),
        "",
        f"{recipe.victim}, {recipe.size}: {recipe.batch * recipe.steps:,} pairs of training from "
        f"the clean weights of the same seed, {grid.attacks[0]} with {grid.iterations} gradients "
        f"on {grid.samples} pairs. lower: error of the clean weights over that of the row.",
    ]


def attacks(run: TrainingRun) -> bool:
    """Whether a run attacks anything."""
    part = run.recipe.adversarial
    return part is not None and part.clean_share < 1


def seed_records(records: Iterable[Record]) -> dict[str, dict[Column, Record]]:
    """What the sweep measured: a run's name, or the sha256 of clean weights -> column -> record."""
    grid = read_grids(SEEDS)[0]  # the others differ in weights alone
    asked = {attack_asked(each): str(each.threat) for each in combinations(grid)}
    runs = read_recipes(SEEDS)
    found: dict[str, dict[Column, Record]] = {}
    for record in records:
        cell = record.cell
        usual = cell.defense is None and cell.seed == 0 and cell.access.kind == "oblivious"
        where = cell.task in grid.tasks and cell.samples == grid.samples
        if not (usual and where and cell.attack in asked and cell.weights.recipe):
            continue
        name = run_of(cell.weights.recipe, runs)
        if name is None and cell.weights.training == "clean":
            name = cell.weights.sha256
        if name is not None:
            found.setdefault(name, {})[cell.task, asked[cell.attack]] = record
    return found


def _cells(
    here: dict[Column, Record], base: dict[Column, Record], tasks: Sequence[str]
) -> list[str]:
    grid = read_grids(SEEDS)[0]  # the others differ in weights alone
    cells = []
    for task in tasks:
        record = here.get((task, grid.threats[0]))
        cells.append(NOTHING if record is None else interval(record.metrics.clean["pmd_aligned"]))
        for threat in grid.threats:
            record, before = here.get((task, threat)), base.get((task, threat))
            cells += [judged(record), times_worse(before, record)]
    return cells
