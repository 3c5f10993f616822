"""What the terminal shows of a run."""

from __future__ import annotations

import math

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.curves import curve_area
from posebench.benchmark.runs.run import CellResult, sweeps_of
from posebench.benchmark.stats.bootstrap import Summary
from posebench.benchmark.stats.paired import change_between
from posebench.benchmark.stats.success import KAPPAS

NO_TRUTH = """\
no truth, so no PMD: how far an attack moves the output from the
clean output, as PMD x1e-4 [95 % bootstrap interval over pairs]
noise: random perturbation of the same size, worst of 3
edges, creases: change from the identity, clean, then attacked"""

CAPTION = """\
PMD x1e-4, mean [95 % bootstrap interval over pairs]
noise: random perturbation of the same size, worst of 3
success: attacked PMD > 10 among pairs with clean PMD <= 10
x2 worse: attacked PMD at least doubled; clean fails: clean PMD > 10"""

SURE = 0.05
"""p of no difference below which a number is coloured."""

COLOURS = "green, red: surely less, more than in the first row (paired, p < 0.05)"


def scaled(summary: Summary) -> str:
    """Mean with its 95 % interval in the field's unit, x 1e-4."""
    if math.isnan(summary.mean):
        return "undefined"
    low, high = summary.ci95
    return f"{summary.mean * 1e4:.1f}\n[{low * 1e4:.1f}, {high * 1e4:.1f}]"


def percent(value: float) -> str:
    """A share in per cent; a dash where undefined."""
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def print_run(results: list[CellResult]) -> None:
    """The table of one run, its baselines, flags and cost."""
    console = Console(highlight=False)
    console.print(run_table([result.record for result in results]))
    trivial = results[0].record.metrics.trivial
    if trivial:
        console.print(
            "without any skill: "
            + ", ".join(f"{name} {value * 1e4:.1f}" for name, value in trivial.items())
        )
    for label, records in sweeps_of(results).items():
        if (area := curve_area(records)) is not None:
            console.print(f"{label}: PMD x1e-4 averaged over the swept eps {area * 1e4:.1f}")
    attacked = results[0].record.cell.attack is not None
    if attacked and all(each.record.cell.weights.training == "clean" for each in results):
        console.print("adversarial training: no such weights are shipped for this victim yet")
    for result in results:
        print_record(console, result)


def run_table(records: list[Record]) -> Table:
    """A row a record: clean, attacked, noise, and shares of broken pairs."""
    cell = records[0].cell
    budgets = sorted({each.cell.attack.eps for each in records if each.cell.attack is not None})
    attacked = cell.attack is not None
    if not records[0].metrics.truth:
        return displacement_table(records, title_of(records[0], budgets))
    caption = [CAPTION if attacked else CAPTION.splitlines()[0]]
    caption += [COLOURS] if any(first_of(records, each) is not each for each in records) else []
    table = Table(
        title=title_of(records[0], budgets),
        caption="\n".join(caption),
        box=box.SIMPLE_HEAD,
    )
    table.add_column("training")
    table.add_column("clean", justify="right", no_wrap=True)
    for name in ("attacked", "noise", "success", "x2\nworse", "clean\nfails") if attacked else ():
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        metrics = record.metrics
        first = first_of(records, record).metrics
        row: list[str | Text] = [
            label_of(record, several=len(budgets) > 1),
            coloured(scaled(metrics.clean_pmd), metrics.clean_pmd, first.clean_pmd),
        ]
        if metrics.attack is not None:
            rates = metrics.attack.rates
            row += [
                coloured(scaled(metrics.pmd), metrics.pmd, first.pmd),
                scaled(metrics.attack.noise_pmd).splitlines()[0],
                percent(rates["asr@tau"]),
                percent(rates[f"asr_rel@{KAPPAS[0]:g}"]),
                percent(rates["clean_fail"]),
            ]
        table.add_row(*row)
    return table


