"""The command line, put together. Each command loads what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from posebench import __version__
from posebench.benchmark.cli import attack as attack_command
from posebench.benchmark.cli import certify as certify_command
from posebench.benchmark.cli import check as check_command
from posebench.benchmark.cli import compare as compare_command
from posebench.benchmark.cli import cost as cost_command
from posebench.benchmark.cli import data as data_command
from posebench.benchmark.cli import doctor as doctor_command
from posebench.benchmark.cli import list as list_command
from posebench.benchmark.cli import plot as plot_command
from posebench.benchmark.cli import regress as regress_command
from posebench.benchmark.cli import report as report_command
from posebench.benchmark.cli import run as run_command
from posebench.benchmark.cli import samples as samples_command
from posebench.benchmark.cli import sweep as sweep_command
from posebench.benchmark.cli import train as train_command
from posebench.benchmark.cli import transfer as transfer_command
from posebench.benchmark.cli import validate as validate_command
from posebench.benchmark.cli import verify as verify_command
from posebench.benchmark.cli.failures import one_line, tolerant_streams
from posebench.benchmark.cli.memory import when_memory_runs_out

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


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


train = when_memory_runs_out("a smaller --size, --recompute (gct) or --device cpu")(
    train_command.train
)

app.command(epilog=run_command.EXAMPLES)(run_command.run)
app.command("list", epilog=list_command.EXAMPLES)(list_command.list_all)
app.command(epilog=train_command.EXAMPLES)(train)
app.command(epilog=check_command.EXAMPLES)(check_command.check)
app.command(epilog=certify_command.EXAMPLES)(certify_command.certify)
app.command(epilog=sweep_command.EXAMPLES)(sweep_command.sweep)
app.command(epilog=regress_command.EXAMPLES)(regress_command.regress)
app.add_typer(data_command.app, name="data")
app.add_typer(plot_command.app, name="plot")
app.command(epilog=transfer_command.EXAMPLES)(transfer_command.transfer)
app.command(epilog=attack_command.EXAMPLES)(attack_command.attack)
app.command(epilog=samples_command.EXAMPLES)(samples_command.samples)
app.command(epilog=validate_command.EXAMPLES)(validate_command.validate)
app.command(epilog=verify_command.EXAMPLES)(verify_command.verify)
app.command(epilog=report_command.EXAMPLES)(report_command.report)
app.command(epilog=compare_command.EXAMPLES)(compare_command.compare)
app.command(epilog=cost_command.EXAMPLES)(cost_command.cost)
app.command(epilog=doctor_command.EXAMPLES)(doctor_command.doctor)


def main() -> None:
    """Entry point: whatever is wrong is one line on stderr, never a traceback."""
    with one_line(), tolerant_streams():
        app(prog_name="posebench")


if __name__ == "__main__":
    main()
