"""``posebench transfer``: any mesh in the pose of any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import on_files, options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.paths import PICTURES, check_results

if TYPE_CHECKING:
    from posebench.benchmark.retarget.facts import Facts
    from posebench.benchmark.retarget.pair import Pair
    from posebench.interfaces import Defense

EXAMPLES = """
Examples:

- posebench transfer --pose scan.ply --identity character.obj -o out.obj

- posebench transfer --pose kinect.pcd --pose-up -y --identity mh.obj --unit dm -o out.obj

- posebench transfer --pose scan.ply --pose-unit mm --defense sor --identity a.glb -o out.glb

- posebench transfer --pose room.ply --pose-crop floor,cluster --identity a.obj -o out.obj

- posebench transfer --pose a.obj --identity b.obj -o out.obj --html out.html --strict
"""

Out = Annotated[Path, typer.Option("--out", "-o", help="Mesh to write, by its ending.")]
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
    victim: options.Victim = on_files.DEFAULT_VICTIM,
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

    Faces, textures and units of the identity stay. The result is compared with the untouched
    identity and with the network's own error: a warning says when it is not to be trusted.
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
    used = on_files.load_network(victim, weights, adversarial, size, regime)
    facts = Driven(used, guard, place, seed).write(pair, Results(out, picture, html))
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
    """A network and its defence, on a device, with the seed of its randomness."""

    used: on_files.Loaded
    defense: Defense | None
    device: str
    seed: int

    def write(self, pair: Pair, results: Results) -> Facts:
        """Transfer, write the mesh and its views, and measure."""
        from posebench.benchmark.meshes.files import write_mesh
        from posebench.benchmark.reports.result_page import write_views
        from posebench.benchmark.retarget import facts
        from posebench.benchmark.retarget.own_error import own_error
        from posebench.benchmark.retarget.transfer import system_of, transferred
        from posebench.benchmark.retarget.trust import trust_in

        source = pair.source
        system = system_of(self.used.network.to(self.device), self.defense)
        moved = transferred(system, source.cloud.to(self.device), pair.identity, self.seed)
        written = write_mesh(results.mesh, moved, pair.identity.mesh)
        result = facts.against_scan(moved, pair.identity, source)
        untouched = facts.against_scan(pair.identity.mesh.points, pair.identity, source)
        paths = (results.mesh, results.picture, results.html)
        found = facts.Facts(
            victim=self.used.label,
            pose=facts.pose_facts(pair),
            identity=facts.identity_facts(pair),
            metrics={"result": result, "identity, untouched": untouched},
            written=tuple(str(path) for path in paths if path is not None),
            notes=(*pair.notes, *written),
            trust=trust_in(result, untouched, own_error(self.used.weights)),
        )
        write_views(pair, moved, found, picture=results.picture, html=results.html)
        return found
