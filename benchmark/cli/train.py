"""``posebench train``: its options, and what does not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = """
Examples:

- posebench train --victim npt --size compact

- posebench train --victim gct --adversarial fgm --eps 0.08 --start shipped

- posebench train --victim npt --adversarial fgm --sor --clean-share 0      (the paper's recipe)

- posebench train --recipe table2 --budget 25m

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
    adversarial: Annotated[
        str | None, typer.Option(help="Attack to train against in the last part: fgm, pgd, noise.")
    ] = None,
    eps: Annotated[
        float | None, typer.Option(help="Its budget, metres RMS per coordinate; default 0.08.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Gradient steps of an iterative attack.")
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
    regime: Annotated[
        str | None,
        typer.Option(
            help="'protocol' (default): the paper's pairs; 'open': people and poses drawn anew."
        ),
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
    from posebench.benchmark.training.recipe import (
        SHIPPED,
        adversarial_part,
        read_recipes,
        recipe_for,
    )
    from posebench.benchmark.training.run import TrainOptions, train_one, train_runs
    from posebench.benchmark.training.time_budget import seconds_of
    from posebench.errors import InputError
    from posebench.victims.weights import shipped_path

    limit = None if budget is None else seconds_of(budget)
    options = TrainOptions(device, threads, compiled, recompute, limit)
    if (victim is None) == (recipe is None):
        raise InputError("name either a --victim or a --recipe")
    attack_options: dict[str, Any] = {
        "eps": eps,
        "iterations": iterations,
        "clean_share": clean_share,
        "sor": sor or None,
        "schedule": eps_schedule,
        "random_start": random_start,
    }
    given = {key: value for key, value in attack_options.items() if value is not None}
    what = {**given, "start": start}
    if recipe is not None:
        whole = whole_meshes or None
        what |= {"adversarial": adversarial, "steps": steps, "whole_meshes": whole}
        what["regime"] = regime
        refuse_given(what, "--recipe, which says what to train")
        common = {k: v for k, v in {"size": size, "seed": seed}.items() if v is not None}
        runs = read_recipes(recipe, **common)
        with progress_bar("steps", quiet=False) as bar:
            train_runs(runs, out or Path("runs"), options, bar)
        return
    assert victim is not None
    size, seed = size or "compact", seed or 0
    part = None
    if adversarial is not None:
        part = adversarial_part(victim, attack=adversarial, **given)
    else:
        refuse_given(what, "training without --adversarial")
    changes = {} if regime is None else {"regime": regime}
    made = recipe_for(
        victim,
        size=size,
        steps=steps,
        whole_meshes=whole_meshes,
        adversarial=part,
        seed=seed,
        **changes,
    )
    name = f"{victim}-{size}" + (f"-{adversarial}" if adversarial else "")
    name += f"-{regime}" if made.regime != "protocol" else ""
    folder = out or Path("runs") / (name + (f"-seed{seed}" if seed else ""))
    from_file = None
    if start is not None:
        from_file = shipped_path(victim, size) if start == SHIPPED else Path(start)
    with progress_bar("steps", quiet=False) as bar:
        train_one(made, folder, from_file, options, bar)


def refuse_given(options: dict[str, Any], what: str) -> None:
    """Raise InputError if one of these options was given: it would be ignored."""
    from posebench.errors import InputError

    for name, value in options.items():
        if value is not None:
            option = "eps-schedule" if name == "schedule" else name.replace("_", "-")
            raise InputError(f"--{option} does not go with {what}")
