"""``posebench report``: records to leaderboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli import options

EXAMPLES = """
Examples:

- posebench report

- posebench report --check

- posebench report --records runs --out tables

- posebench report --release "New weights of NPT."
"""

LEADERBOARDS = Path("leaderboards")


def report(
    records: options.Records = LEADERBOARDS / "records",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the tables.", show_default=str(LEADERBOARDS)),
    ] = None,
    pages: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose README.md and docs get the tables that they mark. "
            "Default: the current one without --out, none with it."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if the tables are stale.")
    ] = False,
    release: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Number the headline rows as the table's next version first: VERSION, "
            "versions/N.csv, and what changed and why in CHANGES.md.",
        ),
    ] = None,
) -> None:
    """Records to leaderboards: results.csv, results.md and index.html."""
    from posebench.benchmark.reports.build import check_tables, write_tables
    from posebench.benchmark.reports.selection import records_below
    from posebench.benchmark.reports.versions import write_release
    from posebench.errors import InputError

    if out is None:
        out, pages = LEADERBOARDS, pages or Path()
    if release is not None:
        if check:
            raise InputError("--check writes nothing and --release does; give one of them")
        for path in write_release(records_below(records), out, release):
            typer.echo(str(path))
    if check:
        stale = check_tables(records, out, pages)
        if stale:
            typer.echo(f"stale: {', '.join(stale)}; run 'posebench report'", err=True)
            raise typer.Exit(1)
        typer.echo("tables are current")
    else:
        for path in write_tables(records, out, pages):
            typer.echo(str(path))
