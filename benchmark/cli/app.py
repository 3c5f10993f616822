"""The command line. Each command loads what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from posebench import __version__
from posebench.benchmark.cli import check as check_command
from posebench.benchmark.cli import data as data_command
from posebench.benchmark.cli import plot as plot_command
from posebench.benchmark.cli import regress as regress_command
from posebench.benchmark.cli import retarget as mesh_command
from posebench.benchmark.cli import samples as samples_command
from posebench.benchmark.cli import sweep as sweep_command
from posebench.benchmark.cli import train as train_command
from posebench.benchmark.cli import validate as validate_command
from posebench.benchmark.cli import verify as verify_command
from posebench.benchmark.cli.progress import progress_bar

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def show_version(wanted: bool | None) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"posebench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    """How robust are 3D pose-transfer networks? Attack them, defend them, print honest tables."""


EXAMPLES = """
Examples:

- posebench run --victim gct --attack fgm --eps 0.08

- posebench run --victim npt --attack fgm --eps 0.02 --defense sor --access adaptive

- posebench run --victim npt --attack pgd --eps 0:0.08:9 --plot curve.png

- posebench run --victim npt --weights my_npt.pth --task anny/unseen --json

- posebench run --victim npt-mp --task smpl-npt/unseen --data ~/data/smpl-npt
"""


@app.command(epilog=EXAMPLES)
def run(
    victim: Annotated[str, typer.Option(help="npt-mp, npt, gct, posemae; see 'posebench list'.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights file of posebench or of a released repository."),
    ] = None,
    attack: Annotated[str, typer.Option(help="Attack on the pose source, or 'none'.")] = "fgm",
    eps: Annotated[
        str, typer.Option(help="Budget, in --eps-unit; low:high:count sweeps, such as 0:0.16:9.")
    ] = "0.08",
    iterations: Annotated[
        int | None, typer.Option(help="Gradient steps of an iterative attack.")
    ] = None,
    eps_unit: Annotated[
        str,
        typer.Option(
            help="rms: metres RMS per coordinate. total: the L2 radius. release: the released "
            "code's eps * sqrt(3 * 1024)."
        ),
    ] = "rms",
    norm: Annotated[
        str | None,
        typer.Option(
            help="l2 (default), linf or l2_vertex; drop or add: then --eps is a share of points."
        ),
    ] = None,
    defense: Annotated[
        str, typer.Option(help="Defence in front of the victim, or 'none'.")
    ] = "none",
    access: Annotated[
        str | None,
        typer.Option(
            help="What the attack sees: oblivious (default: the bare victim), adaptive (with its "
            "defence), straight-through (the defence's gradient taken as the identity's), transfer "
            "(a surrogate)."
        ),
    ] = None,
    surrogate: Annotated[
        str | None,
        typer.Option(
            help="Victim whose shipped clean weights a transfer attack is made on; default for "
            "attack 'transfer': gct, for gct itself npt."
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="POSEBENCH_DATA", help="Folder of licensed data, for tasks other than anny's."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Test pairs.")] = 32,
    batch_size: Annotated[int, typer.Option(help="Pairs at once; does not change results.")] = 8,
    size: Annotated[str, typer.Option(help="compact, paper or tiny.")] = "compact",
    seed: Annotated[int, typer.Option(help="Of attack, noise baseline and defences.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    out: Annotated[Path, typer.Option(help="Folder for the JSON records.")] = Path("runs"),
    plot: Annotated[
        Path | None, typer.Option(help="PNG or PDF of the curves over a swept eps.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the records, as one JSON list.")
    ] = False,
) -> None:
    """Attack a victim and print a table like the paper's Table 2; write one record per cell."""
    from posebench.benchmark.reports.curves import draw_curves, eps_values
    from posebench.benchmark.reports.tables import print_run
    from posebench.benchmark.runs.run import RunSettings, run_cells, sweeps_of
    from posebench.errors import InputError

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    settings = RunSettings(
        victim=victim,
        weights=weights,
        attack=attack,
        eps=eps_values(eps),
        iterations=iterations,
        eps_unit=eps_unit,
        norm=norm,
        defense=defense,
        access=access,
        surrogate=surrogate,
        task=task,
        samples=samples,
        batch_size=batch_size,
        size=size,
        seed=seed,
        device=device,
        out=out,
    )
    if plot is not None and len(settings.eps) < 2:
        raise InputError("--plot needs a swept eps, such as --eps 0:0.16:9")
    with progress_bar("pairs", quiet=as_json) as bar:
        results = run_cells(settings, bar)
    if plot is not None:
        draw_curves(sweeps_of(results), plot)
    if as_json:
        sys.stdout.write(json.dumps([r.record for r in results], allow_nan=False) + "\n")
    else:
        print_run(results)


