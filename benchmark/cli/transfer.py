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
    from posebench.benchmark.meshes.types import Points
    from posebench.benchmark.retarget.facts import Facts
    from posebench.benchmark.retarget.pair import Pair
    from posebench.interfaces import Defense
    from posebench.victims import PoseTransferNetwork

EXAMPLES = """
Examples:

- posebench transfer --pose scan.ply --identity character.obj -o out.obj

- posebench transfer --pose kinect.pcd --pose-up -y --identity mh.obj --unit dm -o out.obj

- posebench transfer --pose scan.ply --pose-unit mm --defense sor --identity a.glb -o out.glb

- posebench transfer --pose room.ply --pose-crop floor,cluster --identity a.obj -o out.obj
"""

Out = Annotated[Path, typer.Option("--out", "-o", help="Mesh to write, by its ending.")]


@when_memory_runs_out(on_files.OUT_OF_MEMORY)
def transfer(
    pose: on_files.Pose,
    identity: on_files.Identity,
    out: Out,
    victim: options.Victim = on_files.DEFAULT_VICTIM,
    weights: options.Weights = None,
    adversarial: on_files.Training = None,
    size: on_files.Size = None,
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
    render: on_files.Render = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Drive any mesh with any pose source; faces, textures and units of the identity stay."""
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.meshes.files import WRITTEN
    from posebench.benchmark.meshes.frame import FrameOptions
    from posebench.benchmark.retarget.pair import PairFiles, read_pair
    from posebench.defenses import DEFENSES

    guard = None if defense == "none" else DEFENSES[defense]()
    frames = FrameOptions(unit, up, turn, pose_unit, pose_up, pose_turn)
    files = PairFiles(pose, identity, frames, points, seed, pose_crop)
    check_results(
        [(out, WRITTEN), (render, PICTURES), (crop_picture, PICTURES)], read=[pose, identity]
    )
    place = resolve_device(device)
    pair = read_pair(files, defense=guard, out=out)
    own.draw_crops(pair.cuts, crop_picture)
    network, label = on_files.load_network(victim, weights, adversarial, size)
    driven = Driven(network.to(place), label, guard, place, seed)
    on_files.show(driven.write(pair, out, render), as_json)


@dataclass(frozen=True)
class Driven:
    """A network with its label and defence, on a device, with the seed of its randomness."""

    network: PoseTransferNetwork
    label: str
    defense: Defense | None
    device: str
    seed: int

    def write(self, pair: Pair, out: Path, render: Path | None) -> Facts:
        """Transfer, write the mesh and the picture, and measure."""
        from posebench.benchmark.meshes.files import write_mesh
        from posebench.benchmark.retarget import facts
        from posebench.benchmark.retarget.transfer import system_of, transferred

        system, source = system_of(self.network, self.defense), pair.source
        moved = transferred(system, source.cloud.to(self.device), pair.identity, self.seed)
        written = write_mesh(out, moved, pair.identity.mesh)
        result = facts.against_scan(moved, pair.identity, source)
        untouched = facts.against_scan(pair.identity.mesh.points, pair.identity, source)
        if render is not None:
            draw(pair, moved, self.label, render)
        return facts.Facts(
            victim=self.label,
            pose=facts.pose_facts(pair),
            identity=facts.identity_facts(pair),
            metrics={"result": result, "identity, untouched": untouched},
            written=tuple(str(path) for path in (out, render) if path is not None),
            notes=(*pair.notes, *written, *facts.far_off(result)),
        )


def draw(pair: Pair, moved: Points, label: str, path: Path) -> None:
    """Pose source, identity and result, side by side."""
    from posebench.benchmark.reports.pictures import draw_rows, mesh_panel, window_of

    pose, identity = pair.source.mesh, pair.identity.mesh
    panels = [
        mesh_panel(pose.points, pose.faces, f"pose source {pose.path.name}"),
        mesh_panel(identity.points, identity.faces, f"identity {identity.path.name}"),
        mesh_panel(moved, identity.faces, "result"),
    ]
    draw_rows([(label, panels)], path, window=window_of(panels), scale=2.0)
