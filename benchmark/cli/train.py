"""``posebench train``: its options, and what does not go together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posebench.benchmark.cli.failures import Stopped
from posebench.benchmark.cli.progress import progress_bar
from posebench.benchmark.cli.stopping import StopSignals, this_command

if TYPE_CHECKING:
    from rich.progress import Progress

    from posebench.benchmark.training.run import TrainOptions

Options = dict[str, Any]
"""Options by the names of the recipe's fields."""

EXAMPLES = """
Examples:

- posebench train --victim npt --size compact

- posebench train --victim gct --adversarial fgm --eps 0.08 --start shipped

- posebench train --victim npt --adversarial fgm --sor --clean-share 0      (the paper's recipe)

- posebench train --victim npt --batch 64 --points 512 --pose-points 512    (for an accelerator)

- posebench train --victim npt --threat point-5cm --start shipped

- posebench train --victim npt --regime open --start shipped

- posebench train --recipe accelerator --budget 25m

- torchrun --nproc-per-node 2 -m posebench.benchmark.cli.app train --victim npt
"""


Victim = Annotated[str | None, typer.Option(help="Victim to train; see 'posebench list'.")]
Recipe = Annotated[
    str | None, typer.Option(help="Many runs: 'table2' or a TOML file, instead of --victim.")
]
Size = Annotated[str | None, typer.Option(help="compact (default), paper or tiny.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps; default: the recipe's.")]
Seed = Annotated[int | None, typer.Option(help="Of initial weights and sampling; default 0.")]
Batch = Annotated[
    int | None,
    typer.Option(help="Pairs a step; default 8. Where not given, rates follow it, and steps."),
]
Points = Annotated[int | None, typer.Option(help="Points of identity and target that a step sees.")]
PosePoints = Annotated[int | None, typer.Option(help="Points of the pose source that a step sees.")]
Rate = Annotated[float | None, typer.Option(help="Peak learning rate of Adam (all but matrices).")]
MatrixRate = Annotated[float | None, typer.Option(help="Peak learning rate of Muon (matrices).")]
Adversarial = Annotated[
    str | None,
    typer.Option(
        help="Attack to train against in the last part: fgm, pgd, noise; with --threat "
        "pgd (default), vertex-adam or n-fgm."
    ),
]
Threat = Annotated[
    str | None, typer.Option(help="Threat model to train against: point-2cm or point-5cm.")
]
EpsLow = Annotated[
    float | None,
    typer.Option(help="With --threat: smallest cap that a row may draw; default a fifth."),
]
Consistency = Annotated[
    float | None,
    typer.Option(help="Weight of attacked against clean outputs (TRADES); default: plain error."),
]
Eps = Annotated[
    float | None, typer.Option(help="Its budget, metres RMS per coordinate; default 0.08.")
]
Iterations = Annotated[int | None, typer.Option(help="Gradient steps of an iterative attack.")]
Regime = Annotated[
    str | None,
    typer.Option(
        help="'protocol' (default): the paper's pairs; 'open': people and poses drawn anew."
    ),
]
CleanShare = Annotated[
    float | None,
    typer.Option(help="Share of each batch that stays clean; default 0.5, the paper has 0."),
]
Sor = Annotated[
    bool, typer.Option("--sor", help="Clean the attacked poses with SOR, as the paper does.")
]
EpsSchedule = Annotated[str | None, typer.Option(help="constant (default), ramp or spread.")]
RandomStart = Annotated[
    float | None,
    typer.Option(help="Gaussian start of the attack, as a share of the budget; default 0."),
]
Start = Annotated[
    str | None,
    typer.Option(help="Weights to go on from: a file, 'shipped' or 'shipped-adversarial'."),
]
Budget = Annotated[str | None, typer.Option(help="Time for everything, such as 90s, 25m or 2h.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")]
WholeMeshes = Annotated[
    bool, typer.Option(help="Published form: whole meshes with edge loss; far slower.")
]
Compiled = Annotated[
    bool,
    typer.Option("--compile", help="torch.compile the network; a minute first, then faster."),
]
Recompute = Annotated[
    bool, typer.Option(help="Gradient checkpointing (gct): less memory, more time.")
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run, of all runs with --recipe.")]


def train(
    victim: Victim = None,
    recipe: Recipe = None,
    size: Size = None,
    steps: Steps = None,
    seed: Seed = None,
    batch: Batch = None,
    points: Points = None,
    pose_points: PosePoints = None,
    rate: Rate = None,
    matrix_rate: MatrixRate = None,
    adversarial: Adversarial = None,
    threat: Threat = None,
    eps: Eps = None,
    eps_low: EpsLow = None,
    iterations: Iterations = None,
    regime: Regime = None,
    clean_share: CleanShare = None,
    sor: Sor = False,
    eps_schedule: EpsSchedule = None,
    random_start: RandomStart = None,
    consistency: Consistency = None,
    start: Start = None,
    budget: Budget = None,
    device: Device = "auto",
    threads: Threads = 0,
    whole_meshes: WholeMeshes = False,
    compiled: Compiled = False,
    recompute: Recompute = False,
    out: Out = None,
) -> None:
    """Train a victim; stop and start again at any time, it goes on where it was."""
    began = time.monotonic()  # loading torch is part of a budget
    from posebench.benchmark.training.run import TrainOptions
    from posebench.benchmark.training.time_budget import seconds_of

    signals = StopSignals()
    limit = None if budget is None else seconds_of(budget) - (time.monotonic() - began)
    options = TrainOptions(device, threads, compiled, recompute, limit, deferred=signals.deferred)
    attack: Options = {
        "threat": threat, "eps": eps, "eps_low": eps_low, "iterations": iterations,
        "clean_share": clean_share, "sor": sor or None, "schedule": eps_schedule,
        "random_start": random_start, "consistency": consistency,
    }  # fmt: skip
    changes: Options = {
        "batch": batch, "points": points, "pose_points": pose_points, "steps": steps,
        "rate": rate, "matrix_rate": matrix_rate, "regime": regime,
        "whole_meshes": whole_meshes or None,
    }  # fmt: skip
    common = given({"size": size, "seed": seed})
    asked = Asked(victim, recipe, common, attack, changes, adversarial, start, out)
    with interruptible(signals), progress_bar("steps", quiet=False) as bar:
        train_asked(asked, options, bar)


@dataclass(frozen=True)
class Asked:
    """What the options say to train; None where they say nothing."""

    victim: str | None
    recipe: str | None
    common: Options
    attack: Options
    changes: Options
    adversarial: str | None
    start: str | None
    out: Path | None


@contextmanager
def interruptible(signals: StopSignals) -> Iterator[None]:
    """Ctrl-C ends in one line that says how to go on."""
    with signals.installed():
        try:
            yield
        except KeyboardInterrupt as stop:
            where = f" ({stop})" if str(stop) else ""
            words = f"interrupted{where}; go on with: {this_command()}"
            raise Stopped(words if os.environ.get("RANK", "0") == "0" else "") from None


def train_asked(asked: Asked, options: TrainOptions, bar: Progress) -> None:
    """Train all runs of a recipe file, or one victim.

    Raises:
        InputError: nothing or two things to train, or an option that what is trained does not heed.
    """
    from posebench.errors import InputError

    if (asked.victim is None) == (asked.recipe is None):
        raise InputError("name either a --victim or a --recipe")
    if asked.recipe is not None:
        refuse_given(
            {
                **asked.attack,
                **asked.changes,
                "start": asked.start,
                "adversarial": asked.adversarial,
            },
            "--recipe, which says what to train",
        )
        train_file(asked.recipe, asked.common, asked.out, options, bar)
        return
    part = None
    if asked.adversarial is not None or asked.attack["threat"] is not None:
        part = given({"attack": asked.adversarial, **asked.attack})
    else:
        refuse_given(asked.attack, "training without --adversarial or --threat")
    train_victim(asked, part, options, bar)


def train_file(
    recipe: str,
    common: Options,
    out: Path | None,
    options: TrainOptions,
    bar: Progress,
) -> None:
    """All runs of a recipe file with common changes."""
    from posebench.benchmark.training.recipe_file import read_recipes
    from posebench.benchmark.training.run import train_runs

    train_runs(read_recipes(recipe, **common), out or Path("runs"), options, bar)


def train_victim(
    asked: Asked, adversarial: Options | None, options: TrainOptions, bar: Progress
) -> None:
    """One run: the victim's default recipe with changes."""
    from posebench.benchmark.training.recipe import adversarial_part, recipe_for
    from posebench.benchmark.training.recipe_file import SHIPPED_TRAININGS
    from posebench.benchmark.training.run import train_one
    from posebench.victims.weights import shipped_path

    victim, start = asked.victim, asked.start
    assert victim is not None
    part = None if adversarial is None else adversarial_part(victim, **adversarial)
    made = recipe_for(victim, adversarial=part, **asked.common, **given(asked.changes))
    name = f"{victim}-{made.size}"
    if part is not None:
        name += f"-{part.threat or part.attack}"
    name += f"-{made.regime}" if made.regime != "protocol" else ""
    folder = asked.out or Path("runs") / (name + (f"-seed{made.seed}" if made.seed else ""))
    from_file = None
    if start is not None:
        from_file = Path(start)
    if start in SHIPPED_TRAININGS:
        from_file = shipped_path(victim, made.size, training=SHIPPED_TRAININGS[start])
    train_one(made, folder, from_file, options, bar)


def given(options: Options) -> Options:
    """Those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def refuse_given(options: Options, what: str) -> None:
    """Raise InputError if one of these options was given: it would be ignored."""
    from posebench.errors import InputError

    for name, value in options.items():
        if value is not None:
            option = "eps-schedule" if name == "schedule" else name.replace("_", "-")
            raise InputError(f"--{option} does not go with {what}")
