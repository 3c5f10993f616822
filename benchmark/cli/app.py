"""The command line, put together. Each command loads what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from posebench import __version__
from posebench.benchmark.cli import attack as attack_command
from posebench.benchmark.cli import badge as badge_command
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

MEASURE, MESHES = "Measure networks", "Your own meshes"
RECORDS, HERE = "Records and tables", "This machine"
COMMANDS: tuple[tuple[str, str, Callable[..., None], str, str], ...] = (
    (MEASURE, "run", run_command.run, run_command.EXAMPLES, "Attack a network, print a table."),
    (MEASURE, "compare", compare_command.compare, compare_command.EXAMPLES,
     "Is A more robust than B? Pair by pair, with a p value."),
    (MEASURE, "check", check_command.check, check_command.EXAMPLES,
     "Can a network's robustness numbers be believed?"),
    (MEASURE, "certify", certify_command.certify, certify_command.EXAMPLES,
     "Errors that no attack can exceed."),
    (MEASURE, "sweep", sweep_command.sweep, sweep_command.EXAMPLES,
     "A grid of runs; stop and start again at any time."),
    (MEASURE, "regress", regress_command.regress, regress_command.EXAMPLES,
     "Did anything get worse? Exit code 1 if so."),
    (MEASURE, "cost", cost_command.cost, cost_command.EXAMPLES,
     "Time, size and peak memory of networks."),
    (MEASURE, "train", train, train_command.EXAMPLES,
     "Train a network, clean or adversarially."),
    (MESHES, "transfer", transfer_command.transfer, transfer_command.EXAMPLES,
     "Drive any mesh with any mesh or scan."),
    (MESHES, "attack", attack_command.attack, attack_command.EXAMPLES,
     "Move a scan's points so that the result breaks."),
    (RECORDS, "validate", validate_command.validate, validate_command.EXAMPLES,
     "Name every field of a record that is wrong."),
    (RECORDS, "verify", verify_command.verify, verify_command.EXAMPLES,
     "Run a record again and compare every number."),
    (RECORDS, "report", report_command.report, report_command.EXAMPLES,
     "Records to tables and to the leaderboard page."),
    (RECORDS, "badge", badge_command.badge, badge_command.EXAMPLES,
     "A result as a picture for your own page."),
    (RECORDS, "samples", samples_command.samples, samples_command.EXAMPLES,
     "Keep attacked meshes for the page."),
    (HERE, "list", list_command.list_all, list_command.EXAMPLES,
     "Everything that has a name, a line each."),
    (HERE, "doctor", doctor_command.doctor, doctor_command.EXAMPLES,
     "What is installed, and what will be slow."),
)  # fmt: skip
"""Panel of the help page, name, function, examples, and what it does in a few words."""

for panel, name, command, examples, words in COMMANDS:
    app.command(name, epilog=examples, short_help=words, rich_help_panel=panel)(command)
app.add_typer(plot_command.app, name="plot", rich_help_panel=RECORDS)
app.add_typer(data_command.app, name="data", rich_help_panel=HERE)


def main() -> None:
    """Entry point: whatever is wrong is one line on stderr, never a traceback."""
    with one_line(), tolerant_streams():
        app(prog_name="posebench")


if __name__ == "__main__":
    main()
