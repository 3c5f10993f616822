"""``posebench attack``: attack anybody's pose source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from posebench.benchmark.cli import on_files, options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.paths import PICTURES, check_results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posebench.benchmark.meshes.types import Faces, Points
    from posebench.benchmark.retarget.facts import Facts
    from posebench.benchmark.retarget.pair import Pair
    from posebench.interfaces import Attack
    from posebench.norms import Norm, Unit
    from posebench.victims import PoseTransferNetwork

EXAMPLES = """
Examples:

- posebench attack --pose a.obj --identity b.obj --attack pgd --eps 0.02 --save adv.ply

- posebench attack --pose a.obj --identity b.obj --clean --save adv.ply --picture adv.png

- posebench transfer --pose adv.ply --identity b.obj --clean --defense sor -o mended.obj
"""

Save = Annotated[
    Path, typer.Option(help="PLY or NPZ for the adversarial cloud and its displacements.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Mesh to write: the attacked result.")
]
Eps = Annotated[float, typer.Option(help="Budget, in --eps-unit.")]


@when_memory_runs_out(on_files.OUT_OF_MEMORY)
def attack(
    pose: on_files.Pose,
    identity: on_files.Identity,
    save: Save,
    attack: options.Attack = "pgd",
    eps: Eps = 0.02,
    eps_unit: options.EpsUnit = "rms",
    norm: options.Norm = "l2",
    iterations: options.Iterations = None,
    victim: options.Victim = on_files.DEFAULT_VICTIM,
    weights: options.Weights = None,
    adversarial: on_files.Training = None,
    size: on_files.Size = None,
    regime: on_files.Regime = None,
    unit: on_files.Unit = "m",
    up: on_files.Up = None,
    turn: on_files.Turn = 0.0,
    pose_unit: on_files.PoseUnit = None,
    pose_up: on_files.PoseUp = None,
    pose_turn: on_files.PoseTurn = None,
    pose_crop: own.PoseCrop = None,
    crop_picture: own.CropPicture = None,
    points: on_files.Points = 6890,
    out: Out = None,
    picture: on_files.Picture = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Move a pose source's points so that the network's output changes most; no truth is needed."""
    from posebench.attacks import make_attack
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.evaluation.metres import check_metres
    from posebench.benchmark.meshes.files import DISPLACED, WRITTEN
    from posebench.benchmark.meshes.frame import FrameOptions
    from posebench.benchmark.retarget.pair import PairFiles, read_pair
    from posebench.interfaces import Budget

    budget = Budget(eps, cast("Norm", norm), cast("Unit", eps_unit))
    check_metres(budget, points)
    made = make_attack(attack, budget, iterations)
    frames = FrameOptions(unit, up, turn, pose_unit, pose_up, pose_turn)
    files = PairFiles(pose, identity, frames, points, seed, pose_crop)
    results = [(save, DISPLACED), (out, WRITTEN), (picture, PICTURES), (crop_picture, PICTURES)]
    check_results(results, read=[pose, identity])
    place = resolve_device(device)
    pair = read_pair(files, defense=None, out=out)
    own.draw_crops(pair.cuts, crop_picture)
    used = on_files.load_network(victim, weights, adversarial, size, regime)
    attacker = Attacker(used.network.to(place), used.label, made, f"{attack} {eps:g}", place, seed)
    on_files.show(attacker.write(pair, save, out, picture), as_json)


@dataclass(frozen=True)
class Attacker:
    """An attack (and what pictures call it) on a network with its label, on a device, by a seed."""

    network: PoseTransferNetwork
    label: str
    attack: Attack
    title: str
    device: str
    seed: int

    def write(self, pair: Pair, save: Path, out: Path | None, picture: Path | None) -> Facts:
        """Attack, write what was asked for, and measure."""
        from posebench.benchmark.meshes.files import write_displaced, write_mesh
        from posebench.benchmark.reports.pictures import viridis
        from posebench.benchmark.retarget import facts
        from posebench.benchmark.retarget.attack import attacked, attacked_in_file
        from posebench.benchmark.retarget.transfer import system_of, transferred

        system, source = system_of(self.network), pair.source
        found = attacked(
            self.network, self.attack, source, pair.identity, seed=self.seed, device=self.device
        )
        clean, broken = (
            transferred(system, cloud, pair.identity, self.seed)
            for cloud in (source.cloud.to(self.device), found.pose)
        )
        placed, faces, moved = attacked_in_file(source, found)
        colours = viridis(moved / max(float(moved.max()), 1e-12))
        write_displaced(save, placed, faces, moved, colours)
        written = () if out is None else write_mesh(out, broken, pair.identity.mesh)
        if picture is not None:
            shown = Shown(source.mesh.frame.inwards(placed), faces, moved, clean, broken)
            draw(pair, shown, self, picture)
        return facts.Facts(
            victim=self.label,
            pose=facts.pose_facts(pair),
            identity=facts.identity_facts(pair),
            metrics={
                "clean result": facts.against_scan(clean, pair.identity, source),
                "attacked result": facts.against_scan(broken, pair.identity, source),
            },
            written=tuple(str(path) for path in (save, out, picture) if path is not None),
            notes=(*pair.notes, *written),
            attacked=facts.attack_facts(self.attack, found, pair),
        )


@dataclass(frozen=True)
class Shown:
    """What an attack's picture holds: the adversarial cloud, its faces and displacements, and the
    clean and the attacked result; metres."""

    cloud: Points
    faces: Faces | None
    moved: NDArray[np.float32]
    clean: Points
    broken: Points


def draw(pair: Pair, shown: Shown, attacker: Attacker, path: Path) -> None:
    """Pose source, attacked pose source, identity, result and attacked result, side by side."""
    import numpy as np

    from posebench.benchmark.reports.pictures import draw_rows, mesh_panel, window_of

    pose, identity = pair.source.mesh, pair.identity.mesh
    change = np.linalg.norm(shown.broken - shown.clean, axis=1)
    panels = [
        mesh_panel(pose.points, pose.faces, f"pose source {pose.path.name}"),
        mesh_panel(shown.cloud, shown.faces, attacker.title, shown.moved),
        mesh_panel(identity.points, identity.faces, f"identity {identity.path.name}"),
        mesh_panel(shown.clean, identity.faces, "result"),
        mesh_panel(shown.broken, identity.faces, "attacked result", change),
    ]
    window = window_of([panels[0], panels[2], panels[3]])  # stray points may leave the panel
    draw_rows([(attacker.label, panels)], path, window=window, scale=1.6)
