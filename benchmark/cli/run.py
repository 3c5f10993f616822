"""``posebench run``: one victim, one attack, one task."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from posebench.benchmark.cli import on_files, options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.paths import check_picture
from posebench.benchmark.cli.progress import progress_bar
from posebench.norms import Norm

if TYPE_CHECKING:
    from posebench.benchmark.runs.run import RunSettings

EXAMPLES = """
Examples:

- posebench run --victim gct --attack fgm --eps 0.08

- posebench run --victim npt --attack pt-ensemble --threat point-2cm

- posebench run --victim npt --attack fgm --eps 0.02 --defense sor --access adaptive

- posebench run --victim npt --attack pgd --eps 0:0.08:9 --plot curve.png

- posebench run --victim npt --weights my_npt.pth --task anny/unseen --json

- posebench run --victim npt-mp --task smpl-npt/unseen --data ~/data/smpl-npt

- posebench run --victim posemae --attack pgd --eps 0.02 --pairs mine/pairs.csv

- posebench run --victim npt-mp --pairs scans --pose-unit mm --pose-up -y --pose-crop floor,cluster
"""

ACCESS = {
    "oblivious": "the bare victim",
    "adaptive": "the victim with its defence",
    "straight-through": "the same, but its gradient skips the defence",
    "transfer": "a surrogate",
}

AttackOrNone = Annotated[
    str,
    typer.Option(
        help="Attack on the pose source, or 'none'.",
        autocompletion=options.entries(options.ATTACKS, "none"),
    ),
]
SweptEps = Annotated[
    str,
    typer.Option(help="Budget in metres, or low:high:count for a sweep, such as 0:0.16:9."),
]
AnyNorm = Annotated[
    str | None,
    typer.Option(
        help="How moves are measured:\n\n- l2 (default), linf, l2_vertex, smooth: --eps is a "
        "distance\n- drop, add, sparse: --eps is a share of points",
        autocompletion=options.words(*get_args(Norm)),
        rich_help_panel=options.DETAIL,
    ),
]
Access = Annotated[
    str | None,
    typer.Option(
        help="What the attack sees:\n\n" + "\n".join(f"- {k}: {v}" for k, v in ACCESS.items()),
        autocompletion=options.names(ACCESS),
        rich_help_panel=options.GUARD,
    ),
]
Vertices = Annotated[
    int | None,
    typer.Option(
        help="Of the embedded body: 6890, 3500, 1700 or 800 [default: the size's].",
        rich_help_panel=options.DETAIL,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        help="PNG or PDF of the curves over a swept eps.", rich_help_panel=options.RESULTS
    ),
]


@when_memory_runs_out("a smaller --batch-size, a smaller --size or --device cpu")
def run(
    victim: options.Victim,
    weights: options.Weights = None,
    attack: AttackOrNone = "fgm",
    eps: SweptEps = "0.08",
    iterations: options.Iterations = None,
    eps_unit: options.EpsUnit = "rms",
    norm: AnyNorm = None,
    objective: options.Objective = None,
    threat: options.Threat = None,
    defense: options.Defense = "none",
    access: Access = None,
    surrogate: options.Surrogate = None,
    task: options.Task = "anny/seen",
    data: options.DataFolder = None,
    pairs: own.Pairs = None,
    unit: on_files.Unit = "m",
    up: on_files.Up = None,
    turn: on_files.Turn = 0.0,
    pose_unit: on_files.PoseUnit = None,
    pose_up: on_files.PoseUp = None,
    pose_turn: on_files.PoseTurn = None,
    pose_crop: own.PoseCrop = None,
    crop_picture: own.CropPicture = None,
    points: on_files.Points = 6890,
    samples: own.Samples = None,
    batch_size: options.BatchSize = 8,
    size: options.Size = "compact",
    vertices: Vertices = None,
    regime: options.Regime = "protocol",
    seed: options.Seed = 0,
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    out: options.OutFolder = Path("runs"),
    plot: Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Attack a victim and print a table like the paper's Table 2.

    One record per cell is written, which every other table is made of.
    """
    from posebench.benchmark.evaluation.settings import EvaluationSettings, eps_values
    from posebench.benchmark.runs.run import RunSettings

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    stated = {
        "unit": unit, "up": up, "turn": turn, "pose_unit": pose_unit, "pose_up": pose_up,
        "pose_turn": pose_turn, "pose_crop": pose_crop, "points": points,
    }  # fmt: skip
    named = own.named_task(pairs, task, samples, stated, crop_picture)
    own.check_plot(plot, named)
    asked = EvaluationSettings(
        victim=victim, weights=weights, attack=attack, eps=eps_values(eps), iterations=iterations,
        eps_unit=eps_unit, norm=norm, objective=objective, threat=threat, defense=defense,
        access=access, surrogate=surrogate, task=named.task, samples=named.samples, size=size,
        vertices=vertices, regime=regime, seed=seed, precision=precision,
    )  # fmt: skip
    settings = RunSettings(asked, batch_size, device, out)
    run_and_show(settings, plot, as_json)


def run_and_show(settings: RunSettings, plot: Path | None, as_json: bool) -> None:
    """Run the cells, draw and print them.

    Raises:
        InputError: before the first forward, whatever is wrong with the settings or the plot.
    """
    from posebench.benchmark.cli.console import print_run
    from posebench.benchmark.records.form import record_to_json
    from posebench.benchmark.reports.curves import draw_curves
    from posebench.benchmark.runs.run import run_cells, sweeps_of
    from posebench.errors import InputError

    asked = settings.evaluation
    swept = len(asked.eps) > 1
    if swept and asked.attack == "none":
        raise InputError("a swept --eps needs an --attack: without one there is nothing to sweep")
    if plot is not None:
        if not swept:
            raise InputError("--plot needs a swept eps, such as --eps 0:0.16:9")
        check_picture(plot)
    with progress_bar("pairs", quiet=as_json) as bar:
        results = run_cells(settings, bar)
    if plot is not None:
        draw_curves(sweeps_of(results), plot)
    if as_json:
        forms = [record_to_json(result.record) for result in results]
        typer.echo(json.dumps(forms, allow_nan=False))
    else:
        print_run(results)
