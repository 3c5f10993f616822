"""How bodies stand in files: what is refused, what is noted, and the option that mends it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posebench.benchmark.data.body import load_body, pose_body
from posebench.benchmark.data.facing import fitting_axis, half_of, soles_ahead, stands_oddly
from posebench.benchmark.data.standing import checked, on_floor
from posebench.benchmark.meshes.files import MeshFile
from posebench.benchmark.meshes.frame import FrameOptions, Stated, frame_for
from posebench.benchmark.meshes.surface import Surface, sample_surface
from posebench.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

RNG = np.random.default_rng(0)
POSE = FrameOptions().of_pose


def standing(number: int, pose: torch.Tensor) -> np.ndarray:
    body = load_body(800)
    return pose_body(body, torch.tensor([16 + number]), pose[None])[0].double().numpy()


def people() -> list[np.ndarray]:
    """New people in T- and A-poses and in new poses."""
    arms = torch.zeros(2, 24, 3)
    arms[1, 16, 2], arms[1, 17, 2] = -0.7, 0.7
    poses = [*arms, *load_body(800).poses["unseen"][::50]]
    return [standing(number, pose) for number, pose in enumerate(poses)]


BODIES = people()
T_POSE = BODIES[0]


def notes(points: np.ndarray, stated: Stated = POSE) -> tuple[str, ...]:
    frame = stated.frame()
    mesh = MeshFile(Path("a.ply"), points, None, frame)
    return checked(points, mesh, "pose source", stated)


def test_bodies_that_stand_well_get_no_note() -> None:
    assert [notes(body) for body in BODIES] == [()] * len(BODIES)


@pytest.mark.parametrize(
    ("turn", "hint"),
    [
        ([1, -1, -1], "upside down; if it does, turn it by --pose-up -y"),
        ([-1, -1, 1], "upside down; if it does, turn it by --pose-up -y"),
        ([-1, 1, -1], "backwards; if it does, turn it by --pose-turn 180"),
    ],
)
def test_turned_bodies_get_the_option_that_turns_them_back(turn: list[int], hint: str) -> None:
    found = [notes(body * turn) for body in BODIES]
    assert sum(hint in " ".join(each) for each in found) >= len(BODIES) - 1, found
    assert f"pose source a.ply seems to stand {hint}" in " ".join(found[2])


def test_headings_to_the_side_are_named_with_their_turn() -> None:
    left = T_POSE[:, [2, 1, 0]] * [1, 1, -1]
    assert "facing its left; if it does, turn it by --pose-turn -90" in notes(left)[0]
    right = T_POSE[:, [2, 1, 0]] * [-1, 1, 1]
    assert "facing its right; if it does, turn it by --pose-turn 90" in notes(right)[0]
    assert stands_oddly(frame_for("m", "y", -90.0).inwards(left)) is None
    said = FrameOptions(turn=90.0).of_identity
    assert "turn it by --turn 180" in notes(right, said)[0]


def test_feet_point_forward() -> None:
    assert soles_ahead(T_POSE) > 0.02
    assert soles_ahead(T_POSE * [-1, 1, -1]) < -0.02


def test_inches_are_named_and_the_unit_that_comes_nearest() -> None:
    for unit, metres in (("in", 0.0254), ("cm", 0.01), ("mm", 0.001)):
        with pytest.raises(InputError, match=rf"--pose-unit {unit} it would be 1\.\d\d m"):
            notes(T_POSE / metres)
    assert frame_for("in").unit == 0.0254


@pytest.mark.parametrize("axis", ["z", "-z", "x", "-x"])
def test_a_body_that_lies_is_refused_with_its_axis(axis: str) -> None:
    tall = T_POSE * [0.5, 1, 1]  # a T-pose's arms would be as long as it is high
    file = frame_for("m", axis).outwards(tall)
    assert fitting_axis(file, frame_for())[0] == axis
    with pytest.raises(InputError, match=f"name its up axis, --pose-up {axis} fits best"):
        notes(file)
    (note,) = notes(file, FrameOptions(up="y").of_pose)
    assert "trained on standing bodies" in note


def test_half_a_body_is_noted() -> None:
    found = {"upper": 0, "lower": 0, "left": 0, "right": 0}
    for body in BODIES[2:]:
        middle = (body.min(axis=0) + body.max(axis=0)) / 2
        for half, (axis, side) in {
            "upper": (1, 1), "lower": (1, -1), "left": (0, 1), "right": (0, -1)
        }.items():  # fmt: skip
            part = body[side * (body - middle)[:, axis] > 0]
            found[half] += half_of(part) == half
    assert [half_of(body) for body in BODIES] == [None] * len(BODIES)
    assert min(found.values()) >= 3, found


def test_a_floor_is_noted_and_a_lying_body_is_none() -> None:
    surface = Surface(T_POSE, load_body(800).faces.numpy())
    body = sample_surface(surface, 8000, RNG)[0]
    x, z = RNG.uniform(-0.6, 0.6, (2, 8000))
    ground = np.stack([x, np.full(8000, body[:, 1].min()), z], axis=1)
    (note,) = notes(np.concatenate([body, ground]))
    assert "seems to hold a floor" in note
    assert "cut it away with --pose-crop floor" in note
    assert not on_floor(body)
    assert not on_floor(body[:, [0, 2, 1]])
