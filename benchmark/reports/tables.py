"""What the terminal shows: the table of a run, and the registries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posebench.benchmark.evaluation.cost import VictimCost
from posebench.benchmark.records.types import Cell, Record
from posebench.benchmark.reports.curves import budgets, curve_area
from posebench.benchmark.reports.markdown import NOTHING, baselines, interval
from posebench.benchmark.runs.run import CellResult, sweeps_of
from posebench.benchmark.stats.bootstrap import Summary
from posebench.benchmark.stats.success import KAPPAS

CAPTION = """\
PMD x1e-4, mean [95 % bootstrap interval over pairs]
noise: random perturbation of the same size, worst of 3
success: attacked PMD > 10 among pairs with clean PMD <= 10
x2 worse: attacked PMD at least doubled; clean fails: clean PMD > 10"""


def scaled(summary: Summary) -> str:
    """Mean and, below it, its 95 % interval in the field's unit, x 1e-4."""
    return interval(summary).replace(" ", "\n", 1)


def percent(value: float | None) -> str:
    """A share in per cent; a dash where undefined."""
    return NOTHING if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def print_run(results: Sequence[CellResult]) -> None:
    """The table of one run, its baselines, flags and cost."""
    console = Console()
    records = [result.record for result in results]
    console.print(run_table(records))
    console.print(f"without any skill: {baselines(records[0])}")
    for label, swept in sweeps_of(list(results)).items():
        if (area := curve_area(swept)) is not None:
            console.print(f"{label}: PMD x1e-4 averaged over the swept eps {area * 1e4:.1f}")
    attacked = records[0].cell.attack is not None
    if attacked and all(each.cell.weights.training == "clean" for each in records):
        console.print("adversarial training: no such weights are shipped for this victim yet")
    for result in results:
        record = result.record
        if attacked:
            console.print(
                f"{record.cell.weights.training}: {reached(record)}; "
                f"{record.cost.forwards} forward and {record.cost.backwards} backward a sample; "
                f"{result.seconds:.1f} s"
            )
        for flag in record.flags:
            console.print(f"[bold red]flag[/] {flag} (docs/flags.md)")
        console.print(f"record {result.path}", soft_wrap=True, markup=False)


