"""``posebench train``: its options, and what does not go together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posebench.benchmark.cli.progress import progress_bar
from posebench.benchmark.cli.stopping import EXIT_CODE, StopSignals, this_command

if TYPE_CHECKING:
    from rich.progress import Progress

    from posebench.benchmark.training.run import TrainOptions

EXAMPLES = """
Examples:

- posebench train --victim npt --size compact

- posebench train --victim gct --adversarial fgm --eps 0.08 --start shipped

- posebench train --victim npt --adversarial fgm --sor --clean-share 0      (the paper's recipe)

- posebench train --victim npt --batch 64 --points 512 --pose-points 512    (for an accelerator)

- posebench train --recipe accelerator --budget 25m

- torchrun --nproc-per-node 2 -m posebench.benchmark.cli.app train --victim npt
"""


def train(
    victim: Annotated[
        str | None, typer.Option(help="Victim to train; see 'posebench list'.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Many runs: 'table2' or a TOML file, instead of --victim.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="compact (default), paper or tiny.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps; default: the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of initial weights and sampling; default 0.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Pairs a step; default 8. Where not given, rates follow it, and steps."),
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="Points of identity and target that a step sees.")
    ] = None,
    pose_points: Annotated[
        int | None, typer.Option(help="Points of the pose source that a step sees.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of Adam (all but matrices).")
    ] = None,
    matrix_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate of Muon (matrices).")
    ] = None,
    adversarial: Annotated[
        str | None, typer.Option(help="Attack to train against in the last part: fgm, pgd, noise.")
    ] = None,
    eps: Annotated[
        float | None, typer.Option(help="Its budget, metres RMS per coordinate; default 0.08.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Gradient steps of an iterative attack.")
    ] = None,
    regime: Annotated[
        str | None,
        typer.Option(
            help="'protocol' (default): the paper's pairs; 'open': people and poses drawn anew."
        ),
    ] = None,
    clean_share: Annotated[
        float | None,
        typer.Option(help="Share of each batch that stays clean; default 0.5, the paper has 0."),
    ] = None,
    sor: Annotated[
        bool, typer.Option("--sor", help="Clean the attacked poses with SOR, as the paper does.")
    ] = False,
    eps_schedule: Annotated[
        str | None, typer.Option(help="constant (default), ramp or spread.")
    ] = None,
    random_start: Annotated[
        float | None,
        typer.Option(help="Gaussian start of the attack, as a share of the budget; default 0."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Clean weights that take the clean part's place: a file, or 'shipped'."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for everything, such as 90s, 25m or 2h.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
    whole_meshes: Annotated[
        bool, typer.Option(help="Published form: whole meshes with edge loss; far slower.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="torch.compile the network; a minute first, then faster."),
    ] = False,
    recompute: Annotated[
        bool, typer.Option(help="Gradient checkpointing (gct): less memory, more time.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, of all runs with --recipe.")
    ] = None,
) -> None:
    """Train a victim; stop and start again at any time, it goes on where it was."""
    from posebench.benchmark.training.run import TrainOptions
    from posebench.benchmark.training.time_budget import seconds_of
    from posebench.errors import InputError

    signals = StopSignals()
    limit = None if budget is None else seconds_of(budget)
    options = TrainOptions(device, threads, compiled, recompute, limit, deferred=signals.deferred)
    if (victim is None) == (recipe is None):
        raise InputError("name either a --victim or a --recipe")
    attack: dict[str, Any] = {
        "eps": eps,
        "iterations": iterations,
        "clean_share": clean_share,
        "sor": sor or None,
        "schedule": eps_schedule,
        "random_start": random_start,
    }
    changes: dict[str, Any] = {
        "batch": batch,
        "points": points,
        "pose_points": pose_points,
        "rate": rate,
        "matrix_rate": matrix_rate,
        "steps": steps,
        "whole_meshes": whole_meshes or None,
        "regime": regime,
    }
    common = given({"size": size, "seed": seed})
    try:
        with signals.installed(), progress_bar("steps", quiet=False) as bar:
            if recipe is not None:
                refuse_given(
                    {**attack, **changes, "start": start, "adversarial": adversarial},
                    "--recipe, which says what to train",
                )
                train_file(recipe, common, out, options, bar)
            else:
                assert victim is not None
                part = None if adversarial is None else {"attack": adversarial, **given(attack)}
                if part is None:
                    refuse_given({**attack, "start": start}, "training without --adversarial")
                train_victim(victim, {**common, **given(changes)}, part, start, out, options, bar)
    except KeyboardInterrupt as stop:
        if os.environ.get("RANK", "0") == "0":
            where = f" ({stop})" if str(stop) else ""
            typer.echo(f"posebench: interrupted{where}; go on with: {this_command()}", err=True)
        raise typer.Exit(EXIT_CODE) from None


def train_file(
    recipe: str,
    common: dict[str, Any],
    out: Path | None,
    options: TrainOptions,
    bar: Progress,
) -> None:
    """All runs of a recipe file with common changes."""
    from posebench.benchmark.training.recipe_file import read_recipes
    from posebench.benchmark.training.run import train_runs

    train_runs(read_recipes(recipe, **common), out or Path("runs"), options, bar)


def train_victim(
    victim: str,
    changes: dict[str, Any],
    adversarial: dict[str, Any] | None,
    start: str | None,
    out: Path | None,
    options: TrainOptions,
    bar: Progress,
) -> None:
    """One run: the victim's default recipe with changes."""
    from posebench.benchmark.training.recipe import adversarial_part, recipe_for
    from posebench.benchmark.training.recipe_file import SHIPPED
    from posebench.benchmark.training.run import train_one
    from posebench.victims.weights import shipped_path

    part = None if adversarial is None else adversarial_part(victim, **adversarial)
    made = recipe_for(victim, adversarial=part, **changes)
    name = f"{victim}-{made.size}" + (f"-{adversarial['attack']}" if adversarial else "")
    name += f"-{made.regime}" if made.regime != "protocol" else ""
    folder = out or Path("runs") / (name + (f"-seed{made.seed}" if made.seed else ""))
    from_file = None
    if start is not None:
        from_file = shipped_path(victim, made.size) if start == SHIPPED else Path(start)
    train_one(made, folder, from_file, options, bar)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def refuse_given(options: dict[str, Any], what: str) -> None:
    """Raise InputError if one of these options was given: it would be ignored."""
    from posebench.errors import InputError

    for name, value in options.items():
        if value is not None:
            option = "eps-schedule" if name == "schedule" else name.replace("_", "-")
            raise InputError(f"--{option} does not go with {what}")
