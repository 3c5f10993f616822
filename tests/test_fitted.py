"""Transfer by fitted bodies: closed forms of reposing, recovered poses, what must not matter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.body import load_body, pose_body
from posebench.benchmark.data.body_fit import precise, vertex_normals
from posebench.benchmark.data.mannequin import mannequins
from posebench.benchmark.reports.fit_table import Row, line
from posebench.benchmark.retarget.figure_descent import Cloud
from posebench.benchmark.retarget.figure_fit import fit_figure
from posebench.benchmark.retarget.figure_starts import starts
from posebench.benchmark.retarget.figure_turns import turned_starts
from posebench.benchmark.retarget.figures import Figures
from posebench.benchmark.retarget.fitted import POOR, FittedTransfer, outward_normals
from posebench.benchmark.retarget.repose import nearest_rotations, reposed
from posebench.rng import generator_for
from tests.bad_meshes import FACES, POINTS, call, obj_text

pytestmark = pytest.mark.usefixtures("one_thread")

BODY = load_body(800)
PRECISE = precise(800, torch.device("cpu"))


def figure(pose: int, *, place: float = 0.0) -> Figures:
    """The mean person in a pose of training."""
    turned = BODY.poses["seen"][[pose]].double()
    return Figures.of(turned, torch.zeros(1).double(), torch.full((1, 3), place).double())


def posed(person: int, split: str, pose: int) -> torch.Tensor:
    return pose_body(BODY, torch.tensor([person]), BODY.poses[split][[pose]])[0].double()


# ---- reposing


def test_the_same_figure_leaves_a_mesh_where_it_is() -> None:
    mesh = posed(20, "seen", 3)
    found = reposed(Cloud(mesh, vertex_normals(mesh, BODY.faces)), figure(3), figure(3))
    torch.testing.assert_close(found, mesh, atol=1e-12, rtol=0)


def test_a_turn_of_the_whole_figure_turns_the_whole_mesh() -> None:
    """Root turned by a right angle about y and moved: clothes far off the body go rigidly along."""
    here, there = figure(3), figure(3, place=0.5)
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]).double()
    here.pose[0, 0] = 0.0
    there.pose[0, 0] = torch.tensor([0.0, torch.pi / 2, 0])
    mesh = posed(20, "seen", 3) * 1.2
    found = reposed(Cloud(mesh, None), here, there)
    offset = found - mesh @ quarter.T
    torch.testing.assert_close(offset, offset[:1].expand(len(offset), -1), atol=1e-6, rtol=0)


def test_nearest_rotations_are_rotations_and_leave_those_alone() -> None:
    """Also of a reflection; no rotation of a thousand lies nearer."""
    made = torch.randn((5, 3, 3), generator=generator_for(0, "matrices"), dtype=torch.float64)
    made[0] = torch.diag(torch.tensor([1.0, 1, -1]))
    found = nearest_rotations(made)
    eye = torch.eye(3).double().expand(5, 3, 3)
    torch.testing.assert_close(found @ found.mT, eye)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(5).double())
    torch.testing.assert_close(nearest_rotations(found), found)
    random = torch.randn((1000, 3, 3), generator=generator_for(1, "m"), dtype=torch.float64)
    others = nearest_rotations(random)
    nearest = (others[:, None] - made).square().sum(dim=(2, 3)).amin(dim=0)
    assert ((found - made).square().sum(dim=(1, 2)) <= nearest + 1e-12).all()


# ---- fitting


def test_starts_know_training_poses_of_other_sizes() -> None:
    """The mean person 20 % larger and elsewhere: the first start is that very pose and size."""
    large = Figures.of(
        BODY.poses["seen"][[7]].double(), torch.tensor([0.18]).double(), torch.ones(1, 3).double()
    )
    first = starts(large.vertices(PRECISE)[0], 1)
    torch.testing.assert_close(first.pose, large.pose)
    torch.testing.assert_close(first.size, large.size, atol=0.02, rtol=0)
    torch.testing.assert_close(first.place, large.place, atol=0.03, rtol=0)


def test_a_fit_finds_a_new_person_in_a_new_pose() -> None:
    """Nearer than a centimetre on average, and the vertices that correspond within some."""
    goal = posed(25, "unseen", 11)
    normals = vertex_normals(goal, BODY.faces)
    found = fit_figure(Cloud(goal, normals))
    assert found.gap < 0.006
    error = (found.figure.vertices(PRECISE)[0] - goal).norm(dim=1)
    assert error.mean() < 0.03
    moved = fit_figure(Cloud(goal + torch.tensor([3.0, -1, 2]), normals))
    torch.testing.assert_close(moved.figure.pose, found.figure.pose, atol=1e-6, rtol=0)


def test_turned_starts_know_training_poses_in_any_direction() -> None:
    """Head down and facing away: the first start is that very pose, in its place."""
    turn = quaternions.from_axis_angle(torch.tensor([[0.0, 0.75 * torch.pi, 0]]).double())
    over = quaternions.from_axis_angle(torch.tensor([[torch.pi, 0.0, 0]]).double())
    pose = BODY.poses["seen"][[8]].double()
    root = quaternions.from_axis_angle(pose[:, 0])
    turned = pose.clone()
    both = quaternions.multiply(turn, over)
    turned[:, 0] = quaternions.to_axis_angle(quaternions.multiply(both, root))
    goal = Figures.of(turned, torch.tensor([0.18]).double(), torch.ones(1, 3).double())
    points = goal.vertices(PRECISE)[0]
    first = turned_starts(points, 1)
    torch.testing.assert_close(first.pose, turned, atol=1e-6, rtol=0)
    torch.testing.assert_close(first.place, goal.place, atol=0.03, rtol=0)
    assert (first.vertices(PRECISE)[0] - points).norm(dim=1).mean() < 0.03


def test_a_fit_finds_a_body_that_faces_away() -> None:
    """As near as one that faces +z, with the limbs of its own left and right."""
    plain = posed(25, "unseen", 11)
    away = plain * torch.tensor([-1.0, 1, -1])
    found = fit_figure(Cloud(away, vertex_normals(away, BODY.faces)))
    assert found.gap < 0.006
    assert (found.figure.vertices(PRECISE)[0] - away).norm(dim=1).mean() < 0.03


def test_normals_look_outwards_whichever_way_faces_turn() -> None:
    plain = outward_normals(POINTS, FACES)
    torch.testing.assert_close(outward_normals(POINTS, FACES[:, ::-1].copy()), plain)
    heavy = np.abs(POINTS[:, 2] - POINTS[:, 2].mean()).argmax()
    assert (plain[heavy] * torch.from_numpy(POINTS - POINTS.mean(axis=0))[heavy]).sum() > 0


def test_every_part_of_a_mannequin_is_rigid_and_goes_with_its_bone() -> None:
    """Closed, as tall as its person, and each capsule keeps its edges in any pose."""
    puppets = mannequins(BODY)
    person = torch.tensor([20])
    rest, moved = (
        pose_body(puppets, person, pose)[0]
        for pose in (torch.zeros(1, 24, 3), BODY.poses["wide"][[5]])
    )
    assert trimesh.Trimesh(moved, puppets.faces, process=False).is_watertight
    edges = [
        each[puppets.faces].roll(1, dims=1).sub(each[puppets.faces]).norm(dim=2)
        for each in (rest, moved)
    ]
    torch.testing.assert_close(*edges, atol=1e-5, rtol=0)
    height = posed(20, "wide", 5)[:, 1].max() - posed(20, "wide", 5)[:, 1].min()
    assert abs(moved[:, 1].max() - moved[:, 1].min() - height) < 0.1


# ---- the command


def test_poor_fits_are_doubted() -> None:
    points = np.zeros((1, 3))
    assert not list(FittedTransfer(points, POOR, POOR).doubts())
    (doubt,) = FittedTransfer(points, 0.01, 0.001).doubts()
    assert doubt.startswith("no body fits the pose source well: the best lies 1.0 cm from it")


@pytest.mark.parametrize("more", [["--clean"], ["--regime", "open"], ["--weights", "a"]])
def test_options_of_networks_need_one(more: list[str], tmp_path: Path) -> None:
    (tmp_path / "me.obj").write_text(obj_text(POINTS, FACES))
    files = ["--pose", str(tmp_path / "me.obj"), "--identity", str(tmp_path / "me.obj")]
    done = call(["transfer", *files, "-o", str(tmp_path / "out.obj"), *more])
    assert done["code"] == 2
    assert "name the network, as in --victim ffptnet" in done["err"]


def test_a_mesh_takes_a_pose_and_its_seams_stay_closed(tmp_path: Path) -> None:
    """Every vertex twice, faces between both: copies end at the same place, to the bit."""
    body = load_body(1700)
    people = [
        pose_body(body, torch.tensor([person]), body.poses[split][[pose]])[0].double().numpy()
        for person, split, pose in ((17, "wide", 5), (28, "unseen", 40), (28, "wide", 5))
    ]
    faces = body.faces.numpy()
    twice = np.concatenate([people[1], people[1]])
    (tmp_path / "pose.obj").write_text(obj_text(people[0], faces))
    (tmp_path / "me.obj").write_text(obj_text(twice, np.concatenate([faces, faces + 1700])))
    words = ["transfer", "--pose", str(tmp_path / "pose.obj"), "--json"]
    done = call([*words, "--identity", str(tmp_path / "me.obj"), "-o", str(tmp_path / "out.obj")])
    assert (done["code"], done["err"]) == (0, "")
    facts = json.loads(done["out"])
    assert facts["victim"] == "fitted body, no network"
    assert facts["doubts"] == []
    assert 0 < facts["fitted"]["pose"] < POOR
    lines = (tmp_path / "out.obj").read_text().splitlines()
    found = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=float)
    np.testing.assert_array_equal(found[:1700], found[1700:])
    difference = found[:1700] - people[2]
    difference -= difference.mean(axis=0)
    assert (difference**2).mean() < 4e-4


def test_the_table_sets_doubted_pairs_apart() -> None:
    rows = [Row(1e-4, 5e-4, 2e-4, doubted=False), Row(9e-4, 7e-4, 4e-4, doubted=True)]
    assert line("anny/seen", rows)[1:] == ["5.0 (5.0)", "1.0 (1)", "6.0 (6.0)", "3.0 (3.0)"]
    assert line("anny/seen", rows[1:])[2] == "-"
