"""``posebench plot``: figures for papers, PNG or PDF."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.reports.pictures import Panel

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Figures for papers, PNG or PDF.",
)

Out = Annotated[Path, typer.Option(help="PNG or PDF to write.")]
Records = Annotated[Path, typer.Option(help="Folder with records.")]


@app.command(epilog="Example:\n\n- posebench plot bars --attack fgm --eps 0.08 --out table2.pdf")
def bars(
    out: Out,
    records: Records = Path("leaderboards/records"),
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    attack: Annotated[str, typer.Option(help="Attack on the pose source.")] = "fgm",
    eps: Annotated[float, typer.Option(help="Budget, metres RMS per coordinate.")] = 0.08,
    every: Annotated[
        bool, typer.Option(help="Records of all weights, not of the shipped ones alone.")
    ] = False,
) -> None:
    """The paper's Table 2 as bars: PMD under an attack, without and with adversarial training."""
    from posebench.benchmark.reports.figures import bars_of, draw_bars
    from posebench.benchmark.reports.pictures import check_ending
    from posebench.benchmark.reports.selection import records_below

    check_ending(out)
    found = bars_of(records_below(records), task=task, attack=attack, eps=eps, every=every)
    draw_bars(found, out)
    typer.echo(str(out))


@app.command(
    epilog="Example:\n\n- posebench run --victim npt --eps 0:0.16:9 --out runs\n\n"
    "- posebench plot curves --records runs --out curves.pdf"
)
def curves(
    out: Out,
    records: Records = Path("leaderboards/records"),
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    attack: Annotated[str, typer.Option(help="Attack on the pose source.")] = "fgm",
    victim: Annotated[
        list[str] | None, typer.Option(help="Victims to draw; default: all with a sweep.")
    ] = None,
) -> None:
    """PMD over a swept eps, and success over the threshold: of records that differ in eps alone."""
    from posebench.benchmark.reports.curves import draw_curves
    from posebench.benchmark.reports.figures import sweeps_of_records
    from posebench.benchmark.reports.pictures import check_ending
    from posebench.benchmark.reports.selection import records_below

    check_ending(out)
    everything = records_below(records)
    found = sweeps_of_records(everything, task=task, attack=attack, victims=victim)
    draw_curves(found, out)
    typer.echo(str(out))


@app.command(epilog="Example:\n\n- posebench plot defences --out defences.png")
def defences(
    out: Out,
    records: Records = Path("leaderboards/records"),
    costs: Annotated[Path, typer.Option(help="Folder with files of 'posebench cost'.")] = Path(
        "leaderboards/costs"
    ),
) -> None:
    """Clean error against worst case of every defence of the sweep 'defences', and its cost."""
    from posebench.benchmark.evaluation.cost import costs_below
    from posebench.benchmark.reports.defence_picture import draw_defences
    from posebench.benchmark.reports.defences import defence_points, defence_rows
    from posebench.benchmark.reports.pictures import check_ending
    from posebench.benchmark.reports.selection import records_below

    check_ending(out)
    rows = defence_rows(records_below(records), costs_below(costs))
    draw_defences(defence_points(rows), out)
    typer.echo(str(out))


@app.command(
    epilog="Example:\n\n- posebench plot heat --victim npt --victim gct --samples 16 --out heat.png"
)
@when_memory_runs_out("a smaller --size")
def heat(
    victim: options.Victims,
    out: Out,
    attack: Annotated[str, typer.Option(help="Attack on the pose source.")] = "fgm",
    eps: Annotated[float, typer.Option(help="Budget, metres RMS per coordinate.")] = 0.08,
    iterations: Annotated[
        int | None, typer.Option(help="Gradient steps of an iterative attack.")
    ] = None,
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    samples: Annotated[int, typer.Option(help="Test pairs that the mean is over.")] = 16,
    size: Annotated[str, typer.Option(help="compact, small, paper or tiny.")] = "compact",
    seed: Annotated[int, typer.Option(help="Of the attack.")] = 0,
    parts: Annotated[
        Path | None, typer.Option(help="Folder for JSON files of displacements by body part.")
    ] = None,
) -> None:
    """How far an attack moves each vertex of the body, on average, and each body part."""
    from posebench.attacks import make_attack
    from posebench.benchmark.evaluation.parts import displacements
    from posebench.benchmark.evaluation.parts_record import parts_record, write_parts
    from posebench.benchmark.evaluation.sources import find_networks
    from posebench.benchmark.reports.figures import draw_heat, heat_panels
    from posebench.benchmark.reports.parts import parts_table
    from posebench.benchmark.reports.pictures import check_ending
    from posebench.files import check_writable
    from posebench.interfaces import Budget
    from posebench.victims import SIZES

    check_ending(out)
    check_writable(out.parent)
    made = make_attack(attack, Budget(eps), iterations)
    found = [source for name in victim for source in find_networks(name, None, size)]
    rows: dict[str, list[Panel]] = {}
    measured = []
    with progress_bar("pairs", quiet=False) as bar:
        for source in found:
            job = bar.add_task(source.label, total=samples)
            moved = displacements(
                source.network,
                made,
                task=task,
                samples=samples,
                vertices=SIZES[size].vertices,
                seed=seed,
                progress=partial(bar.advance, job),
            )
            panels = heat_panels(moved.mean(axis=0), f"{source.weights.training} training")
            rows.setdefault(source.network.spec.title, []).extend(panels)
            measured.append(parts_record(moved, source, made, task=task, seed=seed))
    draw_heat(list(rows.items()), out, attack=f"{attack} {eps:g}")
    typer.echo("mean displacement over that of the whole body [95 % interval over pairs]")
    for line in parts_table(measured):
        typer.echo(line)
    for record in measured if parts is not None else ():
        assert parts is not None
        typer.echo(str(write_parts(parts, record)))
    typer.echo(str(out))


@app.command(
    epilog="Example:\n\n- posebench plot grid --victim npt --victim gct --eps 0.02 --out grid.png"
)
@when_memory_runs_out("a smaller --size")
def grid(
    victim: options.Victims,
    attack: Annotated[str, typer.Option(help="Attack on the pose source.")] = "fgm",
    eps: Annotated[float, typer.Option(help="Budget, metres RMS per coordinate.")] = 0.08,
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    sample: Annotated[int, typer.Option(help="Number of the test pair.")] = 0,
    size: Annotated[str, typer.Option(help="compact, small, paper or tiny.")] = "compact",
    out: Out = Path("grid.png"),
) -> None:
    """One sample: pose, attacked pose, identity, truth, and the results, coloured by error."""
    from posebench.benchmark.reports.sample_picture import draw_picture

    draw_picture(victim, attack, eps, task=task, sample=sample, size=size, out=out)
    typer.echo(str(out))
