"""Mesh and cloud files against other libraries' readers and writers; order, units, axes, limits."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import open3d
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from posebench.benchmark.meshes import types as mesh_data
from posebench.benchmark.meshes.files import (
    READERS,
    WRITTEN,
    MeshFile,
    read_mesh,
    write_displaced,
    write_mesh,
)
from posebench.benchmark.meshes.frame import UPS, Stated, check_size, frame_for, lying
from posebench.benchmark.meshes.pcd import lzf_decompressed
from posebench.errors import InputError
from tests.bad_meshes import FACES, POINTS, glb, gltf, obj_text, pcd, ply_binary, ply_text

RNG = np.random.default_rng(0)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def same(found: MeshFile, points: np.ndarray, faces: np.ndarray | None, atol: float = 2e-7) -> None:
    np.testing.assert_allclose(found.points, points, rtol=0, atol=atol)
    if faces is None:
        assert found.faces is None
    else:
        np.testing.assert_array_equal(found.faces, faces)


# ---- other programs' files


@pytest.mark.parametrize("ending", ["obj", "ply", "off", "glb"])
def test_what_trimesh_wrote(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"body.{ending}"
    trimesh.Trimesh(POINTS, FACES, process=False).export(path)
    same(read_mesh(path), POINTS, FACES)


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_stl_is_a_soup_of_triangles_in_file_order(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "body.STL"
    write(path, trimesh.Trimesh(POINTS, FACES, process=False).export(file_type=kind))
    soup = POINTS[FACES.ravel()]
    same(read_mesh(path), soup, np.arange(len(soup)).reshape(-1, 3), atol=1e-6)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("ending", ["ply", "obj", "off"])
def test_what_open3d_wrote(ending: str, text: bool, tmp_path: Path) -> None:
    mesh = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(POINTS), open3d.utility.Vector3iVector(FACES)
    )
    mesh.vertex_colors = open3d.utility.Vector3dVector(RNG.random(POINTS.shape))
    mesh.compute_vertex_normals()
    path = tmp_path / f"body.{ending}"
    assert open3d.io.write_triangle_mesh(str(path), mesh, write_ascii=text)
    same(read_mesh(path), POINTS, FACES, atol=1e-5)  # it prints six digits


@pytest.mark.parametrize(("text", "compressed"), [(True, False), (False, False), (False, True)])
def test_pcd_that_open3d_wrote(text: bool, compressed: bool, tmp_path: Path) -> None:
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(POINTS))
    cloud.colors = open3d.utility.Vector3dVector(RNG.random(POINTS.shape))
    cloud.normals = open3d.utility.Vector3dVector(np.full(POINTS.shape, np.nan))
    path = tmp_path / "scan.pcd"
    open3d.io.write_point_cloud(str(path), cloud, write_ascii=text, compressed=compressed)
    same(read_mesh(path), POINTS, None, atol=1e-6)


def test_compressed_runs_that_copy_themselves() -> None:
    """Literal "ab", then 7 bytes from 2 back: the copy reads what it has just written."""
    assert lzf_decompressed(b"\x01ab" + bytes([(5 << 5) | 0, 1]), 9) == b"ababababa"
    long = b"\x00x" + bytes([7 << 5, 255, 0])  # 7 + 255 + 2 times the byte before
    assert lzf_decompressed(long, 265) == b"x" * 265


def test_numpy_arrays(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", vertices=POINTS, f=FACES.astype(np.uint16))
    same(read_mesh(tmp_path / "a.npz"), POINTS, FACES)
    np.save(tmp_path / "b.npy", np.asfortranarray(POINTS.astype(np.float32)))
    same(read_mesh(tmp_path / "b.npy"), POINTS, None)
    np.save(tmp_path / "c.npy", POINTS.reshape(20, 40, 3))
    same(read_mesh(tmp_path / "c.npy"), POINTS, None)


def test_text_cloud_with_more_columns_comments_and_nan_normals(tmp_path: Path) -> None:
    rows = [f"{x!r},{y!r} ; {z!r}  nan nan nan 255" for x, y, z in POINTS.tolist()]
    path = write(tmp_path / "scan.xyz", "// X Y Z\n# made by hand\n\n" + "\r\n".join(rows))
    same(read_mesh(path), POINTS, None)


# ---- obj

CHARACTER = """\
# a character, \\
by nobody here
mtllib skin.mtl
o Body
v {0} 1 0 0
v {1} 0.5 0.25 0.125
v {2}
vt 0 0
vt 1 0
vn 0 0 1
g left
usemtl skin
f 1/1/1 2/2/1 \\
 3/1/1
{more}
s 1
f -1//1 -2//1 -3//1
f 1 2 3 4
"""


def character() -> str:
    rows = [" ".join(map(repr, row)) for row in POINTS.tolist()]
    text = CHARACTER.format(*rows[:3], more="\n".join(f"v {row}" for row in rows[3:]))
    return text.replace("\n", "\r\n")


def test_obj_with_everything_keeps_order_and_cuts_polygons(tmp_path: Path) -> None:
    found = read_mesh(write(tmp_path / "a.obj", character()))
    faces = [[0, 1, 2], [799, 798, 797], [0, 1, 2], [0, 2, 3]]
    same(found, POINTS, np.array(faces), atol=0)


def test_rewritten_obj_differs_in_vertices_and_normals_alone(tmp_path: Path) -> None:
    source = read_mesh(write(tmp_path / "a.obj", character()), frame_for("cm", "z"))
    target = tmp_path / "b.obj"
    assert write_mesh(target, source.points + 1, source) == ()
    again = read_mesh(target, frame_for("cm", "z"))
    same(again, source.points + 1, source.faces, atol=1e-8)
    old, new = (p.read_bytes().decode().replace("\\\r\n", " ").splitlines() for p in
                (tmp_path / "a.obj", target))  # fmt: skip
    assert not [line for line in new if line.startswith("vn")]
    kept = [line for line in old if not line.startswith("vn")]
    pairs = [(a, b) for a, b in zip(kept, new, strict=True) if a != b]
    assert len(pairs) == 800 + 2
    assert pairs[0][1].endswith(" 1 0 0")  # the vertex's colour
    assert [b.split() for a, b in pairs if a.startswith("f")] == [
        ["f", "1/1", "2/2", "3/1"],
        ["f", "-1", "-2", "-3"],
    ]
    assert target.read_bytes().count(b"\r\n") == len(new)


# ---- ply


def ply_of_polygons(order: str) -> tuple[bytes, np.ndarray]:
    """Quads and triangles mixed, normals, a list before the vertices, and its triangles."""
    sign = "<" if "little" in order else ">"
    head = (
        f"ply\nformat {order} 1.0\ncomment TextureFile skin.png\nelement camera 2\n"
        "property list uchar short view\nelement vertex 800\nproperty uchar red\n"
        "property double x\nproperty double y\nproperty float nx\nproperty int16 z\n"
        "property float quality\nelement face 2\nproperty uchar flag\n"
        "property list uint8 uint vertex_index\nproperty list uchar float texcoord\nend_header\n"
    )
    if order == "ascii":
        rows = [f"7 {x!r} {y!r} nan {round(z)} 0.5" for x, y, z in (100 * POINTS).tolist()]
        body = "1 5\n0\n" + "\n".join(rows) + "\n1 4 0 1 2 3 0\n0 3 4 5 6 2 0.5 0.25\n"
        return (head + body).encode(), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])
    data = struct.pack(f"{sign}BhB", 1, 5, 0)
    for x, y, z in (100 * POINTS).tolist():
        data += struct.pack(f"{sign}Bddfhf", 7, x, y, float("nan"), round(z), 0.5)
    data += struct.pack(f"{sign}BB4IB", 1, 4, 0, 1, 2, 3, 0)
    data += struct.pack(f"{sign}BB3IB2f", 0, 3, 4, 5, 6, 2, 0.5, 0.25)
    return head.encode() + data, np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_with_everything(order: str, tmp_path: Path) -> None:
    content, faces = ply_of_polygons(order)
    found = read_mesh(write(tmp_path / "a.ply", content), frame_for("cm"))
    wanted = np.column_stack([POINTS[:, :2], np.round(100 * POINTS[:, 2]) / 100])
    same(found, wanted, faces)
    moved = found.points + 0.001
    write_mesh(tmp_path / "b.ply", moved, found)
    same(read_mesh(tmp_path / "b.ply", frame_for("cm")), moved, faces)
    new = (tmp_path / "b.ply").read_bytes()
    head, rest = new.split(b"end_header\n", 1)
    assert b"nx" not in head
    assert head.replace(b"property float z", b"property int16 z").splitlines() == [
        line for line in content.split(b"end_header\n")[0].splitlines() if b"nx" not in line
    ]
    assert rest.endswith(content[-20:])
    if order == "ascii":
        assert rest.splitlines()[2].split()[0::4] == [b"7", b"0.5"]


# ---- glb


def dressed() -> trimesh.Scene:
    """A body with texture and a hat, each placed by the scene."""
    body = trimesh.Trimesh(POINTS * 100, FACES, process=False)
    image = Image.fromarray(RNG.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    body.visual = trimesh.visual.TextureVisuals(uv=RNG.random((800, 2)), image=image)
    scene = trimesh.Scene()
    scene.add_geometry(body, transform=np.diag([0.01, 0.01, 0.01, 1.0]))
    up = trimesh.transformations.translation_matrix([0, 1, 0])
    scene.add_geometry(trimesh.creation.box(extents=(0.2, 0.2, 0.2)), transform=up)
    return scene


def test_glb_scene_is_placed_and_keeps_its_texture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.glb", dressed().export(file_type="glb"))
    found = read_mesh(path)
    assert len(found.points) == 808
    np.testing.assert_allclose(found.points[:800], POINTS, atol=1e-6)
    assert found.points[800:, 1].min() == pytest.approx(0.9, abs=1e-6)
    write_mesh(tmp_path / "b.glb", found.points * 0.5, found)
    same(read_mesh(tmp_path / "b.glb"), found.points * 0.5, found.faces)
    old, new = (trimesh.load_scene(tmp_path / f"{name}.glb", process=False) for name in "ab")
    for a, b in zip(old.geometry.values(), new.geometry.values(), strict=True):
        np.testing.assert_array_equal(a.faces, b.faces)
    skin, other = (next(iter(scene.geometry.values())).visual for scene in (old, new))
    np.testing.assert_allclose(skin.uv, other.uv, atol=1e-6)
    pixels = [np.asarray(v.material.baseColorTexture) for v in (skin, other)]
    np.testing.assert_array_equal(*pixels)


def test_glb_of_instances_is_read_at_every_place(tmp_path: Path) -> None:
    data = np.concatenate([POINTS, POINTS[:1]]).astype("<f4").tobytes()
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [0, 0.5, 0]}]
    header = gltf(801, nodes=nodes, scenes=[{"nodes": [0, 1]}])
    found = read_mesh(write(tmp_path / "a.glb", glb(header, data)))
    assert len(found.points) == 2 * 801
    low, high = sorted((found.points[:801], found.points[801:]), key=lambda part: part[0, 1])
    np.testing.assert_allclose(low, np.concatenate([POINTS, POINTS[:1]]), atol=1e-6)
    np.testing.assert_allclose(high, low + np.array([0, 0.5, 0]), atol=1e-6)


# ---- writing


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("ending", WRITTEN)
def test_every_written_format_is_read_back(ending: str, up: str, tmp_path: Path) -> None:
    frame = frame_for("cm", up, 30.0)
    like = MeshFile(tmp_path / "nothing.pcd", POINTS, FACES, frame)
    path = tmp_path / f"out{ending}"
    write_mesh(path, POINTS, like)
    again = read_mesh(path, None if ending == ".glb" else frame)
    points, faces = (POINTS[FACES.ravel()], None) if ending == ".stl" else (POINTS, FACES)
    if ending in (".npy", ".xyz"):
        assert again.faces is None
    elif faces is not None:
        np.testing.assert_array_equal(again.faces, faces)
    np.testing.assert_allclose(again.points, points, atol=1e-6)


def test_conversion_says_what_it_leaves_behind(tmp_path: Path) -> None:
    source = read_mesh(write(tmp_path / "a.obj", character()))
    (note,) = write_mesh(tmp_path / "b.ply", source.points, source)
    assert "textures stay" in note
    cloud = MeshFile(tmp_path / "a.xyz", POINTS, None, frame_for())
    with pytest.raises(InputError, match=r"no faces.*\.ply"):
        write_mesh(tmp_path / "b.obj", POINTS, cloud)


def test_displaced_clouds_as_other_programs_see_them(tmp_path: Path) -> None:
    moved = RNG.random(800).astype(np.float32)
    colours = RNG.integers(0, 255, (800, 3), dtype=np.uint8)
    write_displaced(tmp_path / "a.ply", POINTS, FACES, moved, colours)
    seen = open3d.t.io.read_point_cloud(str(tmp_path / "a.ply")).point
    np.testing.assert_array_equal(seen["displacement"].numpy()[:, 0], moved)
    np.testing.assert_array_equal(seen["colors"].numpy(), colours)
    mesh = trimesh.load_mesh(tmp_path / "a.ply", process=False)
    np.testing.assert_array_equal(mesh.faces, FACES)
    write_displaced(tmp_path / "b.npz", POINTS, None, moved, colours)
    with np.load(tmp_path / "b.npz") as arrays:
        assert sorted(arrays) == ["displacement", "points"]
    far = POINTS + np.array([4e5, 5e6, 0])  # national grids; float32 would lose half a metre
    write_displaced(tmp_path / "c.ply", far, None, moved, colours)
    same(read_mesh(tmp_path / "c.ply"), far, None, atol=1e-9)


# ---- units and axes


@pytest.mark.parametrize("up", UPS)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(turn=st.floats(-720, 720), unit=st.sampled_from(["m", "dm", "cm", "mm", "0.0254"]))
def test_frames_turn_and_scale_and_go_back(up: str, turn: float, unit: str) -> None:
    frame = frame_for(unit, up, turn)
    rotation = np.array(frame.rotation)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(frame.outwards(frame.inwards(POINTS)), POINTS, atol=1e-9)
    axis = "xyz".index(up[-1])
    sky = np.eye(3)[axis] * (-1 if up.startswith("-") else 1)
    np.testing.assert_allclose(frame.inwards(sky[None]) / frame.unit, [[0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("up", "left", "front"),
    [("y", "x", "z"), ("z", "x", "-y"), ("-y", "x", "-z"), ("-z", "x", "y"), ("x", "-y", "z")],
)
def test_where_a_body_is_taken_to_face(up: str, left: str, front: str) -> None:
    """Blender's bodies face -y under z; a person before a depth camera faces -z under -y."""

    def vector(axis: str) -> np.ndarray:
        return np.eye(3)["xyz".index(axis[-1])] * (-1 if axis.startswith("-") else 1)

    file = np.stack([vector(left), vector(up), vector(front)])
    np.testing.assert_allclose(frame_for("m", up).inwards(file), np.eye(3), atol=1e-12)


