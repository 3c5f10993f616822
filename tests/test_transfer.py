"""Transfer and attack on files: what goes in, what comes out, and what must not matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.attacks import APGD, FGM, PGD
from posebench.benchmark.data.body import load_body, pose_body
from posebench.benchmark.meshes.files import MeshFile, read_mesh
from posebench.benchmark.meshes.frame import Stated, frame_for
from posebench.benchmark.meshes.surface import Surface, sample_surface
from posebench.benchmark.retarget import in_parts
from posebench.benchmark.retarget.attack import Change, attacked, attacked_in_file
from posebench.benchmark.retarget.facts import against_scan
from posebench.benchmark.retarget.in_parts import InParts
from posebench.benchmark.retarget.pair import Identity, check_pose, identity_of, pose_source
from posebench.benchmark.retarget.transfer import system_of, transferred
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.defenses import SOR, GaussianSmoothing, RandomDrop
from posebench.errors import InputError
from posebench.interfaces import Budget, Defense
from posebench.objective import mse
from posebench.victims import PoseTransferNetwork, load_network, write_weights
from tests.bad_meshes import FACES, POINTS, call, obj_text

pytestmark = pytest.mark.usefixtures("one_thread")

FREE, EQUAL = ("npt-mp", "posemae", "gct-mp"), ("npt", "gct")
RNG = np.random.default_rng(0)


def network_of(name: str) -> PoseTransferNetwork:
    """A tiny network that has learned nothing, its output stretched to a body's size."""
    network = initial_network(Recipe(name, size="tiny")).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    return network


def posed(identity: int, pose: int, vertices: int = 800) -> np.ndarray:
    body = load_body(vertices)
    found = pose_body(body, torch.tensor([identity]), body.poses["seen"][[pose]])
    return found[0].double().numpy()


def mesh(points: np.ndarray, faces: np.ndarray | None = FACES, **frame: Any) -> MeshFile:
    return MeshFile(Path("made.obj"), points, faces, frame_for(**frame))


def identity(points: np.ndarray = POINTS, faces: np.ndarray | None = FACES) -> Identity:
    return identity_of(mesh(points, faces), Stated())[0]


def result(
    network: PoseTransferNetwork,
    pose: np.ndarray,
    person: Identity,
    defense: Defense | None = None,
) -> np.ndarray:
    source = pose_source(mesh(pose), defense=defense)
    return transferred(system_of(network, defense), source.cloud, person)


POSE = posed(20, 3)


# ---- what must not matter


@pytest.mark.parametrize("name", FREE)
def test_result_is_the_networks_own(name: str) -> None:
    """Thinned, centred, called, put back where the identity stood: nothing else."""
    network, source = network_of(name), pose_source(mesh(POSE), points=700)
    person = POINTS + np.array([3.0, -2.0, 7.0])
    clouds = [
        Clouds.dense(torch.from_numpy(centred(p)).float()[None])
        for p in (POSE[source.order], person)
    ]
    with torch.no_grad():
        wanted = network(*clouds).points[0].double().numpy()
    found = transferred(system_of(network), source.cloud, identity(person))
    np.testing.assert_allclose(centred(found), centred(wanted), atol=2e-5)
    np.testing.assert_allclose(box_middle(found), box_middle(person), atol=1e-9)


def centred(points: np.ndarray) -> np.ndarray:
    return points - box_middle(points)