def run_table(records: Sequence[Record]) -> Table:
    """Trainings, and budgets where several are swept, in rows."""
    attack, swept = records[0].cell.attack, sorted(set(budgets(records)))
    caption = CAPTION.splitlines()[0] if attack is None else CAPTION
    table = Table(title=run_title(records[0].cell, swept), caption=caption, box=box.SIMPLE_HEAD)
    table.add_column("training")
    names = ["clean"]
    names += [] if attack is None else ["attacked", "noise", "success", "x2\nworse", "clean\nfails"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        metrics, label = record.metrics, record.cell.weights.training
        if len(swept) > 1:
            label += f"\neps {budgets([record])[0]:g}"
        row = [label, scaled(metrics.clean_pmd)]
        if metrics.attack is not None:
            rates = metrics.attack.rates
            row += [scaled(metrics.pmd), interval(metrics.attack.noise_pmd).partition(" ")[0]]
            shares = ("asr@tau", f"asr_rel@{KAPPAS[0]:g}", "clean_fail")
            row += [percent(rates[name]) for name in shares]
        table.add_row(*row)
    return table


def run_title(cell: Cell, swept: Sequence[float]) -> str:
    """Victim and task, attack and budgets, defence."""
    title = f"{cell.victim} ({cell.weights.size}), {cell.task}, {cell.samples} pairs"
    if cell.attack is not None:
        shown = f"{swept[0]:g}" if len(swept) == 1 else f"{swept[0]:g} to {swept[-1]:g}"
        title += f"\n{cell.attack.name} {shown} {cell.attack.unit} ({cell.attack.norm})"
    if cell.defense is not None:
        title += f", {cell.defense.name} ({cell.access})"
    return title


def reached(record: Record) -> str:
    """How much of its budget an attack used, at most."""
    attack, found = record.cell.attack, record.metrics.attack
    if attack is None or found is None:
        return "no attack"
    norms = found.norms
    if attack.norm in ("drop", "add"):
        share = norms["dropped" if attack.norm == "drop" else "added"].max
        return f"{attack.norm} up to {found.radius:.4g} points, {100 * share:.1f} % reached"
    return (
        f"radius {found.radius:.4g} m, reached L2 {norms['l2'].max:.4g} m, "
        f"{norms['rms'].max:.4g} m RMS"
    )


def print_findings(found: list[tuple[str, list[tuple[str, str]]]]) -> None:
    """What a data folder holds, one table per data set."""
    console = Console()
    for title, rows in found:
        table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for what, finding in rows:
            table.add_row(what, Text(finding))
        console.print(table)


def print_costs(costs: list[VictimCost]) -> None:
    """Time, size and memory of victims."""
    table = Table(box=box.SIMPLE_HEAD, title=f"one pair, {costs[0].vertices} vertices")
    names = ("victim", "parameters", "MB", "forward\nms", "gradient\nms", "forward\nMB")
    for name in (*names, "gradient\nMB"):
        table.add_column(name, justify="left" if name == "victim" else "right", no_wrap=True)
    for cost in costs:
        figures = (cost.megabytes, cost.forward_ms, cost.gradient_ms)
        table.add_row(
            cost.victim,
            f"{cost.parameters:,}",
            *(f"{value:.1f}" for value in figures),
            *(f"{value:.0f}" for value in (cost.forward_mb, cost.gradient_mb)),
        )
    Console().print(table)


UNPAIRED_CAPTION = """\
no ground truth, so no PMD: cm between the surfaces, both centred,
as mean (95 % are nearer than); chamfer: mean of both means
stretched: mean change of edge lengths against the identity's"""


def print_unpaired(facts: dict[str, Any]) -> None:
    """What ``transfer`` and ``attack`` can say of files for which nobody knows the truth."""
    console = Console()
    pose, identity = facts["pose"], facts["identity"]
    table = Table(
        title=facts["victim"],
        caption=UNPAIRED_CAPTION,
        box=box.SIMPLE_HEAD,
    )
    for name in ("", "scan to\nresult", "result to\nscan", "chamfer", "stretched"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, found in facts["metrics"].items():
        ways = (found["scan_to_result"], found["result_to_scan"])
        table.add_row(
            name,
            *(f"{100 * way['mean']:.1f} ({100 * way['p95']:.1f})" for way in ways),
            f"{100 * found['chamfer']:.1f}",
            percent(found.get("edge_distortion", {}).get("mean")),
        )
    console.print(table)
    if "attack" in facts:
        size, change, cost = facts["perturbation"], facts["output_change"], facts["cost"]
        console.print(
            f"points moved by {100 * size['rms']:.2f} cm RMS per coordinate, at most "
            f"{100 * size['l2_vertex']:.1f} cm\n"
            f"output moved by {change['attack'] * 1e4:.1f}e-4, as PMD from the clean output\n"
            f"{facts['gain_over_noise']:.1f} times as far as under noise of that size\n"
            f"{cost['forwards']} forward and {cost['backwards']} backward"
        )
    console.print(
        f"pose source: {pose['points']:,} points, {pose['seen']:,} seen\n"
        f"identity: {identity['points']:,} points, {identity['faces']:,} faces"
    )
    for path in facts["written"]:
        console.print(path, soft_wrap=True, markup=False)


def print_registries() -> None:
    """Everything that has a name."""
    from posebench.attacks import ATTACKS
    from posebench.benchmark.data.anny import TASKS
    from posebench.benchmark.data.datasets import DATASET_TASKS
    from posebench.benchmark.data.distortion import KINDS
    from posebench.defenses import DEFENSES
    from posebench.victims import SIZES, VICTIMS
    from posebench.victims.weights import shipped_path

    table = Table(title="victims")
    for column in ("name", "network", "paper", "point counts", "shipped weights"):
        table.add_column(column)
    for name in VICTIMS:
        spec = VICTIMS[name].spec
        shipped = [
            f"{size}{' adversarial' if adversarial else ''}"
            for size in SIZES
            for adversarial in (False, True)
            if shipped_path(name, size, adversarial=adversarial).is_file()
        ]
        table.add_row(name, spec.title, spec.paper, spec.point_counts, ", ".join(shipped) or "-")
    console = Console()
    console.print(table)
    console.print(f"attacks: {', '.join(ATTACKS)}")
    console.print(f"defences: {', '.join(DEFENSES)}")
    console.print(f"tasks: {', '.join(TASKS)}")
    console.print(
        "distorted pose sources of anny/seen: anny/scan@0 to @5, anny/noise@0.02 (metres), "
        f"severities @1 to @5 of {', '.join(f'anny/{kind}' for kind in KINDS[2:])}"
    )
    console.print(f"tasks on data that you have: {', '.join(DATASET_TASKS)}")
    sizes = (f"{n} (width {s.width}, {s.vertices} vertices)" for n, s in SIZES.items())
    console.print(f"sizes: {', '.join(sizes)}")
