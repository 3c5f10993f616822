"""``posebench check``: the reliability checks on a victim's weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli import options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = """
Examples:

- posebench check --victim npt

- posebench check --victim npt --threat point-2cm

- posebench check --victim gct --weights runs/gct/weights.safetensors --defense sor --samples 8
"""

AnyWeights = Annotated[
    Path | None, typer.Option(help="Weights file; default: all shipped of this victim.")
]
Samples = Annotated[int, typer.Option(help="Test pairs, at least 2.")]


@when_memory_runs_out("fewer --samples, a smaller --size or --device cpu")
def check(
    victim: options.Victim,
    weights: AnyWeights = None,
    eps: options.Eps = 0.08,
    norm: options.Norm = "l2",
    threat: options.Threat = None,
    defense: options.Defense = "none",
    surrogate: options.Surrogate = None,
    task: options.Task = "anny/seen",
    data: options.DataFolder = None,
    pairs: own.Pairs = None,
    samples: Samples = 4,
    iterations: Annotated[int, typer.Option(help="Gradient steps of APGD and PGD.")] = 50,
    size: options.Size = "compact",
    regime: options.Regime = "protocol",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for the findings as JSON.")] = None,
) -> None:
    """Ask whether a victim's robustness numbers can be believed.

    Exit code 1 if a flag is raised.

    Some 2,000 to 4,500 gradients and 600 forwards a pair: minutes for four pairs on a CPU.
    """
    from posebench.benchmark.checks.run import CheckSettings, check_weights
    from posebench.benchmark.evaluation.settings import EvaluationSettings

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    if pairs is not None:
        task = own.named_task(pairs, task, samples, {}).task
    asked = EvaluationSettings(
        victim=victim,
        weights=weights,
        eps=(eps,),
        norm=None if threat is not None and norm == "l2" else norm,
        threat=threat,
        defense=defense,
        surrogate=surrogate,
        task=task,
        samples=samples,
        iterations=iterations,
        size=size,
        regime=regime,
        seed=seed,
    )
    with progress_bar("checks", quiet=False) as bar:
        raised = check_weights(CheckSettings(asked, device, out), bar)
    if raised:
        raise typer.Exit(1)
