"""``posebench train``: its options, and what does not go together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.benchmark.cli import train_options
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

- posebench train --victim npt --threat point-5cm --awp 0.005 --start shipped

- posebench train --victim npt --regime open --start shipped

- posebench train --recipe accelerator --budget 25m

- torchrun --nproc-per-node 2 -m posebench.benchmark.cli.app train --victim npt
"""


def train(
    victim: train_options.Victim = None,
    recipe: train_options.Recipe = None,
    size: train_options.Size = None,
    steps: train_options.Steps = None,
    seed: train_options.Seed = None,
    batch: train_options.Batch = None,
    points: train_options.Points = None,
    pose_points: train_options.PosePoints = None,
    rate: train_options.Rate = None,
    matrix_rate: train_options.MatrixRate = None,
    adversarial: train_options.Adversarial = None,
    threat: train_options.Threat = None,
    eps: train_options.Eps = None,
    eps_low: train_options.EpsLow = None,
    iterations: train_options.Iterations = None,
    regime: train_options.Regime = None,
    fresh_poses: train_options.FreshPoses = None,
    clean_share: train_options.CleanShare = None,
    sor: train_options.Sor = False,
    eps_schedule: train_options.EpsSchedule = None,
    random_start: train_options.RandomStart = None,
    consistency: train_options.Consistency = None,
    mixed: train_options.Mixed = False,
    awp: train_options.Awp = None,
    start: train_options.Start = None,
    budget: train_options.Budget = None,
    device: train_options.Device = "auto",
    threads: train_options.Threads = 0,
    whole_meshes: train_options.WholeMeshes = False,
    compiled: train_options.Compiled = False,
    recompute: train_options.Recompute = False,
    out: train_options.Out = None,
) -> None:
    """Train a victim.

    Stop and start again at any time: it goes on where it was.
    """
    began = time.monotonic()  # loading torch is part of a budget
    from posebench.benchmark.training.run import TrainOptions
    from posebench.benchmark.training.time_budget import seconds_of

    signals = StopSignals()
    limit = None if budget is None else seconds_of(budget) - (time.monotonic() - began)
    options = TrainOptions(device, threads, compiled, recompute, limit, deferred=signals.deferred)
    attack: Options = {
        "threat": threat, "eps": eps, "eps_low": eps_low, "iterations": iterations,
        "clean_share": clean_share, "sor": sor or None, "schedule": eps_schedule,
        "random_start": random_start, "consistency": consistency, "mixed": mixed or None,
        "awp": awp,
    }  # fmt: skip
    changes: Options = {
        "batch": batch, "points": points, "pose_points": pose_points, "steps": steps,
        "rate": rate, "matrix_rate": matrix_rate, "regime": regime,
        "whole_meshes": whole_meshes or None, "fresh_poses": fresh_poses,
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
    from posebench.benchmark.training.recipe_file import shipped_start
    from posebench.benchmark.training.run import train_one

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
        from_file = shipped_start(start, victim, made.size) or Path(start)
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
