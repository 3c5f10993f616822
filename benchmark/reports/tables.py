"""What the terminal shows: the table of a run, and the registries."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posebench.benchmark.evaluation.cost import Cost
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


def print_costs(costs: list[Cost]) -> None:
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
    from posebench.benchmark.evaluation.metrics import METRICS
    from posebench.defenses import DEFENSES
    from posebench.victims import SIZES, VICTIMS
    from posebench.victims.weights import shipped_path

    table = Table(title="victims")
    for column in ("name", "network", "paper", "point counts", "shipped weights"):
        table.add_column(column)
    for name, network in VICTIMS.working().items():
        spec = network.spec
        shipped = [
            f"{size}{' adversarial' if adversarial else ''}"
            for size in SIZES
            for adversarial in (False, True)
            if shipped_path(name, size, adversarial=adversarial).is_file()
        ]
        table.add_row(name, spec.title, spec.paper, spec.point_counts, ", ".join(shipped) or "-")
    console = Console()
    console.print(table)
    console.print(f"attacks: {', '.join(ATTACKS.working())}")
    console.print(f"defences: {', '.join(DEFENSES.working())}")
    console.print(f"metrics: {', '.join(METRICS.working())}")
    console.print(f"tasks: {', '.join(TASKS)}")
    console.print(
        "distorted pose sources of anny/seen: anny/scan@0 to @5, anny/noise@0.02 (metres), "
        f"severities @1 to @5 of {', '.join(f'anny/{kind}' for kind in KINDS[2:])}"
    )
    console.print(f"tasks on data that you have: {', '.join(DATASET_TASKS)}")
    sizes = (f"{n} (width {s.width}, {s.vertices} vertices)" for n, s in SIZES.items())
    console.print(f"sizes: {', '.join(sizes)}")
    for reason in (
        each for kind in (VICTIMS, ATTACKS, DEFENSES, METRICS) for each in kind.broken().values()
    ):
        console.print(f"broken: {reason}", markup=False)