def test_turn_is_to_the_bodys_left() -> None:
    front, left = np.array([[0.0, 0, 1]]), np.array([[1.0, 0, 0]])
    np.testing.assert_allclose(frame_for(turn=90.0).inwards(front), left, atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "unit", "hint"),
    [
        (100, "m", "--unit cm it would be 1.28 m"),
        (1000, "m", "--unit mm it would be 1.28 m"),
        (10, "m", "--unit dm"),
        (1, "cm", "--unit m it"),
        (3.5, "m", "--unit 0.3048"),
        (39.37, "m", "--unit in it would be 1.28 m"),
        (0.1, "m", "metres per unit"),
    ],
)
def test_wrong_unit_names_the_one_that_fits(scale: float, unit: str, hint: str) -> None:
    frame = frame_for(unit)
    points = frame.inwards(scale * POINTS)
    extent = f"{np.ptp(points, axis=0).max():.4g} m large"
    with pytest.raises(InputError) as error:
        check_size(points, "it", frame.unit, Stated(unit))
    assert extent in str(error.value)
    assert hint in str(error.value)


def test_lying_body_is_told_from_a_standing_one() -> None:
    assert lying(POINTS) is None
    assert "lies rather than stands" in (lying(POINTS[:, [0, 2, 1]]) or "")


