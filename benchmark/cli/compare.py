"""``posebench compare``: is one victim more robust than another, or was it luck?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.paths import check_picture

if TYPE_CHECKING:
    from posebench.benchmark.records.types import Json
    from posebench.benchmark.reports.comparison import Comparison

EXAMPLES = """
Examples:

- posebench compare npt gct

- posebench compare npt-compact-adversarial npt-compact --plot compare.png

- posebench compare runs/anny-seen/mine-given/fgm-0.08-rms-l2-0123456789.json npt
"""

CAPTION = """\
mean error x1e-4 (square metres): what the attack is judged by, clean PMD
ratio: of the errors, geometric mean over pairs, with its 95 % interval
p: of no difference, paired t test of logarithms, Holm-adjusted over rows"""

First = Annotated[str, typer.Argument(metavar="A", help="A record's file, or a name of weights.")]
Second = Annotated[str, typer.Argument(metavar="B", help="What it is compared with, likewise.")]
Plot = Annotated[Path | None, typer.Option(help="PNG or PDF with a point a pair.")]


def compare(
    first: First,
    second: Second,
    task: options.Task = "anny/seen",
    records: options.Records = Path("leaderboards/records"),
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Is A more robust than B? Pair by pair, with a p value.

    A name, such as npt or npt-compact-adversarial, stands for its committed records; two of them
    are compared in everything that the tables show of both. Records of other data, attacks or
    numbers of pairs are refused.
    """
    from posebench.benchmark.reports import comparison
    from posebench.benchmark.reports.comparison_picture import draw_comparisons

    if plot is not None:
        check_picture(plot)
    found = comparison.compare(first, second, records=records, task=task)
    if plot is not None:
        draw_comparisons(found, plot)
    if as_json:
        typer.echo(json.dumps([as_object(each) for each in found], allow_nan=False))
        return
    show(found)
    if plot is not None:
        typer.echo(str(plot))


def as_object(found: Comparison) -> Json:
    """For ``--json``; errors in square metres."""
    from posebench.benchmark.records.form import cell_to_json
    from posebench.benchmark.reports.comparison import words

    return {
        "a": found.names[0],
        "b": found.names[1],
        "words": words(found),
        "better": None if found.better is None else found.names[found.better],
        "pairs": len(found.errors[0]),
        "wins": list(found.wins),
        "ratio": found.change.ratio,
        "ratio_interval": list(found.change.interval),
        "p": found.p,
        "errors": [errors.tolist() for errors in found.errors],
        "flags": sorted(found.flags),
        "cell": cell_to_json(found.cell),
    }


def show(found: list[Comparison]) -> None:
    """A table, coloured where a difference is sure, then a sentence a row."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from posebench.benchmark.reports.comparison import attack_words, p_words, words

    console = Console(highlight=False)
    first, second = found[0].names
    table = Table(
        title=f"A: {first}\nB: {second}\n{found[0].cell.task}",
        caption=CAPTION, box=box.SIMPLE_HEAD, caption_justify="left",
    )  # fmt: skip
    table.add_column("attack")
    for name in ("pairs", "A", "B", "A wins", "ratio A / B", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        low, high = each.change.interval
        means = (f"{errors.mean() * 1e4:.1f}" for errors in each.errors)
        table.add_row(
            attack_words(each.cell.attack),
            str(len(each.errors[0])),
            *means,
            str(each.wins[0]),
            f"{each.change.ratio:.2f} [{low:.2f}, {high:.2f}]",
            p_words(each.p).removeprefix("p ").removeprefix("= "),
            style=None if each.better is None else ("green", "red")[each.better],
        )
    console.print(table)
    for each in found:
        console.print(words(each), markup=False, highlight=False, soft_wrap=True)
    for flag in sorted({flag for each in found for flag in each.flags}):
        console.print(f"[bold red]flag[/] {flag} (docs/flags.md)")
