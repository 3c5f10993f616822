"""``posebench transfer``: any mesh in the pose of any other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import on_files, options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.paths import PICTURES, check_results
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.meshes.types import Points
    from posebench.benchmark.retarget.facts import Facts, FitFacts
    from posebench.benchmark.retarget.own_error import OwnError
    from posebench.benchmark.retarget.pair import Pair
    from posebench.interfaces import Defense

FITTED = "fit"
"""What fitting is called where a network could be named."""

EXAMPLES = """
Examples:

- posebench transfer --pose scan.ply --identity character.obj -o out.obj

- posebench transfer --pose kinect.pcd --pose-up -y --identity mh.obj --unit dm -o out.obj

- posebench transfer --pose scan.ply --pose-unit mm --defense sor --identity a.glb -o out.glb

- posebench transfer --pose room.ply --pose-crop floor,cluster --identity a.obj -o out.obj

- posebench transfer --pose a.obj --identity b.obj -o out.obj --html out.html --strict

- posebench transfer --pose a.obj --identity b.obj -o out.obj --victim ffptnet
"""

Out = Annotated[Path, typer.Option("--out", "-o", help="Mesh to write, by its ending.")]
Method = Annotated[
    str,
    typer.Option(
        help=f"'{FITTED}': a body is fitted to both files, no network; or a network "
        f"({on_files.DEFAULT_VICTIM} has weights for anybody's bodies).",
        autocompletion=options.words(FITTED, *options.VICTIMS),
    ),
]
Html = Annotated[
    Path | None, typer.Option(help="Page with the bodies in 3D, one file of 1 to 4 MB.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 1 if the result is not to be trusted.")
]
PAGES = (".html", ".htm")


@when_memory_runs_out(on_files.OUT_OF_MEMORY)
def transfer(
    pose: on_files.Pose,
    identity: on_files.Identity,
    out: Out,
    victim: Method = FITTED,
    weights: options.Weights = None,
    adversarial: on_files.Training = None,
    size: on_files.Size = None,
    regime: on_files.Regime = None,
    defense: options.Defense = "none",
    unit: on_files.Unit = "m",
    up: on_files.Up = None,
    turn: on_files.Turn = 0.0,
    pose_unit: on_files.PoseUnit = None,
    pose_up: on_files.PoseUp = None,
    pose_turn: on_files.PoseTurn = None,
    pose_crop: own.PoseCrop = None,
    crop_picture: own.CropPicture = None,
    points: on_files.Points = 6890,
    picture: on_files.Picture = None,
    html: Html = None,
    strict: Strict = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Drive any mesh with any pose source.

    Faces, textures and units of the identity stay. Unless a network is named, a body is fitted to
    both files, some ten seconds each, and the identity goes along. The result is compared with the
    untouched identity and with what is known of the method's accuracy: a warning says when it is
    not to be trusted.
    """
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.meshes.files import WRITTEN
    from posebench.benchmark.meshes.frame import FrameOptions
    from posebench.benchmark.retarget.pair import PairFiles, read_pair
    from posebench.defenses import DEFENSES

    guard = None if defense == "none" else DEFENSES[defense]()
    frames = FrameOptions(unit, up, turn, pose_unit, pose_up, pose_turn)
    files = PairFiles(pose, identity, frames, points, seed, pose_crop)
    results = [(out, WRITTEN), (picture, PICTURES), (html, PAGES), (crop_picture, PICTURES)]
    check_results(results, read=[pose, identity])
    place = resolve_device(device)
    pair = read_pair(files, defense=guard, out=out)
    own.draw_crops(pair.cuts, crop_picture)
    if victim == FITTED:
        check_no_network(weights, adversarial, size, regime)
        driven = fitted(pair, place)
    else:
        used = on_files.load_network(victim, weights, adversarial, size, regime)
        driven = by_network(pair, used, guard, place, seed)
    facts = written(pair, driven, Results(out, picture, html))
    on_files.show(facts, as_json)
    if strict and facts.trust is not None and facts.trust.doubts:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Results:
    """Where the mesh goes, and the views of it that are wanted."""

    mesh: Path
    picture: Path | None
    html: Path | None


@dataclass(frozen=True)
class Driven:
    """A result, by whom, and what is known of its accuracy.

    Attributes:
        by: the method's name.
        points: (N, 3) metres, in the identity's order and place.
        own: the network's own error, where there is one and its weights say it.
        fit: how near fitted bodies came, where there are any.
        doubts: the method's own.
    """

    by: str
    points: Points
    own: OwnError | None = None
    fit: FitFacts | None = None
    doubts: tuple[str, ...] = ()


def check_no_network(*chosen: object) -> None:
    """Refuse options that choose a network's weights where none is named."""
    from posebench.errors import InputError

    if any(given is not None for given in chosen):
        raise InputError(
            "--weights, --adversarial, --clean, --size and --regime choose a network's weights: "
            f"name the network, as in --victim {on_files.DEFAULT_VICTIM}"
        )


def fitted(pair: Pair, device: str) -> Driven:
    """By fitted bodies."""
    from posebench.benchmark.retarget.facts import FitFacts
    from posebench.benchmark.retarget.fitted import LABEL, fitted_transfer

    with progress_bar("bodies", quiet=False) as bar:
        job = bar.add_task("fitting", total=2)
        found = fitted_transfer(pair, device, partial(bar.advance, job))
    facts = FitFacts(found.pose_gap, found.identity_gap)
    return Driven(LABEL, found.points, fit=facts, doubts=tuple(found.doubts()))


def by_network(
    pair: Pair, used: on_files.Loaded, defense: Defense | None, device: str, seed: int
) -> Driven:
    """By a network behind its defence."""
    from posebench.benchmark.retarget.own_error import own_error
    from posebench.benchmark.retarget.transfer import system_of, transferred

    system = system_of(used.network.to(device), defense)
    points = transferred(system, pair.source.cloud.to(device), pair.identity, seed)
    return Driven(used.label, points, own=own_error(used.weights))


def written(pair: Pair, driven: Driven, results: Results) -> Facts:
    """Write the mesh and its views, and measure."""
    from posebench.benchmark.meshes.files import write_mesh
    from posebench.benchmark.reports.result_page import write_views
    from posebench.benchmark.retarget import facts
    from posebench.benchmark.retarget.trust import trust_in

    source = pair.source
    notes = write_mesh(results.mesh, driven.points, pair.identity.mesh)
    result = facts.against_scan(driven.points, pair.identity, source)
    untouched = facts.against_scan(pair.identity.mesh.points, pair.identity, source)
    paths = (results.mesh, results.picture, results.html)
    found = facts.Facts(
        victim=driven.by,
        pose=facts.pose_facts(pair),
        identity=facts.identity_facts(pair),
        metrics={"result": result, "identity, untouched": untouched},
        written=tuple(str(path) for path in paths if path is not None),
        notes=(*pair.notes, *notes),
        trust=trust_in(result, untouched, driven.own, driven.doubts),
        fitted=driven.fit,
    )
    write_views(pair, driven.points, found, picture=results.picture, html=results.html)
    return found