@app.command("list")
def list_all() -> None:
    """Victims (with shipped weights), attacks, defences, tasks and sizes."""
    from posebench.benchmark.reports.tables import print_registries

    print_registries()


app.command(epilog=train_command.EXAMPLES)(train_command.train)
app.command(epilog=check_command.EXAMPLES)(check_command.check)
app.command(epilog=sweep_command.EXAMPLES)(sweep_command.sweep)
app.command(epilog=regress_command.EXAMPLES)(regress_command.regress)
app.add_typer(data_command.app, name="data")
app.add_typer(plot_command.app, name="plot")
app.command(epilog=mesh_command.TRANSFER_EXAMPLES)(mesh_command.transfer)
app.command(epilog=mesh_command.ATTACK_EXAMPLES)(mesh_command.attack)
app.command(epilog=samples_command.EXAMPLES)(samples_command.samples)
app.command(epilog=validate_command.EXAMPLES)(validate_command.validate)
app.command(epilog=verify_command.EXAMPLES)(verify_command.verify)


@app.command()
def report(
    records: Annotated[Path, typer.Option(help="Folder with records.")] = Path(
        "leaderboards/records"
    ),
    out: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("leaderboards"),
    check: Annotated[
        bool, typer.Option(help="Write nothing; exit code 1 if the tables are stale.")
    ] = False,
) -> None:
    """Records to leaderboards: results.csv, results.md and index.html."""
    from posebench.benchmark.reports.build import check_tables, write_tables

    if check:
        stale = check_tables(records, out)
        if stale:
            typer.echo(f"stale: {', '.join(stale)}; run 'posebench report'", err=True)
            raise typer.Exit(1)
        typer.echo("tables are current")
    else:
        for path in write_tables(records, out):
            typer.echo(str(path))


@app.command(epilog="Example:\n\n- posebench cost --size paper --victim npt --victim gct")
def cost(
    victim: Annotated[
        list[str] | None, typer.Option(help="Victims to measure; default: the paper's four.")
    ] = None,
    size: Annotated[str, typer.Option(help="compact, paper or tiny.")] = "paper",
    repeats: Annotated[int, typer.Option(help="Timed calls; the median counts.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Time, size and peak memory of victims on one pair (the paper's Table 4)."""
    from posebench.benchmark.evaluation.cost import measure_apart, write_costs
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.reports.tables import print_costs
    from posebench.errors import InputError
    from posebench.files import check_writable
    from posebench.registry import unknown
    from posebench.victims import SIZES, VICTIMS

    if size not in SIZES:
        raise unknown("size", size, SIZES)
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    names = victim or ["npt-mp", "npt", "gct", "posemae"]
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


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2, never a traceback."""
    from posebench.errors import InputError, out_of_memory

    try:
        app()
    except InputError as error:
        typer.echo(f"posebench: error: {' '.join(str(error).splitlines())}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("posebench"):
            raise
        typer.echo(f"posebench: error: this needs {error.name}: pip install {error.name}", err=True)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        typer.echo(
            "posebench: error: out of memory; try smaller meshes or a machine with more", err=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("posebench: interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
