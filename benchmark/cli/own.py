"""``--pairs``: pairs of the user's own files, for every command that takes a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posebench.benchmark.cli import on_files, options
from posebench.benchmark.cli.paths import PICTURES, check_results
from posebench.benchmark.data.names import USUAL_SAMPLES

if TYPE_CHECKING:
    from posebench.benchmark.data.own_pairs import OwnPairs

TASK = "own/pairs"
USUAL_TASK = "anny/seen"

SHOWN_NOTES = 10

Pairs = Annotated[
    Path | None,
    typer.Option(
        help="Your own pairs in the place of --task: a CSV with columns pose, identity and, if "
        "known, target; or a folder with a folder for each pair (docs/own-data.md).",
        rich_help_panel=options.RESULTS,
    ),
]
Samples = Annotated[
    int | None, typer.Option(help=f"Test pairs; default {USUAL_SAMPLES}, of --pairs all of them.")
]
PoseCrop = Annotated[
    str | None,
    typer.Option(
        help="What to cut off the pose source, in this order: floor, cluster (all but the "
        "largest), box:X0:X1:Y0:Y1:Z0:Z1 in metres; such as 'floor,cluster'.",
        rich_help_panel=on_files.FRAMES,
    ),
]
CropPicture = Annotated[
    Path | None,
    typer.Option(
        help="PNG or PDF of what --pose-crop cut off, and what is left.",
        rich_help_panel=on_files.FRAMES,
    ),
]


@dataclass(frozen=True)
class Named:
    """A task and how many of its pairs; whether their right answers are known."""

    task: str
    samples: int
    truth: bool = True


def named_task(
    pairs: Path | None,
    task: str,
    samples: int | None,
    stated: Mapping[str, Any],
    picture: Path | None = None,
) -> Named:
    """The task that ``--pairs`` or ``--task`` names; own pairs are read and what is odd is said.

    ``stated`` are options about the files, by their names in ``OwnFiles``.

    Raises:
        InputError: both are named, options that need ``--pairs``, or files that cannot be used.
    """
    from posebench.errors import InputError

    if pairs is None:
        given = [name for name, value in stated.items() if value != USUAL[name]]
        given += ["crop_picture"] if picture is not None else []
        if given and task != TASK:
            raise InputError(f"--{given[0].replace('_', '-')} needs --pairs")
        return Named(task, USUAL_SAMPLES if samples is None else samples)
    if task not in (USUAL_TASK, TASK):
        raise InputError("--pairs and --task: name one of them")
    found = use_pairs(pairs, stated, picture)
    return Named(TASK, len(found) if samples is None else samples, found.truth)


USUAL: dict[str, object] = {
    "unit": "m",
    "up": None,
    "turn": 0.0,
    "pose_unit": None,
    "pose_up": None,
    "pose_turn": None,
    "pose_crop": None,
    "points": 6890,
}
"""Options about the files as they are where nobody states them."""


def use_pairs(
    pairs: Path, stated: Mapping[str, Any] | None = None, picture: Path | None = None
) -> OwnPairs:
    """Read own pairs, make them this process's ``own/pairs``, and say what is odd about them."""
    from posebench.benchmark.data.own import name_files
    from posebench.benchmark.data.own_files import OwnFiles, opened

    check_results([(picture, PICTURES)])
    files = OwnFiles(str(pairs), **(stated or {}))
    found = opened(files)
    name_files(files)
    show_notes(found.pairs)
    if picture is not None:
        draw_crops(found.cuts, picture)
    return found.pairs


def check_plot(plot: Path | None, named: Named) -> None:
    """Raise InputError for curves of an error that nobody can know."""
    from posebench.errors import InputError

    if plot is not None and not named.truth:
        raise InputError("--plot draws PMD over eps, which needs targets, and --pairs have none")


def draw_crops(cuts: Any, picture: Path | None) -> None:
    """The picture of crops, if one is wanted.

    Raises:
        InputError: nothing was cropped.
    """
    from posebench.benchmark.reports.crop_picture import draw_cuts
    from posebench.errors import InputError

    if picture is None:
        return
    if not cuts:
        raise InputError("--crop-picture needs a --pose-crop")
    draw_cuts(cuts, picture)


def show_notes(pairs: OwnPairs) -> None:
    """What the pairs are and what is odd about them, on stderr."""
    counts = sorted({len(pair.identity) for pair in pairs.pairs})
    sizes = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    known = "with targets" if pairs.truth else "without targets, so no error is measured"
    typer.echo(
        f"{pairs.name}: {len(pairs)} pairs, identities of {sizes} vertices, {known}", err=True
    )
    for note in pairs.notes[:SHOWN_NOTES]:
        typer.echo(f"posebench: note: {note}", err=True)
    if len(pairs.notes) > SHOWN_NOTES:
        typer.echo(f"posebench: note: and {len(pairs.notes) - SHOWN_NOTES} more notes", err=True)
