"""Options of ``posebench train``, in the panels of its help page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli.options import COMPUTATION

BATCHES = "Batches and rates"
ADVERSARIAL = "Adversarial training"
"""Panels of the help page."""

Victim = Annotated[str | None, typer.Option(help="Victim to train; see 'posebench list'.")]
Recipe = Annotated[
    str | None, typer.Option(help="Many runs: 'table2' or a TOML file, instead of --victim.")
]
Size = Annotated[str | None, typer.Option(help="compact (default), small, wide, paper or tiny.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps; default: the recipe's.")]
Seed = Annotated[int | None, typer.Option(help="Of initial weights and sampling; default 0.")]
Regime = Annotated[
    str | None,
    typer.Option(
        help="What it is trained on:\n\n- protocol (default): the paper's pairs\n"
        "- open: people and poses drawn anew"
    ),
]
FreshPoses = Annotated[
    float | None,
    typer.Option(
        help="Of the protocol: share of pairs in new poses, drawn as its 400 were; "
        "default 0, with --threat 0.5."
    ),
]
Budget = Annotated[str | None, typer.Option(help="Time for everything, such as 90s, 25m or 2h.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; of all runs with --recipe.")]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Pairs a step; default 16, 8 for size small and DT. Rates and steps that are not "
        "given follow it.",
        rich_help_panel=BATCHES,
    ),
]
Points = Annotated[
    int | None,
    typer.Option(help="Points of identity and target that a step sees.", rich_help_panel=BATCHES),
]
PosePoints = Annotated[
    int | None,
    typer.Option(help="Points of the pose source that a step sees.", rich_help_panel=BATCHES),
]
Rate = Annotated[
    float | None,
    typer.Option(help="Peak rate of Adam, for all but matrices.", rich_help_panel=BATCHES),
]
MatrixRate = Annotated[
    float | None,
    typer.Option(help="Peak rate of Muon, for matrices.", rich_help_panel=BATCHES),
]
WholeMeshes = Annotated[
    bool,
    typer.Option(
        "--whole-meshes",
        help="Published form: whole meshes with edge loss; far slower.",
        rich_help_panel=BATCHES,
    ),
]
Adversarial = Annotated[
    str | None,
    typer.Option(
        help="Attack to train against in the last part: fgm, pgd, noise.\n\n"
        "With --threat: n-fgm (default), pgd or vertex-adam.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Threat = Annotated[
    str | None,
    typer.Option(
        help="Threat model to train against: point-2cm or point-5cm.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Eps = Annotated[
    float | None,
    typer.Option(
        help="Budget, metres RMS per coordinate; default 0.08.", rich_help_panel=ADVERSARIAL
    ),
]
EpsLow = Annotated[
    float | None,
    typer.Option(
        help="With --threat: smallest cap of a row; default a fifth.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(help="Gradient steps of an iterative attack.", rich_help_panel=ADVERSARIAL),
]
CleanShare = Annotated[
    float | None,
    typer.Option(
        help="Share of each batch that stays clean; default 0.5, in the paper and with --threat 0.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Sor = Annotated[
    bool,
    typer.Option(
        "--sor",
        help="Clean attacked poses with SOR, as the paper does.",
        rich_help_panel=ADVERSARIAL,
    ),
]
EpsSchedule = Annotated[
    str | None,
    typer.Option(help="constant (default), ramp or spread.", rich_help_panel=ADVERSARIAL),
]
RandomStart = Annotated[
    float | None,
    typer.Option(
        help="Gaussian start, as a share of the budget; default 0.", rich_help_panel=ADVERSARIAL
    ),
]
Consistency = Annotated[
    float | None,
    typer.Option(
        help="Weight of attacked against clean outputs (TRADES); default: plain error.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Mixed = Annotated[
    bool,
    typer.Option(
        "--mixed",
        help="With --threat: smooth fields and few points anywhere, too, on half of the rows.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Awp = Annotated[
    float | None,
    typer.Option(
        help="Attack the weights, too, by so much of each layer's size (AWP); such as 0.005.",
        rich_help_panel=ADVERSARIAL,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="Weights to go on from: a file, 'shipped', 'shipped-adversarial' or 'shipped:NAME'."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...", rich_help_panel=COMPUTATION)]
Threads = Annotated[
    int,
    typer.Option(help="CPU threads; 0 leaves torch's choice.", rich_help_panel=COMPUTATION),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="torch.compile the network; a minute first, then faster.",
        rich_help_panel=COMPUTATION,
    ),
]
Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute",
        help="Gradient checkpointing (gct): less memory, more time.",
        rich_help_panel=COMPUTATION,
    ),
]
