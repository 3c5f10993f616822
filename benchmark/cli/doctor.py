"""``posebench doctor``: what is installed, what this machine can do, and what will be slow."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from posebench.benchmark.cli import options

if TYPE_CHECKING:
    from posebench.benchmark.evaluation.checkup import Checkup

EXAMPLES = """
Examples:

- posebench doctor

- posebench doctor --json
"""


def doctor(as_json: options.AsJson = False) -> None:
    """What is installed, what this machine can do, and what will be slow on it.

    Speed is measured, for about a second: products of matrices on one thread, in float32 (all
    evaluations) and bfloat16 (training), and on as many threads as torch would take.
    """
    from posebench.benchmark.cli.list import shipped_weights
    from posebench.benchmark.evaluation.checkup import checkup
    from posebench.victims import VICTIMS

    weights = {name: shipped_weights(name) for name in VICTIMS.about}
    found = checkup()
    if as_json:
        typer.echo(json.dumps({**asdict(found), "weights": weights}, allow_nan=False))
        return
    show(found, weights)


def show(found: Checkup, weights: dict[str, str]) -> None:
    """Tables of what is there, then what is missing and what will be slow, a line a thought."""
    from rich.console import Console

    from posebench.benchmark.cli.list import table_of

    console = Console(highlight=False)
    installed = {name: there for name, there in found.packages.items() if there is not None}
    extras = {
        name: "present" if there else f"absent: pip install 'posebench[{name}]'"
        for name, there in found.extras.items()
    }
    for title, lines in (
        ("machine", machine_lines(found)),
        ("speed, 512 x 512 products", speed_lines(found)),
        ("packages", {"posebench": posebench_line(found), **installed}),
        ("extras, all optional", extras),
        ("shipped weights", weights),
    ):
        console.print(table_of(title, lines))
    for title, style, words in (
        ("missing", "bold red", found.missing),
        ("will be slow", "yellow", found.slow),
    ):
        for line in words:
            console.print(f"[{style}]{title}[/]: ", end="")
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not (found.missing or found.slow):
        console.print("nothing is missing, and nothing is known to be slow")


def posebench_line(found: Checkup) -> str:
    """Version and commit."""
    return found.posebench + (f", commit {found.commit[:12]}" if found.commit else "")


def machine_lines(found: Checkup) -> dict[str, str]:
    """System, cores, memory and devices."""
    cores, memory = found.cores, found.memory
    lines = {
        "system": f"{found.system}, Python {found.python}",
        "processor": found.processor,
        "cores": f"{cores.seen}, {cores.allowed} of them for this process, {cores.load_words()}",
        "memory": f"{gib(memory.total)}, {gib(memory.available)} free",
    }
    if found.torch is not None:
        lines["torch"] = f"{found.torch.version}, threads: {found.torch.threads}"
        devices = [f"{each.device} {each.name}, {gib(each.memory)}" for each in found.accelerators]
        lines["devices"] = "; ".join(["cpu", *devices])
    return lines


def speed_lines(found: Checkup) -> dict[str, str]:
    """GFLOP a second, a line each."""
    if not found.speeds:
        return {"not measured": "torch is missing"}
    return {
        f"{each.dtype}, {'1 thread' if each.threads == 1 else f'{each.threads} threads'}": (
            f"{each.clock:,.0f} GFLOP/s"
            + ("" if each.core is None else f" by the clock, {each.core:,.0f} by core time")
        )
        for each in found.speeds
    }


def gib(size: int | None) -> str:
    """Bytes in GiB."""
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