def box_middle(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2


@pytest.mark.parametrize("name", [*FREE, *EQUAL])
def test_position_and_identity_order_do_not_matter(name: str) -> None:
    network, order = network_of(name), RNG.permutation(800)
    plain = result(network, POSE, identity())
    moved = result(network, POSE + np.array([500.0, 0, -40]), identity(POINTS[order]))
    atol = 1e-4 if name in FREE else 1e-3
    np.testing.assert_allclose(centred(moved), centred(plain)[order], atol=atol)


@pytest.mark.parametrize("name", [*FREE, *EQUAL])
def test_seams_stay_closed(name: str) -> None:
    """Vertices at the same place stay at the same place, to the bit."""
    twice = np.concatenate([POINTS, POINTS[::-1]])
    found = result(network_of(name), POSE, identity(twice))
    np.testing.assert_array_equal(found[:800], found[800:][::-1])
    assert len(np.unique(found[:800].round(9), axis=0)) > 700


@pytest.mark.parametrize("name", FREE)
def test_parts_share_their_statistics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 200, each with the same 150: as if the other 650 were padding to the norms."""
    network, person = network_of(name), identity()
    pose = pose_source(mesh(POSE)).cloud
    points = torch.from_numpy(person.distinct)[None]
    mask = (torch.arange(800) < 150)[None]
    with torch.no_grad():
        wanted = network.transfer(pose.points, points, None, mask)
        whole = network.transfer(pose.points, points)
    monkeypatch.setattr(in_parts, "PART", 200)
    monkeypatch.setattr(in_parts, "SHARED", 150)
    calls: list[int] = []
    monkeypatch.setattr(network, "transfer", counting(network.transfer, calls))
    with torch.no_grad():
        found = InParts(network)(pose, Clouds.dense(points)).points
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)
    assert calls == [150, *[200] * 13]
    assert (found - whole).abs().max() > 1e-4


def counting(inner: Callable[..., Tensor], calls: list[int]) -> Callable[..., Tensor]:
    def transfer(pose: Tensor, points: Tensor, **more: Any) -> Tensor:
        calls.append(points.shape[1])
        return inner(pose, points, **more)

    return transfer


@pytest.mark.parametrize("name", EQUAL)
def test_victims_that_pair_by_index_get_parts_as_large_as_the_pose(name: str) -> None:
    network = network_of(name)
    source = pose_source(mesh(POSE), points=300)
    person = identity()
    found = transferred(system_of(network), source.cloud, person)
    parts = person.distinct[:267], person.distinct[267:534], person.distinct[534:]
    with torch.no_grad():
        outputs = [
            network(
                Clouds.dense(source.cloud.points[:, torch.arange(len(p)) * 300 // len(p)]),
                Clouds.dense(torch.from_numpy(p)[None]),
            ).points[0]
            for p in parts
        ]
    wanted = torch.cat(outputs).double().numpy()[person.place]
    np.testing.assert_allclose(centred(found), centred(wanted), atol=2e-5)


# ---- the pose source


def test_subsampling_is_random_repeatable_and_without_replacement() -> None:
    scan = mesh(np.repeat(POSE, 5, axis=0) + RNG.normal(0, 0.002, (4000, 3)), None)
    source = pose_source(scan, points=1500)
    assert len(set(source.order.tolist())) == 1500
    assert source.thinned
    np.testing.assert_array_equal(source.order, pose_source(scan, points=1500).order)
    assert not np.array_equal(source.order, pose_source(scan, points=1500, seed=1).order)
    assert not np.array_equal(np.sort(source.order), source.order)
    middle = box_middle(scan.points[source.order])
    np.testing.assert_allclose(
        source.cloud.points[0].numpy(), scan.points[source.order] - middle, atol=1e-6
    )
    whole = pose_source(scan)
    assert not whole.thinned
    assert sorted(whole.order.tolist()) == list(range(4000))


def test_defence_comes_before_the_box() -> None:
    """One stray point 90 m off: refused without SOR, without any effect with it."""
    network, person = network_of("posemae"), identity()
    stray = np.concatenate([POSE, [[90.0, 0, 0]]])
    with pytest.raises(InputError, match="m large"):
        check_pose(pose_source(mesh(stray, None)), Stated())
    guarded = pose_source(mesh(stray, None), defense=SOR(convention="pcl", neighbours=8, ratio=9.0))
    assert check_pose(guarded, Stated()) == ()
    assert int(guarded.seen.mask.sum()) == 800
    defense = SOR(convention="pcl", neighbours=8, ratio=9.0)
    found = transferred(system_of(network, defense), guarded.cloud, person)
    clean = result(network, POSE, person, defense)
    assert np.abs(found - clean).max() < 0.05
    network = network_of("npt-mp")
    found = transferred(system_of(network, defense), guarded.cloud, person)
    np.testing.assert_allclose(found, result(network, POSE, person, defense), atol=1e-4)


@pytest.mark.parametrize("defense", [RandomDrop(), GaussianSmoothing(votes=3)])
def test_random_defences_repeat(defense: Defense) -> None:
    network = network_of("npt-mp")
    first, again = (result(network, POSE, identity(), defense) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, result(network, POSE, identity()))


# ---- metrics


def test_metrics_of_known_results() -> None:
    """The pose itself lies on the scan; a body half as thick does not, and is distorted."""
    source = pose_source(mesh(POSE))
    perfect = against_scan(POSE + 4.0, identity(), source)
    assert perfect.chamfer < 1e-4
    thin = against_scan(POINTS * [1, 1, 0.5], identity(), source)
    assert thin.chamfer > 0.02
    assert thin.edge_distortion is not None
    assert 0.05 < thin.edge_distortion.mean < 0.5
    cloud = against_scan(POSE, identity(faces=None), source)
    assert cloud.edge_distortion is None
    assert cloud.scan_to_result.mean > 0.001  # nearest points, not surfaces


# ---- attack


def test_the_clean_output_itself_has_no_gradient_but_the_target_near_it_has() -> None:
    network, person = network_of("npt-mp"), identity()
    source = pose_source(mesh(POSE))
    pose = source.cloud.points.requires_grad_(True)
    rows = Clouds.dense(torch.from_numpy(person.distinct)[None])
    output = network(Clouds.dense(pose), rows)
    (gradient,) = torch.autograd.grad(mse(output, output.detach()).sum(), pose)
    assert not gradient.any()
    source = pose_source(mesh(POSE))
    for make in (FGM, APGD, PGD):
        found = attacked(network, make(Budget(0.02)), source, person)
        assert found.norms(source.cloud)["rms"] <= 0.02 * (1 + 1e-6)
        assert found.norms(source.cloud)["rms"] > 0.01
        assert found.change.attack > 3 * found.change.noise > 0


def test_shipped_network_is_moved_far_beyond_noise() -> None:
    network, _ = load_network("posemae")
    found = attacked(network, PGD(Budget(0.02), iterations=5), pose_source(mesh(POSE)), identity())
    assert found.change.attack > 20 * found.change.noise


def test_nothing_moves_without_a_budget() -> None:
    source = pose_source(mesh(POSE))
    found = attacked(network_of("npt"), PGD(Budget(0.0), iterations=1), source, identity())
    assert torch.equal(found.pose.points, source.cloud.points)
    assert found.change == Change(0.0, 0.0)


def test_attacked_cloud_goes_back_into_file_order_and_units() -> None:
    """In a file with z up, in centimetres, far from its origin."""
    frame = frame_for("cm", "z")
    file = frame.outwards(POSE + np.array([50.0, 0, 0]))
    source = pose_source(MeshFile(Path("a.ply"), frame.inwards(file), FACES, frame))
    found = attacked(network_of("npt-mp"), FGM(Budget(0.01)), source, identity())
    points, faces, moved = attacked_in_file(source, found)
    np.testing.assert_allclose(np.linalg.norm(points - file, axis=1) / 100, moved, atol=1e-5)
    np.testing.assert_array_equal(faces, FACES)
    assert np.sqrt((moved**2).mean() / 3) == pytest.approx(0.01, rel=1e-4)
    few = pose_source(MeshFile(Path("a.ply"), frame.inwards(file), FACES, frame), points=500)
    points, faces, moved = attacked_in_file(
        few, attacked(network_of("npt-mp"), FGM(Budget(0.01)), few, identity())
    )
    kept = np.sort(few.order)
    np.testing.assert_allclose(np.linalg.norm(points - file[kept], axis=1) / 100, moved, atol=1e-5)
    assert faces is None


# ---- the commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pose source, an identity in centimetres with z up, and tiny weights."""
    folder = tmp_path_factory.mktemp("meshes")
    (folder / "pose.obj").write_text(obj_text(POSE, FACES))
    (folder / "person.obj").write_text(obj_text(frame_for("cm", "z").outwards(POINTS), FACES))
    write_weights(folder / "tiny.safetensors", network_of("npt-mp"), {"training": "clean"})
    return folder


def words(folder: Path, command: str, *more: object) -> list[str]:
    base: list[object] = [
        command,
        "--pose",
        folder / "pose.obj",
        "--identity",
        folder / "person.obj",
    ]
    base += ["--victim", "npt-mp", "--weights", folder / "tiny.safetensors", "--unit", "cm"]
    return [str(w) for w in [*base, "--up", "z", "--pose-unit", "m", "--pose-up", "y", *more]]


def test_transfer_command(folder: Path, tmp_path: Path) -> None:
    out, picture, page = (tmp_path / f"out.{ending}" for ending in ("obj", "png", "html"))
    views = ("--picture", picture, "--html", page)
    done = call(words(folder, "transfer", "-o", out, *views, "--json"))
    assert (done["code"], done["err"]) == (0, ""), done["err"]
    facts = json.loads(done["out"])
    assert facts["victim"] == "NPT-MP, clean training"
    assert facts["written"] == [str(out), str(picture), str(page)]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert facts["metrics"]["identity, untouched"]["edge_distortion"]["mean"] == 0
    assert facts["notes"] == []
    assert facts["doubts"][0].startswith("worse than doing nothing")  # this network knows nothing
    assert facts["own_error"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = read_mesh(out, frame_for("cm", "z"))
    wanted = result(network_of("npt-mp"), POSE, identity())
    np.testing.assert_allclose(found.points, wanted, atol=1e-5)
    np.testing.assert_array_equal(found.faces, FACES)
    again = call(words(folder, "transfer", "-o", tmp_path / "again.obj", "--picture", picture))
    assert (tmp_path / "again.obj").read_bytes() == out.read_bytes()
    for part in ("no ground truth, so no PMD", "identity, untouched", "chamfer", "again.obj"):
        assert part in again["out"]


def test_attack_command_and_a_transfer_from_what_it_saved(folder: Path, tmp_path: Path) -> None:
    save, out = tmp_path / "adv.ply", tmp_path / "out.ply"
    more = ("--eps", 0.03, "--iterations", 3, "--picture", tmp_path / "adv.pdf")
    done = call(words(folder, "attack", "--save", save, "-o", out, *more, "--json"))
    assert (done["code"], done["err"]) == (0, ""), done["err"]
    facts = json.loads(done["out"])
    assert facts["attack"].startswith("PGD(budget=Budget(eps=0.03")
    assert facts["perturbation"]["rms"] == pytest.approx(0.03, rel=1e-3)
    assert facts["cost"] == {"forwards": 4, "backwards": 3}
    assert facts["notes"] == [
        f"{out}: points and faces alone; textures stay in the identity's own format"
    ]
    displaced = read_mesh(save)
    rms = np.sqrt(((displaced.points - POSE) ** 2).mean())
    assert rms == pytest.approx(0.03, rel=1e-3)
    attack_result = read_mesh(out, frame_for("cm", "z"))
    wanted = result(network_of("npt-mp"), displaced.points, identity())
    # The attacked box is not centred again: the attack may also have moved it.
    assert np.abs(centred(attack_result.points) - centred(wanted)).max() < 0.3
    assert (tmp_path / "adv.pdf").read_bytes().startswith(b"%PDF")
    shown = call(words(folder, "attack", "--save", save, *more[:4]))
    assert "times as far as under noise" in shown["out"]


BAD = {
    "no such victim": (["--victim", "mae"], "did you mean 'posemae'"),
    "unit": (["--unit", "cmm"], "unknown unit 'cmm'"),
    "pose unit": (["--pose-unit", "mm"], "with --pose-unit m it would be"),
    "identity's unit": (["--unit", "mm"], "with --unit cm it would be"),
    "up": (["--up", "w"], "unknown up axis 'w'"),
    "defence": (["--defense", "soor"], "did you mean 'sor'"),
    "ending": (["-o", "a.fbx"], "unknown file ending '.fbx'"),
    "cloud format": (["-o", "a.pcd"], "unknown file ending '.pcd'"),
    "picture": (["--picture", "a.bmp"], "unknown file ending '.bmp'"),
    "page": (["--html", "a.txt"], "unknown file ending '.txt'"),
    "same result": (["-o", "a.obj", "--picture", "./a.obj"], "unknown file ending"),
    "over the identity": (["-o", "{folder}/person.obj"], "would replace"),
    "no folder": (["-o", "/proc/nowhere/a.obj"], "cannot write"),
    "both weights": (["--clean"], "choose shipped weights"),
    "no points": (["--points", "1"], "points must be at least 2"),
    "device": (["--device", "nonsense"], "device 'nonsense'"),
    "turn": (["--turn", "nan"], "turn must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_option(
    case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more, part = BAD[case]
    more = [word.format(folder=folder) for word in more]
    done = call(words(folder, "transfer", "-o", "out.obj", *more))
    assert (done["code"], done["out"]) == (2, ""), done
    (line,) = done["err"].splitlines()
    assert line.startswith("posebench: error: ")
    assert part in line
    assert not list(tmp_path.iterdir())


def test_lying_pose_is_noted_where_its_axis_was_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lying.obj").write_text(obj_text(POINTS[:, [0, 2, 1]], FACES))
    more = ("--pose", tmp_path / "lying.obj", "-o", tmp_path / "out.obj")
    done = call(words(folder, "transfer", *more))
    assert done["code"] == 0
    line = done["err"].splitlines()[0]
    assert line.startswith("posebench: note: ")
    assert "lies rather than stands" in line


@pytest.mark.parametrize(
    ("signs", "note"),
    [
        ((1, -1, -1), "seems to stand upside down; if it does, turn it by --pose-up -y"),
        ((-1, 1, -1), "seems to stand backwards; if it does, turn it by --pose-turn 180"),
    ],
)
def test_bodies_that_stand_oddly_get_a_note(
    signs: tuple[int, ...], note: str, folder: Path, tmp_path: Path
) -> None:
    body = load_body(800)
    standing = pose_body(body, torch.tensor([20]), body.poses["unseen"][[0]])[0].double().numpy()
    (tmp_path / "odd.obj").write_text(obj_text(standing * signs, FACES))
    more = ("--pose", tmp_path / "odd.obj", "-o", tmp_path / "out.obj")
    done = call(words(folder, "transfer", *more))
    assert done["code"] == 0
    assert f"pose source {tmp_path / 'odd.obj'} {note}" in done["err"]


@pytest.mark.parametrize(
    ("more", "by", "error"),
    [
        ((), "fitted body, no network", 4e-4),
        (("--victim", "ffptnet"), "FF-PTNet, clean training on open data", 60e-4),
    ],
)
def test_a_transfer_follows_a_scan_in_another_files_units(
    more: tuple[str, ...], by: str, error: float, tmp_path: Path
) -> None:
    """A scan of 30,000 points with noise, in millimetres, far from its origin, -y up."""
    giver, person = posed(17, 40, 6890), posed(25, 300, 6890)
    faces = load_body(6890).faces.numpy()
    dense, _ = sample_surface(Surface(giver, faces), 30_000, RNG)
    frame = frame_for("mm", "-y")
    scan = frame.outwards(dense + RNG.normal(0, 0.003, dense.shape) + np.array([9.0, 0, 3]))
    np.savez(tmp_path / "scan.npz", points=scan)
    (tmp_path / "person.obj").write_text(obj_text(person, faces))
    words = ["transfer", "--pose", tmp_path / "scan.npz", "--pose-unit", "mm", "--pose-up", "-y"]
    words += [
        "--identity",
        tmp_path / "person.obj",
        "-o",
        tmp_path / "out.obj",
        "--json",
        "--strict",
    ]
    done = call([str(word) for word in [*words, *more]])
    assert done["code"] == 0, done["err"]
    facts = json.loads(done["out"])
    assert facts["victim"] == by
    assert facts["pose"]["seen"] == 6890
    assert facts["notes"] == facts["doubts"] == []
    metrics = facts["metrics"]
    assert metrics["result"]["chamfer"] < 0.06
    assert metrics["result"]["chamfer"] < 0.5 * metrics["identity, untouched"]["chamfer"]
    truth = posed(25, 40, 6890)
    found = read_mesh(tmp_path / "out.obj").points
    assert ((centred(found) - centred(truth)) ** 2).mean() < error
    assert ((centred(person) - centred(truth)) ** 2).mean() > 150e-4


def test_an_attack_of_centimetres_is_asked_about(folder: Path, tmp_path: Path) -> None:
    done = call(words(folder, "attack", "--save", tmp_path / "a.ply", "--eps", 5, "--norm", "linf"))
    assert done["code"] == 2
    assert "is it in metres? for centimetres write 0.05" in done["err"]


def test_attacks_that_move_no_points_are_refused(folder: Path, tmp_path: Path) -> None:
    more = ("--save", tmp_path / "a.ply", "--attack", "drop", "--norm", "drop", "--eps", 0.1)
    done = call(words(folder, "attack", *more))
    assert done["code"] == 2
    assert "norm 'drop' moves no points" in done["err"]
    assert not list(tmp_path.iterdir())
