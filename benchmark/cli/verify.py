"""``posebench verify``: run a record again."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posebench.benchmark.cli import options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.audit.compared import Comparison

EXAMPLES = """
Examples:

- posebench verify runs/anny-seen/npt-compact-clean/fgm-0.08-rms-l2-0123456789.json --samples 8

- posebench verify runs/anny-seen/npt-compact-given/clean-0123456789.json --weights my_npt.pth
"""

SQUARED = ("pmd", "pmd_uncentred", "msvd", "noise_pmd")
"""Fields that are printed x1e-4, with their clean twins and the trivial baselines."""

CAPTION = """\
PMD and MSVD x1e-4
off by: largest relative difference of one pair's value
p: of no shift between the two runs, for attacks that iterate; such fields hold from 0.01 on
close: all values agree to 0.1 %, attacked ones to 1 %
no shift: single pairs differ, all together do not"""


@when_memory_runs_out("a smaller --batch-size or --device cpu")
def verify(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="One record's JSON file.")],
    weights: Annotated[
        Path | None, typer.Option(help="The victim's weights file, where they are not shipped.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Only the record's first pairs; default: all of them.")
    ] = None,
    data: options.DataFolder = None,
    pairs: own.Pairs = None,
    batch_size: options.BatchSize = 8,
    device: options.Device = "auto",
) -> None:
    """Run a record's cell again and compare every number with the recorded one.

    Pair by pair: values of clean poses and noise must agree to 0.1 %, of attacks of one step to
    1 %; those of attacks that iterate, which magnify rounding, must not be shifted. On the same
    machine and versions all are bit-equal. Exit code 1 if a field does not hold.
    """
    from posebench.benchmark.audit.verify import rerun_of, run_again
    from posebench.benchmark.records.store import read_record

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    if pairs is not None:
        own.use_pairs(pairs)
    content = read_record(record)
    rerun = rerun_of(content, weights=weights, samples=samples, device=device)
    with progress_bar("pairs", quiet=False) as bar:
        count = rerun.evaluation.samples
        job = bar.add_task("running again", total=count)
        found = run_again(rerun, batch_size=batch_size, progress=partial(bar.advance, job))
    print_comparisons(found, f"{count} of {content.cell.samples} pairs")
    if not all(each.holds for each in found):
        raise typer.Exit(1)


def print_comparisons(found: list[Comparison], title: str) -> None:
    """The table, and the verdict as its last line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=CAPTION, box=box.SIMPLE_HEAD, collapse_padding=True)
    for name in ("field", "recorded", "now", "off by", "p", "verdict"):
        side: Any = "left" if name in ("field", "verdict") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for each in found:
        leaf = each.field.removeprefix("clean_")
        factor = 1e4 if leaf in SQUARED or leaf.startswith("trivial.") else 1.0
        off = f"{100 * each.off:.1g} %" if math.isfinite(each.off) else "-"
        values = (_shown(value * factor) for value in (each.recorded, each.now))
        p = "-" if each.p is None else f"{each.p:.2g}"
        style = None if each.holds else "bold red"
        table.add_row(each.field, *values, off, p, verdict(each), style=style)
    Console().print(table)
    wrong = [each.field for each in found if not each.holds]
    equal = sum(each.off == 0 for each in found)
    if wrong:
        typer.echo(f"does not hold: {', '.join(wrong)}")
    elif equal == len(found):
        typer.echo("holds: every value is bit-equal")
    else:
        typer.echo(f"holds: {equal} of {len(found)} fields are bit-equal, the others close enough")


def verdict(each: Comparison) -> str:
    """In words."""
    if not each.holds:
        return "FAILS"
    if each.off == 0:
        return "bit-equal"
    return "close" if each.p is None else "no shift"


def _shown(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4g}"
