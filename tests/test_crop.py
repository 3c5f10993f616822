"""Cutting bodies out of scans: floors, clusters and boxes, and the picture of what was cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posebench.benchmark.meshes.crop import Cut, crop_steps, cropped, find_floor, heights
from posebench.benchmark.meshes.files import MeshFile, read_mesh
from posebench.benchmark.meshes.frame import Frame
from posebench.benchmark.meshes.surface import Surface, sample_surface
from posebench.benchmark.reports.crop_picture import draw_cuts
from posebench.errors import InputError
from tests.bad_meshes import FACES, POINTS, call, obj_text

RNG = np.random.default_rng(0)
BODY = sample_surface(Surface(POINTS, FACES), 8000, RNG)[0]
LOW = BODY[:, 1].min()


def tilted(points: np.ndarray, degrees: float) -> np.ndarray:
    """As a camera sees it that looks down."""
    angle = np.radians(degrees)
    turn = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    return points @ np.array(turn).T


def floor(size: float, count: int = 8000) -> np.ndarray:
    """A noisy patch under the feet."""
    x, z = RNG.uniform(-size / 2, size / 2, (2, count))
    return np.stack([x, LOW + RNG.normal(0, 0.006, count), z], axis=1)


def cloud(*parts: np.ndarray) -> MeshFile:
    return MeshFile(Path("scan.ply"), np.concatenate(parts), None, Frame())


@pytest.mark.parametrize(("size", "degrees"), [(1.2, 0), (3, 0), (2, 12), (4, 25)])
def test_floor_is_found_and_cut_also_under_a_tilted_camera(size: float, degrees: float) -> None:
    ground = tilted(floor(size), degrees)
    scan = cloud(tilted(BODY, degrees), ground)
    plane = find_floor(scan.points)
    assert plane is not None
    assert np.abs(heights(ground, plane)).mean() < 0.01
    left, cut = cropped(scan, "floor,cluster")
    assert cut is not None
    assert cut.kept[8000:].mean() < 0.01
    assert cut.kept[:8000].mean() > 0.9
    np.testing.assert_array_equal(left.points, scan.points[cut.kept])
    assert "scan.ply: crop floor cut" in left.notes[0]


def test_a_body_alone_has_no_floor() -> None:
    assert find_floor(BODY) is None
    left, cut = cropped(cloud(BODY), "floor")
    assert cut is not None and cut.kept.all()  # noqa: PT018
    assert left.notes == ("scan.ply: crop floor found nothing to cut",)


def test_largest_cluster_is_kept_whatever_the_density() -> None:
    stray = RNG.uniform([0.9, 0, -1], [1.2, 0.3, -0.8], (300, 3))
    for body in (BODY, POINTS):  # 8000 points evenly, and 800 vertices
        cut = cropped(cloud(body, stray), "cluster")[1]
        assert cut is not None
        assert cut.kept.tolist() == [True] * len(body) + [False] * 300


def test_box_and_the_faces_that_are_left() -> None:
    whole = MeshFile(Path("a.obj"), POINTS, FACES, Frame())
    middle = float(np.median(POINTS[:, 1]))
    left, cut = cropped(whole, f"box:::{middle}:::")
    assert cut is not None
    np.testing.assert_array_equal(cut.kept, POINTS[:, 1] >= middle)
    assert left.faces is not None
    inside = cut.kept[FACES].all(axis=1)
    np.testing.assert_array_equal(left.points[left.faces], POINTS[FACES[inside]])
    assert left.rewrite is None
    assert cropped(whole, None) == (whole, None)


@pytest.mark.parametrize(
    "text", ["", "walls", "box", "box:1:2:3", "box:a:::::", "box:1:0::::", "floor,,cluster"]
)
def test_bad_crops_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="crop '"):
        crop_steps(text)


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"scan.ply: crop 'box:5:6::::' leaves 0 points"):
        cropped(cloud(BODY), "box:5:6::::")


def test_picture_shows_what_was_cut(tmp_path: Path) -> None:
    """More orange the more is cut off; nothing orange where nothing is."""
    from matplotlib.image import imread

    orange = []
    for kept in (np.ones(8000, dtype=bool), BODY[:, 1] > 0, BODY[:, 1] > 0.4):
        path = tmp_path / "cut.png"
        draw_cuts([Cut(cloud(BODY), kept)], path)
        picture = imread(path)[..., :3]
        near = np.abs(picture - np.array([0xD5, 0x5E, 0x00]) / 255).max(axis=2) < 0.2
        orange.append(int(near.sum()))
    assert orange[0] == 0
    assert orange[2] > orange[1] > 100


def test_transfer_cuts_the_scan_out_of_its_room(tmp_path: Path) -> None:
    """The result is that of the body alone, and without the crop it is refused with the hint."""
    (tmp_path / "me.obj").write_text(obj_text(POINTS, FACES))
    np.save(tmp_path / "room.npy", np.concatenate([BODY, floor(3)]))
    words = [
        "transfer",
        "--pose",
        str(tmp_path / "room.npy"),
        "--identity",
        str(tmp_path / "me.obj"),
    ]
    words += ["-o", str(tmp_path / "out.obj"), "--points", "500", "--victim", "ffptnet"]
    refused = call(words)
    assert refused["code"] == 2
    assert (
        "it seems to hold a floor: cut the body out of the scene with --pose-crop floor,"
        in refused["err"]
    )
    picture = tmp_path / "cut.png"
    done = call([*words, "--pose-crop", "floor", "--crop-picture", str(picture)])
    assert done["code"] == 0, done["err"]
    assert "crop floor cut 8," in done["err"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(read_mesh(tmp_path / "out.obj").points) == 800