def displacement_table(records: list[Record], title: str) -> Table:
    """A row a record, of pairs without a truth: displacement, and plausibility of the outputs."""
    table = Table(title=title, caption=NO_TRUTH, box=box.SIMPLE_HEAD)
    table.add_column("training")
    for name in ("displaced", "noise", "times\nnoise", "edges", "creases"):
        table.add_column(name, justify="right", no_wrap=True)
    several = len({each.cell.attack and each.cell.attack.eps for each in records}) > 1
    for record in records:
        metrics, under = record.metrics, record.metrics.attack
        row = [label_of(record, several=several), "-", "-", "-"]
        if under is not None:
            row[1:] = [
                scaled(metrics.attacked["displacement"]),
                scaled(under.noise_pmd).splitlines()[0],
                f"{under.rates['gain_over_noise']:.1f}",
            ]
        table.add_row(
            *row,
            change(record, "edge_change", 100.0, " %"),
            change(record, "crease_change", 1.0, " deg"),
        )
    return table


def change(record: Record, name: str, factor: float, unit: str) -> str:
    """A plausibility, clean and, where there is an attack, attacked; a dash without faces."""
    means = [record.metrics.clean[name].mean]
    if record.metrics.attack is not None:
        means.append(record.metrics.attacked[name].mean)
    shown = [f"{factor * mean:.0f}{unit}" for mean in means]
    return "-" if any(map(math.isnan, means)) else "\n".join(shown)


def label_of(record: Record, *, several: bool) -> str:
    """A row's name: the training and, of several budgets, which one."""
    label = record.cell.weights.training
    if record.cell.attack is not None and several:
        label += f"\neps {record.cell.attack.eps:g}"
    return label


def first_of(records: list[Record], record: Record) -> Record:
    """The first record under the same attack: what the others are compared with."""
    return next(each for each in records if each.cell.attack == record.cell.attack)


def coloured(text: str, found: Summary, first: Summary) -> Text:
    """Green where an error is surely smaller than the first row's on the same pairs, red where it
    is larger."""
    values = found.values, first.values
    if len(values[0]) < 2 or not all(np.isfinite(each).all() for each in values):
        return Text(text)
    change = change_between(values[1][None], values[0][None])
    if not change.p_either < SURE:
        return Text(text)
    return Text(text, style="green" if change.mean < 0 else "red")


def title_of(record: Record, budgets: list[float]) -> str:
    """Victim, task, attack and defence of a run."""
    cell = record.cell
    title = f"{cell.victim} ({cell.weights.size}), {cell.task}, {cell.samples} pairs"
    if cell.attack is not None:
        shown = f"{budgets[0]:g}" if len(budgets) == 1 else f"{budgets[0]:g} to {budgets[-1]:g}"
        title += f"\n{cell.attack.name} {shown} {cell.attack.unit} ({cell.attack.norm})"
    if cell.defense is not None:
        title += f", {cell.defense.name} ({cell.access})"
    return title


def print_record(console: Console, result: CellResult) -> None:
    """What an attack reached and cost, the flags, and where the record is."""
    record = result.record
    if record.cell.attack is not None:
        cost = record.cost
        console.print(
            f"{record.cell.weights.training}: {reached(record)}; "
            f"{cost.forwards} forward and {cost.backwards} backward a sample; "
            f"{result.seconds:.1f} s"
        )
    rough = record.metrics.attacked.get("bf16_pmd")
    if rough is not None:
        console.print(
            f"{record.cell.weights.training}: attacked in bf16, which would say "
            f"{rough.mean * 1e4:.1f}; measured in float32"
        )
    for flag in record.flags:
        console.print(f"[bold red]flag[/] {flag} (docs/flags.md)")
    console.print(f"record {result.path}", soft_wrap=True, markup=False)


def reached(record: Record) -> str:
    """How much of its budget an attack used, at most."""
    found, attack = record.metrics.attack, record.cell.attack
    assert found is not None
    assert attack is not None
    if attack.norm in ("drop", "add"):
        share = found.norms["dropped" if attack.norm == "drop" else "added"].max
        return f"{attack.norm} up to {found.radius:.4g} points, {100 * share:.1f} % reached"
    return (
        f"radius {found.radius:.4g} m, reached L2 {found.norms['l2'].max:.4g} m, "
        f"{found.norms['rms'].max:.4g} m RMS"
    )
