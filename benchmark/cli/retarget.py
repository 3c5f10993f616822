"""``posebench transfer`` and ``posebench attack``: anybody's meshes and scans."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from posebench.benchmark.meshes.files import Frame
    from posebench.benchmark.retarget.transfer import Identity, PoseSource
    from posebench.interfaces import Attack, Defense
    from posebench.victims import PoseTransferNetwork

TRANSFER_EXAMPLES = """
Examples:

- posebench transfer --pose scan.ply --identity character.obj -o out.obj

- posebench transfer --pose kinect.pcd --pose-up -y --identity mh.obj --unit dm -o out.obj

- posebench transfer --pose scan.ply --pose-unit mm --defense sor --identity a.glb -o out.glb
"""

ATTACK_EXAMPLES = """
Examples:

- posebench attack --pose a.obj --identity b.obj --attack pgd --eps 0.02 --save adv.ply

- posebench attack --pose a.obj --identity b.obj --clean --save adv.ply --render adv.png

- posebench transfer --pose adv.ply --identity b.obj --clean --defense sor -o mended.obj
"""

DEFAULT_VICTIM = "posemae"
"""The network that does best on scans where surfaces stay smooth; docs/meshes.md."""

Pose = Annotated[
    Path,
    typer.Option(help="Mesh, cloud or scan: obj, ply, off, stl, glb, npz, npy, xyz, pcd."),
]
IdentityFile = Annotated[Path, typer.Option(help="Mesh to be posed, in the same formats.")]
Victim = Annotated[str, typer.Option(help="Network; see 'posebench list'.")]
Weights = Annotated[Path | None, typer.Option(help="Weights file instead of shipped weights.")]
Training = Annotated[
    bool | None,
    typer.Option(
        "--adversarial/--clean",
        help="Which shipped weights; default those trained for scans, on points of surfaces.",
    ),
]
Size = Annotated[
    str | None, typer.Option(help="Of shipped weights: compact (default), paper, tiny.")
]
Unit = Annotated[str, typer.Option(help="Of both files: m, dm, cm, mm, or metres per unit.")]
Up = Annotated[
    str | None, typer.Option(help="Up axis of both files: x, y, z, -x, -y or -z; default y.")
]
Turn = Annotated[
    float, typer.Option(help="Degrees to turn both bodies to their left, so that they face z.")
]
PoseUnit = Annotated[str | None, typer.Option(help="Unit of the pose source alone.")]
PoseUp = Annotated[str | None, typer.Option(help="Up axis of the pose source alone.")]
PoseTurn = Annotated[float | None, typer.Option(help="Turn of the pose source alone.")]
Points = Annotated[int, typer.Option(help="Points of the pose source that the network sees.")]
Render = Annotated[Path | None, typer.Option(help="PNG or PDF of what went in and came out.")]
Seed = Annotated[int, typer.Option(help="Of subsampling, attack and random defences.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def transfer(
    pose: Pose,
    identity: IdentityFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Mesh to write, by its ending.")],
    victim: Victim = DEFAULT_VICTIM,
    weights: Weights = None,
    adversarial: Training = None,
    size: Size = None,
    defense: Annotated[
        str, typer.Option(help="Defence in front, such as sor, or 'none'.")
    ] = "none",
    unit: Unit = "m",
    up: Up = None,
    turn: Turn = 0.0,
    pose_unit: PoseUnit = None,
    pose_up: PoseUp = None,
    pose_turn: PoseTurn = None,
    points: Points = 6890,
    render: Render = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Drive any mesh with any pose source; faces, textures and units of the identity stay."""
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.meshes.files import write_mesh
    from posebench.benchmark.reports.pictures import draw_rows, mesh_panel, window_of
    from posebench.benchmark.retarget.transfer import against_scan, far_off, system_of, transferred
    from posebench.defenses import DEFENSES

    guard = None if defense == "none" else DEFENSES[defense]()
    frames = FrameOptions(unit, up, turn, pose_unit, pose_up, pose_turn)
    check_results(out=out, render=render, read=[pose, identity])
    place = resolve_device(device)
    pair = read_pair(pose, identity, frames, points=points, defense=guard, seed=seed, out=out)
    network, label = load(victim, weights, adversarial, size)
    system = system_of(network.to(place), guard)
    source, person = pair.source, pair.identity.mesh
    moved = transferred(system, source.cloud.to(place), pair.identity, seed)
    notes = [*pair.notes, *write_mesh(out, moved, person)]
    measured = {
        "result": against_scan(moved, pair.identity, source),
        "identity, untouched": against_scan(person.points, pair.identity, source),
    }
    notes += far_off(measured["result"])
    if render is not None:
        panels = [
            mesh_panel(source.mesh.points, source.mesh.faces, f"pose source {pose.name}"),
            mesh_panel(person.points, person.faces, f"identity {identity.name}"),
            mesh_panel(moved, person.faces, "result"),
        ]
        draw_rows([(label, panels)], render, window=window_of(panels), scale=2.0)
    report(facts_of(label, pair, measured, notes, [out, render]), as_json)


