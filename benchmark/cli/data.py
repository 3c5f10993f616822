"""``posebench data``: look at licensed data on disk, and make SMPL-NPT from an SMPL model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli.progress import progress_bar

app = typer.Typer(no_args_is_help=True, help="Licensed data that you have on disk.")
make = typer.Typer(no_args_is_help=True, help="Make a data set from a model file.")
app.add_typer(make, name="make")


@app.command(epilog="Example:\n\n- posebench data check ~/data/FAUST")
def check(
    path: Annotated[Path, typer.Argument(help="A data folder, or an SMPL model file.")],
) -> None:
    """Say what is recognised, how much of it, in which units, and what is missing.

    Folders of mesh files are converted once, into .posebench beside them.
    """
    from functools import partial

    from posebench.benchmark.data.inventory import check_data

    with progress_bar("meshes", quiet=False) as bar:
        job = bar.add_task("reading meshes", total=None)
        found = check_data(path, partial(bar.advance, job))
    print_findings(found)


@make.command(
    "smpl-npt",
    epilog="Example:\n\n- posebench data make smpl-npt --model male.pkl --out ~/data/smpl-npt",
)
def make_smpl_npt(
    model: Annotated[Path, typer.Option(help="The male SMPL model, .pkl or .npz.")],
    out: Annotated[Path, typer.Option(help="Folder for the meshes; 10.5 GB for all of them.")],
    identities: Annotated[
        str, typer.Option(help="first:end of the 30; 16:30 are the test's.")
    ] = "0:30",
    poses: Annotated[
        str, typer.Option(help="first:end of the 800; 200:600 seen, 600:800 unseen.")
    ] = "0:800",
) -> None:
    """The 24,000 meshes of SMPL-NPT by the published recipe; goes on where it was stopped."""
    from functools import partial

    from posebench.benchmark.data import smpl_npt
    from posebench.benchmark.data.smpl import load_smpl

    people = range_of(identities, smpl_npt.IDENTITIES, "--identities")
    chosen = range_of(poses, smpl_npt.POSES, "--poses")
    body = load_smpl(model)
    with progress_bar("meshes", quiet=False) as bar:
        job = bar.add_task("SMPL-NPT", total=len(people) * len(chosen))
        written = smpl_npt.make_smpl_npt(
            body, out, identities=people, poses=chosen, progress=partial(bar.advance, job)
        )
    typer.echo(f"{out}: {written} meshes written, {len(people) * len(chosen)} there")


def print_findings(found: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """What a data folder holds, one table per data set."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for title, rows in found:
        table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for what, finding in rows:
            table.add_row(what, Text(finding))
        console.print(table)


def range_of(text: str, whole: range, option: str) -> range:
    """``first:end`` to a part of a range.

    Raises:
        InputError: of another form, or outside the range.
    """
    from posebench.errors import InputError

    first, _, end = text.partition(":")
    if first.isdecimal() and end.isdecimal() and len(text) < 12:
        part = range(int(first), int(end))
        if part and part.stop <= whole.stop:
            return part
    raise InputError(f"{option} must be first:end within 0:{whole.stop}, got {text!r}")
