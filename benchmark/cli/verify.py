"""``posebench verify``: run a record again."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.audit.verify import Comparison

EXAMPLES = """
Examples:

- posebench verify runs/anny-seen/npt-compact-clean/fgm-0.08-rms-l2-0123456789.json --samples 8

- posebench verify runs/anny-seen/npt-compact-given/clean-0123456789.json --weights my_npt.pth
"""

SQUARED = ("pmd", "pmd_uncentred", "msvd", "noise_pmd")
"""Fields that are printed x1e-4, with their clean twins and the trivial baselines."""

CAPTION = """\
PMD and MSVD x1e-4
interval: 95 % bootstrap interval of the mean of so many pairs of the record
off by: largest relative difference of one pair's value
within: the new mean is in the interval; close: all values agree to 0.1 %"""


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
    batch_size: options.BatchSize = 8,
    device: options.Device = "auto",
) -> None:
    """Run a record's cell again and compare every number with the recorded one.

    A mean holds if it is within the recorded 95 % interval of the same pairs; on the same machine
    and versions it is bit-equal. Exit code 1 if a field does not hold.
    """
    from posebench.benchmark.audit.verify import read_record, rerun_of, run_again

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    content = read_record(record)
    rerun = rerun_of(content, weights=weights, samples=samples, device=device)
    with progress_bar("pairs", quiet=False) as bar:
        job = bar.add_task("running again", total=rerun.samples)
        found = run_again(rerun, batch_size=batch_size, progress=partial(bar.advance, job))
    print_comparisons(found, f"{rerun.samples} of {content['cell']['samples']} pairs")
    if not all(each.holds for each in found):
        raise typer.Exit(1)


def print_comparisons(found: list[Comparison], title: str) -> None:
    """The table, and the verdict as its last line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption=CAPTION, box=box.SIMPLE_HEAD, collapse_padding=True)
    for name in ("field", "recorded", "interval", "now", "off by", "verdict"):
        side: Any = "left" if name in ("field", "verdict") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for each in found:
        leaf = each.field.removeprefix("clean_")
        factor = 1e4 if leaf in SQUARED or leaf.startswith("trivial.") else 1.0
        interval = "-"
        if each.interval is not None and not math.isnan(each.interval[0]):
            interval = ", ".join(f"{end * factor:.4g}" for end in each.interval)
        off = f"{100 * each.off:.1g} %" if math.isfinite(each.off) else "-"
        values = (_shown(value * factor) for value in (each.recorded, each.now))
        table.add_row(each.field, next(values), interval, next(values), off, verdict(each))
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
    inside = each.interval is not None and each.interval[0] <= each.now <= each.interval[1]
    return "within" if inside else "close"


def _shown(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4g}"