def attack(
    pose: Pose,
    identity: IdentityFile,
    save: Annotated[
        Path, typer.Option(help="PLY or NPZ for the adversarial cloud and its displacements.")
    ],
    attack: Annotated[str, typer.Option(help="Attack on the pose source.")] = "pgd",
    eps: Annotated[float, typer.Option(help="Budget, in --eps-unit.")] = 0.02,
    eps_unit: Annotated[
        str, typer.Option(help="rms (metres per coordinate), total or release.")
    ] = "rms",
    norm: Annotated[str, typer.Option(help="l2, linf or l2_vertex.")] = "l2",
    iterations: Annotated[
        int | None, typer.Option(help="Gradient steps of an iterative attack.")
    ] = None,
    victim: Victim = DEFAULT_VICTIM,
    weights: Weights = None,
    adversarial: Training = None,
    size: Size = None,
    unit: Unit = "m",
    up: Up = None,
    turn: Turn = 0.0,
    pose_unit: PoseUnit = None,
    pose_up: PoseUp = None,
    pose_turn: PoseTurn = None,
    points: Points = 6890,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Mesh to write: the attacked result.")
    ] = None,
    render: Render = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Move a pose source's points so that the network's output changes most; no truth is needed."""
    import numpy as np

    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.meshes.files import write_displaced, write_mesh
    from posebench.benchmark.reports.pictures import draw_rows, mesh_panel, viridis, window_of
    from posebench.benchmark.retarget.attack import attacked, attacked_in_file
    from posebench.benchmark.retarget.transfer import against_scan, system_of, transferred

    made = attack_for(attack, eps, norm, eps_unit, iterations)
    frames = FrameOptions(unit, up, turn, pose_unit, pose_up, pose_turn)
    check_results(save=save, out=out, render=render, read=[pose, identity])
    place = resolve_device(device)
    pair = read_pair(pose, identity, frames, points=points, defense=None, seed=seed, out=out)
    network, label = load(victim, weights, adversarial, size)
    system = system_of(network.to(place))
    source, person = pair.source, pair.identity.mesh
    found = attacked(network, made, source, pair.identity, seed=seed, device=place)
    clean, broken = (
        transferred(system, cloud, pair.identity, seed)
        for cloud in (source.cloud.to(place), found.pose)
    )
    placed, faces, moved = attacked_in_file(source, found)
    write_displaced(save, placed, faces, moved, viridis(moved / max(float(moved.max()), 1e-12)))
    notes = [*pair.notes, *(() if out is None else write_mesh(out, broken, person))]
    measured = {
        "clean result": against_scan(clean, pair.identity, source),
        "attacked result": against_scan(broken, pair.identity, source),
    }
    if render is not None:
        change = np.linalg.norm(broken - clean, axis=1)
        shown = [
            mesh_panel(source.mesh.points, source.mesh.faces, f"pose source {pose.name}"),
            mesh_panel(source.mesh.frame.inwards(placed), faces, f"{attack} {eps:g}", moved),
            mesh_panel(person.points, person.faces, f"identity {identity.name}"),
            mesh_panel(clean, person.faces, "result"),
            mesh_panel(broken, person.faces, "attacked result", change),
        ]
        window = window_of([shown[0], shown[2], shown[3]])  # stray points may leave the panel
        draw_rows([(label, shown)], render, window=window, scale=1.6)
    facts = facts_of(label, pair, measured, notes, [save, out, render])
    facts |= {
        "attack": repr(made),
        "perturbation": found.norms(source.cloud.to(place)),
        "output_change": found.change,
        "gain_over_noise": found.change["attack"] / max(found.change["noise"], 1e-12),
        "cost": {"forwards": found.result.forwards, "backwards": found.result.backwards},
    }
    report(facts, as_json)


@dataclass(frozen=True)
class FrameOptions:
    """Units and axes as given on the command line."""

    unit: str
    up: str | None
    turn: float
    pose_unit: str | None
    pose_up: str | None
    pose_turn: float | None

    def frames(self) -> tuple[Frame, Frame]:
        """Of the pose source and of the identity."""
        from posebench.benchmark.meshes.files import frame_for

        turn = self.turn if self.pose_turn is None else self.pose_turn
        of_pose = frame_for(self.pose_unit or self.unit, self.up_of_pose, turn)
        return of_pose, frame_for(self.unit, self.up, self.turn)

    @property
    def up_of_pose(self) -> str | None:
        """The pose source's up axis, None if none was given."""
        return self.pose_up or self.up


