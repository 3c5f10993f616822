"""Options that several commands share: one name, one help line, one completion each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from posebench.attacks import ATTACKS
from posebench.benchmark.data.names import TASK_LINES
from posebench.defenses import DEFENSES
from posebench.registry import Registry
from posebench.victims import SIZES, VICTIMS


def names(known: Mapping[str, str]) -> Callable[[str], list[tuple[str, str]]]:
    """A completion: the names that begin as typed, each with its line."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(name, line) for name, line in known.items() if name.startswith(incomplete)]

    return complete


def entries(registry: Registry[Any], *more: str) -> Callable[[str], list[tuple[str, str]]]:
    """The same of a registry, with plug-ins, and of names beside it."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        lines = {name: registry.about.get(name, "") for name in (*registry, *more)}
        return names(lines)(incomplete)

    return complete


def words(*known: str) -> Callable[[str], list[tuple[str, str]]]:
    """The same of words that say enough themselves."""
    return names(dict.fromkeys(known, ""))


DETAIL = "The attack in detail"
GUARD = "Defence and access"
COMPUTATION = "Computation"
RESULTS = "Data and results"
"""Panels of help pages; what a first call needs stays outside of them."""

# ---- what is attacked

Victim = Annotated[
    str, typer.Option(help="Network; see 'posebench list'.", autocompletion=entries(VICTIMS))
]
Victims = Annotated[
    list[str], typer.Option(help="Victims, one row each.", autocompletion=entries(VICTIMS))
]
SomeVictims = Annotated[
    list[str] | None, typer.Option(help="Victims; default: all.", autocompletion=entries(VICTIMS))
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Weights file, ours or a released one; default: shipped."),
]
Size = Annotated[
    str, typer.Option(help="compact, small, wide, paper or tiny.", autocompletion=words(*SIZES))
]
Regime = Annotated[
    str,
    typer.Option(
        help="Of shipped weights: protocol (the paper's pairs) or open (any people and poses).",
        autocompletion=words("protocol", "open"),
    ),
]
Task = Annotated[
    str,
    typer.Option(help="Dataset and split; see 'posebench list'.", autocompletion=names(TASK_LINES)),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        envvar="POSEBENCH_DATA",
        help="Folder of licensed data; anny's tasks need none.",
        rich_help_panel=RESULTS,
    ),
]
Samples = Annotated[int, typer.Option(help="Test pairs.")]

# ---- the attack and the defence

Attack = Annotated[
    str, typer.Option(help="Attack on the pose source.", autocompletion=entries(ATTACKS))
]
Eps = Annotated[float, typer.Option(help="Budget, metres RMS per coordinate.")]
EpsUnit = Annotated[
    str,
    typer.Option(
        help="What --eps counts:\n\n- rms: metres RMS per coordinate\n- total: the L2 radius\n"
        "- release: the released code's eps * sqrt(3 * 1024)",
        autocompletion=words("rms", "total", "release"),
        rich_help_panel=DETAIL,
    ),
]
Norm = Annotated[
    str,
    typer.Option(
        help="l2, linf or l2_vertex.",
        autocompletion=words("l2", "linf", "l2_vertex"),
        rich_help_panel=DETAIL,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        help="What the attack maximises; default: its own.\n\n- pmd\n- aligned: PMD after the best "
        "translation\n- mse, log_mse, pt",
        autocompletion=words("pmd", "aligned", "mse", "log_mse", "pt"),
        rich_help_panel=DETAIL,
    ),
]
Threat = Annotated[
    str | None,
    typer.Option(
        help="Threat model instead of --eps, --norm and --objective: point-2cm, point-5cm, "
        "paper-l2-0.08, sparse or smooth.",
        autocompletion=words("point-2cm", "point-5cm", "paper-l2-0.08", "sparse", "smooth"),
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(help="Gradient steps of an iterative attack.", rich_help_panel=DETAIL),
]
Defense = Annotated[
    str,
    typer.Option(
        help="Defence in front of the victim, or 'none'.",
        autocompletion=entries(DEFENSES, "none"),
        rich_help_panel=GUARD,
    ),
]
Surrogate = Annotated[
    str | None,
    typer.Option(
        help="Victim that a transfer attack is made on, with its shipped clean weights.\n\n"
        "Default for attack 'transfer': gct; for gct itself npt.",
        autocompletion=entries(VICTIMS),
        rich_help_panel=GUARD,
    ),
]

# ---- how it is computed, and where results go

BatchSize = Annotated[
    int,
    typer.Option(help="Pairs at once; does not change results.", rich_help_panel=COMPUTATION),
]
Precision = Annotated[
    str,
    typer.Option(
        help="Of what attacks see; bf16 is for large studies, and no table shows it.",
        autocompletion=words("float32", "bf16"),
        rich_help_panel=COMPUTATION,
    ),
]
Seed = Annotated[
    int,
    typer.Option(help="Of attacks, noise and defences.", rich_help_panel=COMPUTATION),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, ...",
        autocompletion=words("auto", "cpu", "cuda"),
        rich_help_panel=COMPUTATION,
    ),
]
OutFolder = Annotated[
    Path, typer.Option(help="Folder for the JSON records.", rich_help_panel=RESULTS)
]
Records = Annotated[Path, typer.Option(help="Folder with records.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
