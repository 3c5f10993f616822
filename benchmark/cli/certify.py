"""``posebench certify``: what is guaranteed of a victim behind a median, whatever is done to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.evaluation.certify import Asked, Certified

EXAMPLES = """
Examples:

- posebench certify --victim npt --points 8 --samples 16 --plot certified.png

- posebench certify --victim npt --defense subset-median --points 16 --draws 1000

- posebench certify --victim npt --defense smooth --radius 0.02 --draws 1000
"""

Moved = Annotated[
    int, typer.Option("--points", help="Points that may be moved anywhere; certifies 0 to so many.")
]
Median = Annotated[
    str,
    typer.Option(
        help="partition-median (certain), subset-median or smooth (statistical, of the median "
        "over all draws).",
        autocompletion=options.words("partition-median", "subset-median", "smooth"),
    ),
]
Groups = Annotated[int | None, typer.Option(help="Of the partition: forwards a call; default 25.")]
Draws = Annotated[
    int | None, typer.Option(help="Draws of a statistical guarantee, for each pair; default 500.")
]
Radius = Annotated[
    float | None,
    typer.Option(help="For smooth: metres that all coordinates together may move; default sigma."),
]
Plot = Annotated[Path | None, typer.Option(help="PNG or PDF of the curve.")]

RADII = 9
"""Points of a curve over radii."""


@when_memory_runs_out("a smaller --size or --device cpu")
def certify(
    victim: options.Victim,
    points: Moved = 8,
    defense: Median = "partition-median",
    groups: Groups = None,
    draws: Draws = None,
    radius: Radius = None,
    weights: options.Weights = None,
    size: options.Size = "compact",
    task: options.Task = "anny/seen",
    samples: options.Samples = 8,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    plot: Plot = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Certified errors of each pair, as a curve over what the attacker may do."""
    from posebench.benchmark.data.datasets import load_task, task_vertices
    from posebench.benchmark.data.task import check_truth
    from posebench.benchmark.evaluation.certify import certify, write_certificates
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.evaluation.sources import find_networks
    from posebench.benchmark.reports.certificates import draw_certificates
    from posebench.benchmark.reports.pictures import check_ending
    from posebench.files import check_writable
    from posebench.registry import unknown
    from posebench.victims import SIZES

    if size not in SIZES:
        raise unknown("size", size, SIZES)
    asked = made(defense, points, groups, draws, radius, seed)
    if plot is not None:
        check_ending(plot)
    for path in (plot, out):
        if path is not None:
            check_writable(path.parent)
    place = resolve_device(device)
    sources = find_networks(victim, weights, size)
    vertices = task_vertices(task, SIZES[size].vertices, samples=samples)
    pairs = load_task(task, samples=samples, vertices=vertices)
    check_truth(pairs, "certificates")
    found = []
    with progress_bar("pairs", quiet=False) as bar:
        for source in sources:
            source.network.to(place)
            job = bar.add_task(source.label, total=samples)
            found.append(certify(source, pairs, asked, partial(bar.advance, job), device=place))
    show(found)
    if plot is not None:
        draw_certificates(found, plot)
        typer.echo(str(plot))
    if out is not None:
        write_certificates(out, found, place)
        typer.echo(str(out))


def made(
    defense: str,
    points: int,
    groups: int | None,
    draws: int | None,
    radius: float | None,
    seed: int,
) -> Asked:
    """What the options ask for.

    Raises:
        InputError: an option that the defence does not heed, or a value that cannot be.
    """
    from posebench.benchmark.evaluation.certify import Asked
    from posebench.defenses import DEFENSES, GaussianSmoothing, PartitionMedian
    from posebench.errors import InputError

    if points < 0:
        raise InputError(f"points must be 0 or more, got {points}")
    certain = defense == "partition-median"
    for name, value, fits in (
        ("groups", groups, certain),
        ("draws", draws, not certain),
        ("radius", radius, defense == "smooth"),
    ):
        if value is not None and not fits:
            raise InputError(f"--{name} does not go with defence {defense!r}")
    chosen = PartitionMedian(groups) if groups is not None else DEFENSES[defense]()
    allowed = tuple(float(each) for each in range(points + 1))
    if isinstance(chosen, GaussianSmoothing):
        largest = chosen.sigma if radius is None else radius
        if not largest > 0:
            raise InputError(f"radius must be positive, got {largest}")
        allowed = tuple(largest * step / (RADII - 1) for step in range(RADII))
    return Asked(chosen, allowed, 500 if draws is None else draws, seed)


def show(found: list[Certified]) -> None:
    """A table of each network's certified errors, and what they mean."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for each in found:
        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"{each.victim}, {each.training} training, {each.defense}, {each.samples} pairs",
        )
        for name in (
            f"{each.unit} moved",
            "certified error\nmedian",
            "worst pair",
            "pairs below\ncopy-pose",
        ):
            table.add_column(name, justify="right")
        for number, allowed in enumerate(each.allowed):
            row = each.bounds[number]
            below = sum(a < b for a, b in zip(row, each.trivial.per_sample, strict=True))
            table.add_row(
                f"{allowed:g}", printed(each.median(number)), printed(max(row)),
                f"{below} of {len(row)}",
            )  # fmt: skip
        console.print(table)
        console.print(
            f"errors x1e-4 after the best translation, means: defended {printed(each.clean.mean)}, "
            f"undefended {printed(each.undefended.mean)}, copy-pose {printed(each.trivial.mean)}"
        )
        console.print(each.meaning, soft_wrap=True)


def printed(value: float) -> str:
    """x 1e-4, or that nothing is guaranteed."""
    return "none" if value == float("inf") else f"{value * 1e4:.1f}"
