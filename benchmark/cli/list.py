"""``posebench list``: everything that has a name. Loads no torch, unless a plug-in does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posebench.attacks import ATTACKS
from posebench.benchmark.data.names import TASK_LINES
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.registry import Registry
from posebench.victims import SIZES, VICTIMS
from posebench.victims.weights import REGIMES, TRAININGS, shipped_path

EXAMPLES = "Example:\n\n- posebench list"


def list_all() -> None:
    """Victims (with shipped weights), attacks, defences, tasks and sizes, one line each."""
    console = Console()
    victims = {
        name: f"{line}; weights: {shipped_weights(name)}"
        for name, line in lines_of(VICTIMS).items()
    }
    sizes = {
        name: f"width {size.width:,}, bodies of {size.vertices:,} vertices"
        for name, size in SIZES.items()
    }
    for title, lines in (
        ("victims", victims),
        ("attacks", lines_of(ATTACKS)),
        ("defences", lines_of(DEFENSES)),
        ("tasks", TASK_LINES),
        ("sizes", sizes),
    ):
        console.print(table_of(title, lines))


def table_of(title: str, lines: Mapping[str, str]) -> Table:
    """Names and their lines."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in lines.items():
        table.add_row(Text(name), Text(line))
    return table


def lines_of(registry: Registry[Any]) -> dict[str, str]:
    """A line for each name. Plug-ins are imported for theirs; one that is broken says so."""
    return {name: registry.about.get(name) or plugged_line(registry, name) for name in registry}


def plugged_line(registry: Registry[Any], name: str) -> str:
    """The first line of what a plug-in's author wrote about it, or what is wrong with it."""
    try:
        documentation = registry[name].__doc__ or ""
    except InputError as error:
        return f"broken plug-in: {error}"
    return (documentation.strip().splitlines() or ["a plug-in"])[0]


def shipped_weights(victim: str) -> str:
    """Which weights come with the package."""
    kinds = [
        size
        + ("" if regime == "protocol" else f" {regime}")
        + ("" if training == "clean" else f" {training}")
        for size in SIZES
        for regime in REGIMES
        for training in TRAININGS
        if shipped_path(victim, size, training=training, regime=regime).is_file()
    ]
    return ", ".join(kinds) or "none"
