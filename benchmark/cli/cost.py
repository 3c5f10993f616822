"""``posebench cost``: what victims, defences and steps of training cost in time and memory."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar
from posebench.defenses import DEFENSES
from posebench.victims import SIZES

if TYPE_CHECKING:
    from posebench.benchmark.evaluation.cost import StepCost, VictimCost

EXAMPLES = """
Examples:

- posebench cost --size paper --victim npt --victim gct

- posebench cost --size compact --device cuda --out costs.json

- posebench cost --size compact --victim npt --defense none --defense sor

- posebench cost --recipe robust-study --repeats 20
"""

SomeDefenses = Annotated[
    list[str] | None,
    typer.Option(
        help="Defences in front of each victim; default: none.",
        autocompletion=options.entries(DEFENSES, "none"),
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="compact, small, wide, paper (default) or tiny.", autocompletion=options.words(*SIZES)
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="In place of victims, a training step of each run of a recipe (file)."),
]


@when_memory_runs_out("a smaller --size or --device cpu")
def cost(
    victim: options.SomeVictims = None,
    defense: SomeDefenses = None,
    size: Size = None,
    recipe: Recipe = None,
    repeats: Annotated[int, typer.Option(help="Timed calls; the median counts.")] = 5,
    device: options.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Time, size and peak memory of victims on one pair (the paper's Table 4)."""
    from posebench.benchmark.evaluation.cost import write_costs
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.errors import InputError
    from posebench.files import check_writable
    from posebench.victims import VICTIMS

    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    if recipe is not None and (victim or defense or size):
        raise InputError("--recipe says what is timed: no --victim, --defense or --size beside it")
    place = resolve_device(device)
    if out is not None:
        check_writable(out.parent)
    costs: list[VictimCost] = []
    steps: list[StepCost] = []
    if recipe is not None:
        steps = costs_of_steps(recipe, place, repeats)
    else:
        costs = costs_of_victims(
            victim or list(VICTIMS), defense or ["none"], size or "paper", place, repeats
        )
    if out is not None:
        write_costs(out, costs, place, steps)


def costs_of_victims(
    victims: list[str], defenses: list[str], size: str, device: str, repeats: int
) -> list[VictimCost]:
    """Each victim behind each defence, measured and printed.

    Raises:
        InputError: an unknown name.
    """
    from posebench.benchmark.evaluation.cost import measure_apart
    from posebench.benchmark.evaluation.settings import NONE
    from posebench.registry import unknown
    from posebench.victims import VICTIMS

    if size not in SIZES:
        raise unknown("size", size, SIZES)
    for name in victims:
        if name not in VICTIMS:
            raise unknown("victim", name, VICTIMS)
    for name in defenses:
        if name != NONE and name not in DEFENSES:
            raise unknown("defence", name, [NONE, *DEFENSES])
    costs = []
    with progress_bar("victims", quiet=False) as bar:
        for name, guard in bar.track([*product(victims, defenses)], description="measuring"):
            behind = None if guard == NONE else guard
            costs.append(measure_apart(name, size, device, repeats, behind))
    print_costs(costs)
    return costs


def costs_of_steps(recipe: str, device: str, repeats: int) -> list[StepCost]:
    """A step of each run of a recipe (file), measured and printed; errors of reading it."""
    from posebench.benchmark.training.recipe_file import read_recipes
    from posebench.benchmark.training.step_cost import step_costs

    runs = read_recipes(recipe)
    with progress_bar("rounds", quiet=False) as bar:
        job = bar.add_task("measuring", total=repeats + 1)
        found = step_costs(runs, device=device, rounds=repeats, advance=lambda: bar.advance(job))
    for each in found:
        typer.echo(f"{each.run}: {each.step_ms:.0f} ms a step, {each.times_first:.2f} of the first")
    return found


def print_costs(costs: list[VictimCost]) -> None:
    """A table of time, size and memory."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=f"one pair, {costs[0].vertices} vertices")
    names = ("victim", "parameters", "MB", "forward\nms", "gradient\nms", "forward\nMB")
    for name in (*names, "gradient\nMB"):
        table.add_column(name, justify="left" if name == "victim" else "right", no_wrap=True)
    for each in costs:
        victim = each.victim if each.defense is None else f"{each.victim}+{each.defense}"
        figures = (each.megabytes, each.forward_ms, each.gradient_ms)
        table.add_row(
            victim,
            f"{each.parameters:,}",
            *(f"{value:.1f}" for value in figures),
            *(f"{value:.0f}" for value in (each.forward_mb, each.gradient_mb)),
        )
    Console().print(table)
