"""What ``posebench transfer`` and ``posebench attack`` share: anybody's meshes and scans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options

if TYPE_CHECKING:
    from posebench.benchmark.retarget.facts import Facts, Fit
    from posebench.victims import PoseTransferNetwork

DEFAULT_VICTIM = "ffptnet"
"""The network whose weights of the open regime are shipped; docs/meshes.md."""

OUT_OF_MEMORY = "fewer --points, a smaller --identity mesh or --device cpu"

FRAMES = "Units and axes"
"""A panel of help pages."""

Pose = Annotated[
    Path,
    typer.Option(
        help="What to take the pose from: mesh, cloud or scan; obj, ply, off, stl, glb, npz, npy, "
        "xyz, pcd."
    ),
]
Identity = Annotated[Path, typer.Option(help="Mesh to be posed, in the same formats.")]
Training = Annotated[
    bool | None,
    typer.Option(
        "--adversarial/--clean",
        help="Which shipped weights of the protocol; default: those for anybody's bodies.",
    ),
]
Regime = Annotated[
    str | None,
    typer.Option(
        help="Of shipped weights: 'open' (default, where shipped), any people and poses, or "
        "'protocol', the paper's.",
        autocompletion=options.words("open", "protocol"),
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Of shipped weights: compact (default), small, ...",
        autocompletion=options.words(*options.SIZES),
    ),
]
UNITS = options.words("m", "dm", "cm", "mm")
AXES = options.words("x", "y", "z", "-x", "-y", "-z")
Unit = Annotated[
    str,
    typer.Option(
        help="Of both files: m, dm, cm, mm, or metres per unit.",
        autocompletion=UNITS,
        rich_help_panel=FRAMES,
    ),
]
Up = Annotated[
    str | None,
    typer.Option(
        help="Up axis of both files: x, y, z, -x, -y or -z; default y.",
        autocompletion=AXES,
        rich_help_panel=FRAMES,
    ),
]
Turn = Annotated[
    float,
    typer.Option(
        help="Degrees to turn both bodies to their left, until they face z.",
        rich_help_panel=FRAMES,
    ),
]
PoseUnit = Annotated[
    str | None,
    typer.Option(
        help="Unit of the pose source alone.", autocompletion=UNITS, rich_help_panel=FRAMES
    ),
]
PoseUp = Annotated[
    str | None,
    typer.Option(
        help="Up axis of the pose source alone.", autocompletion=AXES, rich_help_panel=FRAMES
    ),
]
PoseTurn = Annotated[
    float | None, typer.Option(help="Turn of the pose source alone.", rich_help_panel=FRAMES)
]
Points = Annotated[
    int,
    typer.Option(
        help="Points of the pose source that the network sees.",
        rich_help_panel=options.COMPUTATION,
    ),
]
Picture = Annotated[Path | None, typer.Option(help="PNG or PDF of what went in and came out.")]


@dataclass(frozen=True)
class Loaded:
    """A network, what it is called, and the file that its weights came from."""

    network: PoseTransferNetwork
    label: str
    weights: Path


def load_network(
    victim: str,
    weights: Path | None,
    adversarial: bool | None,
    size: str | None,
    regime: str | None,
) -> Loaded:
    """The network; unless others are asked for, with weights of the open regime where they are
    shipped."""
    from posebench.benchmark.evaluation.sources import with_source
    from posebench.errors import InputError
    from posebench.registry import unknown
    from posebench.victims import SIZES, load_network
    from posebench.victims.weights import shipped_path

    if weights is not None and any(given is not None for given in (adversarial, size, regime)):
        raise InputError(
            "--adversarial, --clean, --size and --regime choose shipped weights, not --weights"
        )
    if size is not None and size not in SIZES:
        raise unknown("size", size, SIZES)
    size = size or "compact"
    training = "clean" if adversarial is False else "adversarial"
    if weights is None and adversarial is None:
        if regime is None and shipped_path(victim, size, regime="open").is_file():
            regime = "open"
        if regime == "open":
            training = "clean"
    network, path = load_network(
        victim, size=size, weights=weights, training=training, regime=regime or "protocol"
    )
    source = with_source(network, path).weights
    data = f" on {source.regime} data" if source.regime != "protocol" else ""
    return Loaded(network, f"{network.spec.title}, {source.training} training{data}", path)


def show(facts: Facts, as_json: bool) -> None:
    """Print what was measured, as a table or as JSON; notes go to stderr."""
    if as_json:
        typer.echo(json.dumps(facts.as_json(), allow_nan=False))
        return
    for note in facts.notes:
        typer.echo(f"posebench: note: {note}", err=True)
    print_facts(facts)
    for doubt in facts.trust.doubts if facts.trust is not None else ():
        typer.echo(f"posebench: warning: {doubt}", err=True)


CAPTION = """\
no ground truth, so no PMD: cm between the surfaces, both centred,
as mean (95 % are nearer than); chamfer: mean of both means
stretched: mean change of edge lengths against the identity's"""


def print_facts(facts: Facts) -> None:
    """The table, what the attack did if there was one, and the files."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=facts.victim, caption=CAPTION, box=box.SIMPLE_HEAD)
    for name in ("", "scan to\nresult", "result to\nscan", "chamfer", "stretched"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, fit in facts.metrics.items():
        table.add_row(name, *row_of(fit))
    console.print(table)
    if facts.attacked is not None:
        size, change = facts.attacked.perturbation, facts.attacked.output_change
        cost = facts.attacked.cost
        console.print(
            f"points moved by {100 * size['rms']:.2f} cm RMS per coordinate, at most "
            f"{100 * size['l2_vertex']:.1f} cm\n"
            f"output moved by {change.attack * 1e4:.1f}e-4, as PMD from the clean output\n"
            f"{facts.attacked.gain_over_noise:.1f} times as far as under noise of that size\n"
            f"{cost.forwards} forward and {cost.backwards} backward"
        )
    console.print(
        f"pose source: {facts.pose.points:,} points, {facts.pose.seen:,} seen\n"
        f"identity: {facts.identity.points:,} points, {facts.identity.faces:,} faces"
    )
    if facts.accuracy is not None:
        console.print(facts.accuracy, soft_wrap=True, markup=False)
    for path in facts.written:
        console.print(path, soft_wrap=True, markup=False)


def row_of(fit: Fit) -> list[str]:
    """Distances in centimetres, and the stretch in per cent."""
    ways = (fit.scan_to_result, fit.result_to_scan)
    stretch = "-" if fit.edge_distortion is None else f"{100 * fit.edge_distortion.mean:.0f} %"
    shown = [f"{100 * way.mean:.1f} ({100 * way.p95:.1f})" for way in ways]
    return [*shown, f"{100 * fit.chamfer:.1f}", stretch]