@pytest.mark.parametrize("bad", [{"unit": "ell"}, {"unit": "0"}, {"unit": "nan"}, {"unit": "-1"},
                                 {"up": "w"}, {"up": "+y"}, {"turn": float("inf")}])  # fmt: skip
def test_bad_frames(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        frame_for(**bad)  # type: ignore[arg-type]


# ---- gaps and limits


def frame_of_a_camera() -> np.ndarray:
    """A depth camera's frame: a body's points among pixels that saw nothing."""
    grid = np.full((48, 64, 3), np.nan, np.float32)
    grid.reshape(-1, 3)[:800] = POINTS
    return grid


def test_pixels_without_measurement_are_left_out_and_noted(tmp_path: Path) -> None:
    grid = frame_of_a_camera()
    np.save(tmp_path / "nan.npy", grid)
    np.save(tmp_path / "zero.npy", np.nan_to_num(grid))
    for name in ("nan", "zero"):
        found = read_mesh(tmp_path / f"{name}.npy", gaps=True)
        same(found, POINTS, None)
        assert found.notes == (
            "2,272 of 3,072 points hold no measurement (NaN or 0 0 0) and are left out",
        )
    with pytest.raises(InputError, match="point 800 is nan nan nan"):
        read_mesh(tmp_path / "nan.npy")
    path = write(
        tmp_path / "mesh.ply", ply_binary(np.where(POINTS[3] == POINTS, np.nan, POINTS), FACES)
    )
    with pytest.raises(InputError, match="nan"):
        read_mesh(path, gaps=True)


def test_one_point_at_the_origin_is_a_point(tmp_path: Path) -> None:
    points = POINTS.copy()
    points[5] = 0
    write(tmp_path / "a.pcd", pcd(points))
    found = read_mesh(tmp_path / "a.pcd", gaps=True)
    same(found, points, None)
    assert found.notes == ()


@pytest.mark.parametrize("ending", READERS)
def test_more_points_than_the_limit(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader knows the limits; lowered here, so that no large file is needed."""
    for module in ("types", "obj", "pcd", "ply_header", "points", "trimesh_io"):
        monkeypatch.setattr(f"posebench.benchmark.meshes.{module}.MAX_POINTS", 500, raising=False)
    path = tmp_path / f"a{ending}"
    if ending == ".pcd":
        write(path, pcd(POINTS))
    else:
        write_mesh(path, POINTS, MeshFile(Path("a.none"), POINTS, FACES, frame_for()))
    with pytest.raises(InputError, match="at most 500 are read"):
        read_mesh(path)
    assert mesh_data.MAX_POINTS == 500


def test_more_triangles_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("types", "obj", "ply"):
        monkeypatch.setattr(f"posebench.benchmark.meshes.{module}.MAX_FACES", 1000)
    for name, content in {
        "a.obj": obj_text(POINTS, FACES),
        "a.ply": ply_text(POINTS, FACES),
        "b.ply": ply_binary(POINTS, FACES),
    }.items():
        with pytest.raises(InputError, match=r"1,[0-9]{3} triangles; at most 1,000"):
            read_mesh(write(tmp_path / name, content))


def test_trimesh_does_not_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Normals that are no numbers make trimesh write a traceback to stderr."""
    text = trimesh.Trimesh(POINTS, FACES, process=False).export(file_type="stl_ascii")
    path = write(tmp_path / "a.stl", text.replace("normal ", "normal x"))
    assert len(read_mesh(path).points) == 3 * len(FACES)
    assert capfd.readouterr().err == ""


def test_arrays_are_read_without_running_code(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}] * 200, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="holds object, not numbers"):
        read_mesh(write(tmp_path / "a.npy", stream.getvalue()))


def test_json_of_a_glb_is_checked_before_trimesh_sees_it(tmp_path: Path) -> None:
    header = json.dumps(gltf(10**9)).encode()
    with pytest.raises(InputError, match="promise more numbers than the file can hold"):
        read_mesh(write(tmp_path / "a.glb", glb(header, bytes(12 * 801))))
