"""``posebench cost``: what victims cost in time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.evaluation.cost import VictimCost

EXAMPLES = """
Examples:

- posebench cost --size paper --victim npt --victim gct

- posebench cost --size compact --device cuda --out costs.json
"""

PAPER = ("npt-mp", "npt", "gct", "posemae")
"""The victims of the paper's Table 4."""


@when_memory_runs_out("a smaller --size or --device cpu")
def cost(
    victim: options.SomeVictims = None,
    size: options.Size = "paper",
    repeats: Annotated[int, typer.Option(help="Timed calls; the median counts.")] = 5,
    device: options.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Time, size and peak memory of victims on one pair (the paper's Table 4)."""
    from posebench.benchmark.evaluation.cost import measure_apart, write_costs
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.errors import InputError
    from posebench.files import check_writable
    from posebench.registry import unknown
    from posebench.victims import SIZES, VICTIMS

    if size not in SIZES:
        raise unknown("size", size, SIZES)
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    names = victim or list(PAPER)
    for name in names:
        if name not in VICTIMS:
            raise unknown("victim", name, VICTIMS)
    place, costs = resolve_device(device), []
    if out is not None:
        check_writable(out.parent)
    with progress_bar("victims", quiet=False) as bar:
        for name in bar.track(names, description="measuring"):
            costs.append(measure_apart(name, size, place, repeats))
    print_costs(costs)
    if out is not None:
        write_costs(out, costs, place)


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
        figures = (each.megabytes, each.forward_ms, each.gradient_ms)
        table.add_row(
            each.victim,
            f"{each.parameters:,}",
            *(f"{value:.1f}" for value in figures),
            *(f"{value:.0f}" for value in (each.forward_mb, each.gradient_mb)),
        )
    Console().print(table)
