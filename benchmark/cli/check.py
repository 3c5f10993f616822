"""``posebench check``: the reliability checks on a victim's weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = """
Examples:

- posebench check --victim npt

- posebench check --victim gct --weights runs/gct/weights.safetensors --defense sor --samples 8
"""


def check(
    victim: Annotated[str, typer.Option(help="Victim; see 'posebench list'.")],
    weights: Annotated[
        Path | None, typer.Option(help="Weights file; default: all shipped of this victim.")
    ] = None,
    eps: Annotated[float, typer.Option(help="Budget, metres RMS per coordinate.")] = 0.08,
    norm: Annotated[str, typer.Option(help="l2, linf or l2_vertex.")] = "l2",
    defense: Annotated[
        str, typer.Option(help="Defence in front of the victim, or 'none'.")
    ] = "none",
    surrogate: Annotated[
        str | None,
        typer.Option(help="Victim for transfer attacks; default gct, for gct itself npt."),
    ] = None,
    task: Annotated[str, typer.Option(help="Dataset and split.")] = "anny/seen",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="POSEBENCH_DATA", help="Folder of licensed data, for tasks other than anny's."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Test pairs, at least 2.")] = 4,
    iterations: Annotated[int, typer.Option(help="Gradient steps of APGD and PGD.")] = 50,
    size: Annotated[str, typer.Option(help="compact, paper or tiny.")] = "compact",
    seed: Annotated[int, typer.Option(help="Of attacks, noise and defences.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for the findings as JSON.")] = None,
) -> None:
    """Ask whether a victim's robustness numbers can be believed; exit code 1 if a flag is raised.

    About 800 gradients and 300 forwards a pair: minutes for four pairs on a CPU.
    """
    from posebench.benchmark.checks.run import CheckSettings, check_weights
    from posebench.benchmark.evaluation.settings import EvaluationSettings

    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    asked = EvaluationSettings(
        victim=victim,
        weights=weights,
        eps=(eps,),
        norm=norm,
        iterations=iterations,
        defense=defense,
        surrogate=surrogate,
        task=task,
        samples=samples,
        size=size,
        seed=seed,
    )
    with progress_bar("checks", quiet=False) as bar:
        raised = check_weights(CheckSettings(asked, device, out), bar)
    if raised:
        raise typer.Exit(1)