@dataclass(frozen=True)
class Pair:
    """Both files, read and prepared, and what the user should know about them."""

    source: PoseSource
    identity: Identity
    notes: tuple[str, ...]


def read_pair(
    pose: Path,
    identity: Path,
    options: FrameOptions,
    *,
    points: int,
    defense: Defense | None,
    seed: int,
    out: Path | None,
) -> Pair:
    """Read and check both files before any network is loaded."""
    from posebench.benchmark.meshes.files import WRITTEN, check_ending, read_mesh
    from posebench.benchmark.retarget.transfer import check_pose, identity_of, pose_source

    of_pose, of_identity = options.frames()
    scan = read_mesh(pose, of_pose, gaps=True)
    body = read_mesh(identity, of_identity)
    if out is not None:
        check_ending(out, WRITTEN, body.faces is not None)
    source = pose_source(scan, points=points, defense=defense, seed=seed)
    notes = (*scan.notes, *check_pose(source, options.up_of_pose))
    person, more = identity_of(body, options.up, seed)
    return Pair(source, person, (*notes, *more))


def attack_for(name: str, eps: float, norm: str, unit: str, iterations: int | None) -> Attack:
    """The attack that options describe."""
    from typing import cast

    from posebench.attacks import make_attack
    from posebench.interfaces import Budget, Norm
    from posebench.interfaces import Unit as EpsUnit

    return make_attack(name, Budget(eps, cast(Norm, norm), cast(EpsUnit, unit)), iterations)


def load(
    victim: str, weights: Path | None, adversarial: bool | None, size: str | None
) -> tuple[PoseTransferNetwork, str]:
    """The network and its label; weights made for scans unless others are asked for."""
    from posebench.benchmark.runs.run import with_source
    from posebench.errors import InputError
    from posebench.registry import unknown
    from posebench.victims import SIZES, load_victim
    from posebench.victims.weights import shipped_path

    if weights is not None and (adversarial is not None or size is not None):
        raise InputError("--adversarial, --clean and --size choose shipped weights, not --weights")
    if size is not None and size not in SIZES:
        raise unknown("size", size, SIZES)
    size = size or "compact"
    if weights is None and adversarial is None:
        scans = shipped_path(victim, size, adversarial=True, surface=True)
        weights = scans if scans.is_file() else None
    network, path = load_victim(
        victim, size=size, weights=weights, adversarial=adversarial is not False
    )
    source = with_source(network, path)[1]
    points = " on surface points" if (source.recipe or {}).get("surface") else ""
    return network, f"{network.spec.title}, {source.training} training{points}"


def check_results(
    *,
    save: Path | None = None,
    out: Path | None = None,
    render: Path | None = None,
    read: list[Path],
) -> None:
    """Refuse names that results cannot be written under, or that would replace what is read."""
    from posebench.benchmark.meshes.files import DISPLACED, WRITTEN, check_ending
    from posebench.errors import InputError
    from posebench.files import check_writable

    taken = {os.path.realpath(path) for path in read}
    for path, endings in ((save, DISPLACED), (out, WRITTEN), (render, (".png", ".pdf"))):
        if path is None:
            continue
        check_ending(path, endings)
        if os.path.realpath(path) in taken:
            raise InputError(f"{path} would replace another file of this command; rename it")
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        taken.add(os.path.realpath(path))
        check_writable(path.parent)


def facts_of(
    label: str, pair: Pair, measured: dict[str, Any], notes: list[str], written: list[Path | None]
) -> dict[str, Any]:
    """What both commands report, ready for JSON."""
    source, identity = pair.source, pair.identity.mesh
    return {
        "victim": label,
        "pose": {
            "file": str(source.mesh.path),
            "points": len(source.mesh.points),
            "seen": int(source.seen.mask.sum()),
        },
        "identity": {
            "file": str(identity.path),
            "points": len(identity.points),
            "faces": 0 if identity.faces is None else len(identity.faces),
        },
        "metrics": measured,
        "written": [str(path) for path in written if path is not None],
        "notes": notes,
    }


def report(facts: dict[str, Any], as_json: bool) -> None:
    """Print what was measured, as a table or as JSON; notes go to stderr."""
    from posebench.benchmark.reports.tables import print_unpaired

    if as_json:
        typer.echo(json.dumps(facts, allow_nan=False))
        return
    for note in facts["notes"]:
        typer.echo(f"posebench: note: {note}", err=True)
    print_unpaired(facts)
