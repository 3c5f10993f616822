"""What the terminal shows of a run."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from posebench.benchmark.evaluation.metrics import KAPPAS
from posebench.benchmark.records.store import Record
from posebench.benchmark.reports.curves import curve_area
from posebench.benchmark.runs.run import CellResult, sweeps_of

CAPTION = """\
PMD x1e-4, mean [95 % bootstrap interval over pairs]
noise: random perturbation of the same size, worst of 3
success: attacked PMD > 10 among pairs with clean PMD <= 10
x2 worse: attacked PMD at least doubled; clean fails: clean PMD > 10"""


def scaled(summary: dict[str, Any]) -> str:
    """Mean with its 95 % interval in the field's unit, x 1e-4."""
    if summary["mean"] is None:
        return "undefined"
    low, high = summary["ci95"]
    return f"{summary['mean'] * 1e4:.1f}\n[{low * 1e4:.1f}, {high * 1e4:.1f}]"


def percent(value: float | None) -> str:
    """A share in per cent; a dash where undefined."""
    return "-" if value is None else f"{100 * value:.0f} %"


def print_run(results: list[CellResult]) -> None:
    """The table of one run, its baselines, flags and cost."""
    console = Console()
    cell = results[0].record["cell"]
    attacked = cell["attack"] is not None
    title = f"{cell['victim']} ({cell['size']}), {cell['task']}, {cell['samples']} pairs"
    if attacked:
        swept = sorted({r.record["cell"]["eps"] for r in results})
        shown = f"{swept[0]:g}" if len(swept) == 1 else f"{swept[0]:g} to {swept[-1]:g}"
        title += f"\n{cell['attack']} {shown} {cell['eps_unit']} ({cell['norm']})"
    if cell["defense"]:
        title += f", {cell['defense']} ({cell['access']})"
    table = Table(
        title=title, caption=CAPTION if attacked else CAPTION.splitlines()[0], box=box.SIMPLE_HEAD
    )
    table.add_column("training")
    table.add_column("clean", justify="right", no_wrap=True)
    for name in ("attacked", "noise", "success", "x2\nworse", "clean\nfails") if attacked else ():
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        metrics = result.record["metrics"]
        label = result.record["cell"]["training"]
        if attacked and len(swept) > 1:
            label += f"\neps {result.record['cell']['eps']:g}"
        row = [label, scaled(metrics["clean_pmd"])]
        if attacked:
            row += [
                scaled(metrics["pmd"]),
                scaled(metrics["noise_pmd"]).splitlines()[0].partition(" ")[0],
                percent(metrics["asr@tau"]),
                percent(metrics[f"asr_rel@{KAPPAS[0]:g}"]),
                percent(metrics["clean_fail"]),
            ]
        table.add_row(*row)
    console.print(table)
    trivial = results[0].record["metrics"]["trivial"]
    console.print(
        "without any skill: "
        + ", ".join(f"{name} {value * 1e4:.1f}" for name, value in trivial.items())
    )
    for label, records in sweeps_of(results).items():
        if (area := curve_area(records)) is not None:
            console.print(f"{label}: PMD x1e-4 averaged over the swept eps {area * 1e4:.1f}")
    if attacked and all(r.record["cell"]["training"] == "clean" for r in results):
        console.print("adversarial training: no such weights are shipped for this victim yet")
    for result in results:
        record = result.record
        if attacked:
            cost = record["cost"]
            console.print(
                f"{record['cell']['training']}: {reached(record)}; "
                f"{cost['forwards']} forward and {cost['backwards']} backward a sample; "
                f"{result.seconds:.1f} s"
            )
        for flag in record["flags"]:
            console.print(f"[bold red]flag[/] {flag} (docs/flags.md)")
        console.print(f"record {result.path}", soft_wrap=True, markup=False)


def reached(record: Record) -> str:
    """How much of its budget an attack used, at most."""
    norms, radius = record["metrics"]["norms"], record["metrics"]["radius"]
    norm = record["cell"]["norm"]
    if norm in ("drop", "add"):
        share = norms["dropped" if norm == "drop" else "added"]["max"]
        return f"{norm} up to {radius:.4g} points, {100 * share:.1f} % reached"
    return (
        f"radius {radius:.4g} m, reached L2 {norms['l2']['max']:.4g} m, "
        f"{norms['rms']['max']:.4g} m RMS"
    )
