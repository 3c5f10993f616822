"""Meshes of data sets and their converted cache: order kept, resumable, wrong files named."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posebench.benchmark.data import mesh_cache
from posebench.benchmark.data.mesh_cache import cache_folder, open_meshes
from posebench.benchmark.meshes.files import read_data
from posebench.benchmark.meshes.obj import any_obj, plain_obj
from posebench.benchmark.meshes.types import MeshData
from posebench.errors import InputError
from tests.forged_data import FACES, body, obj_text, ply_bytes, write_meshes

POINTS = body(3, 5)
PLAIN = obj_text(POINTS)


def interleaved() -> str:
    """Vertices, colours, normals, texture and comments in any order; faces as a/b/c and a//c."""
    vertices = [f"v {x} {y} {z} 0.1 0.2 0.3\nvn 0 0 1\nvt 0 0" for x, y, z in POINTS.tolist()]
    first, *others = (FACES + 1).tolist()
    corners = [" ".join(f"{a}/{a}/{a}" for a in face) for face in others]
    head = ["# made by hand", "mtllib none.mtl", "o body", *vertices[:5], "s off"]
    middle = ["f " + " ".join(f"{a}//{a}" for a in first), *vertices[5:], "usemtl x"]
    return "\r\n".join([*head, *middle, *(f"f {line}" for line in corners)])


FORMS: dict[str, tuple[str, bytes]] = {
    "published": ("obj", PLAIN.encode()),
    "without last line break": ("obj", PLAIN.rstrip("\n").encode()),
    "windows": ("obj", PLAIN.replace("\n", "\r\n").encode()),
    "interleaved": ("obj", interleaved().encode()),
    **{
        form: ("ply", ply_bytes(POINTS, form=form))
        for form in ("ascii", "binary_little_endian", "binary_big_endian")
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_mesh(form: str, tmp_path: Path) -> None:
    suffix, raw = FORMS[form]
    (tmp_path / f"a.{suffix}").write_bytes(raw)
    mesh = read_data(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(mesh.points, POINTS, rtol=0, atol=0 if suffix == "obj" else 1e-7)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_point_cloud_has_no_faces(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_bytes(ply_bytes(POINTS, None, "binary_little_endian"))
    mesh = read_data(tmp_path / "a.ply")
    assert (len(mesh.points), mesh.faces) == (len(POINTS), None)


ODD = {
    "a colour": ("v 0.1", "v 0.1"),
    "relative": ("f 1 2 3", "f -12 -11 -10"),
    "texture": ("f 1 2 3", "f 1/4/7 2/5/8 3/6/9"),
    "normals": ("f 1 2 3", "f 1//7 2//8 3//9"),
    "quad": ("f 1 2 3", "f 1 2 3 4"),
    "underscore": ("v 0", "v 1_0"),
    "two on a line": ("\nv ", " 7\rv "),
    "faces on a line": ("\nf 3", " f 3"),
    "a letter in a line": ("f 3 4 5", "f 3 f 5"),
    "continued": ("f 3 4 5", "f 3 \\\n 4 5"),
    "blank lines": ("\nf 3", "\n\nf 3"),
    "vertex after": ("f 11", "v 0 0 0\nf 11"),
    "comment": ("\nf 3", "\n# x\nf 3"),
    "half a corner": ("f 1 2 3", "f 1 2 2.5"),
    "short vertex": ("v 0", "v\nv 0"),
    "last line cut": ("f 10 11 12\n", "f 10 11"),
    "vast": ("f 1 2 3", "f 1 2 99999999999999999999"),
}


def read_by(reader: Callable[[bytes], MeshData | None], raw: bytes) -> Any:
    """Points and faces as lists, or that the file was refused."""
    try:
        mesh = reader(raw)
    except InputError:
        return "refused"
    return None if mesh is None else (mesh.points.tolist(), np.asarray(mesh.faces).tolist())


def test_plain_files_are_read_at_once_and_as_by_lines() -> None:
    for raw in (PLAIN.encode(), PLAIN.replace("\n", "\r\n").encode(), PLAIN.rstrip().encode()):
        assert read_by(plain_obj, raw) == read_by(any_obj, raw) != "refused"


def test_faces_of_two_files_are_not_one_array() -> None:
    one, two = plain_obj(PLAIN.encode()), plain_obj(PLAIN.encode())
    assert one is not None
    assert two is not None
    assert one.faces is not None
    one.faces[0] = 0
    np.testing.assert_array_equal(two.faces, FACES)


@pytest.mark.parametrize("case", ODD)
def test_odd_files_are_read_as_by_lines_or_left_to_that(case: str) -> None:
    raw = PLAIN.replace(*ODD[case], 1).encode()
    assert read_by(plain_obj, raw) in (None, read_by(any_obj, raw))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    at=st.floats(0, 1, exclude_max=True),
    junk=st.text("vf 0123456789.-+eE_/\\\r\n\t#nai", max_size=4),
    lost=st.integers(0, 4),
)
def test_damaged_files_are_read_as_by_lines(at: float, junk: str, lost: int) -> None:
    place = int(at * len(PLAIN))
    raw = (PLAIN[:place] + junk + PLAIN[place + lost :]).encode()
    assert read_by(plain_obj, raw) in (None, read_by(any_obj, raw))


BINARY = ply_bytes(POINTS, form="binary_little_endian")
BAD: dict[str, tuple[str, bytes, str]] = {
    "empty": ("obj", b"", "an empty file"),
    "no vertices": ("obj", b"f 1 2 3\n", "not there|no vertices"),
    "cut in a vertex": ("obj", PLAIN[:150].encode(), "number|3 coordinates"),
    "cut before a face's end": ("obj", (PLAIN + "f 1 2").encode(), "needs 3 corners"),
    "text": ("obj", b"v a b c\nf 1 2 3\n", "line 1: 'a' is no number"),
    "nan": ("obj", b"v nan 0 0\nv 0 1 0\nv 1 0 0\nf 1 2 3\n", "not finite"),
    "infinite": ("obj", b"v 1e999 0 0\nv 0 1 0\nv 1 0 0\nf 1 2 3\n", "not finite"),
    "face beyond": ("obj", PLAIN.replace("f 1 2 3", "f 1 2 13").encode(), "not there"),
    "face from zero": ("obj", PLAIN.replace("f 1 2 3", "f 0 2 3").encode(), "not there"),
    "vast face": ("obj", PLAIN.replace("f 1 2 3", "f 1 2 1e300").encode(), "no whole number"),
    "half a face number": ("obj", PLAIN.replace("f 1 2 3", "f 1 2 2.5").encode(), "no whole num"),
    "binary junk": ("obj", bytes(range(256)), "no vertices"),
    "ply without header": ("ply", PLAIN.encode(), "does not start with 'ply'"),
    "ply cut": ("ply", BINARY[:-5], "cut off|ends inside"),
    "ply cut in vertices": ("ply", BINARY[: BINARY.index(b"end_header") + 60], "cut off"),
    "ascii ply cut": ("ply", ply_bytes(POINTS)[:-50], "cut off|shorter than"),
    "ply of a billion": ("ply", BINARY.replace(b"vertex 12", b"vertex 99999999999"), "cut off"),
    "ply of strings": ("ply", BINARY.replace(b"uchar red", b"string red"), "no property"),
    "ply of lists": ("ply", BINARY.replace(b"uchar red", b"list uchar int red"), "no lists"),
    "ply without z": ("ply", BINARY.replace(b"float z", b"float w"), "columns x, y and z"),
    "ply format": ("ply", BINARY.replace(b"binary_little_endian", b"zipped"), "no known format"),
    "ply lines": ("ply", BINARY.replace(b"\x03\0\0\0\0\1", b"\x02\0\0\0\0\1"), "."),
    "long line": ("obj", b"v " + b"1 " * 2**20, "longer than"),
    "too large": ("obj", bytes(2**27 + 1), "of text, at most"),
    "other suffix": ("stil", b"solid", "unknown file ending '.stil'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_mesh_ends_in_one_line(case: str, tmp_path: Path) -> None:
    suffix, raw, part = BAD[case]
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=part) as caught:
        read_data(path)
    assert case == "other suffix" or str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.obj")  # opening it would wait for ever
    for name, part in (("absent.obj", "No such file"), ("pipe.obj", "not a regular file")):
        with pytest.raises(InputError, match=part):
            read_data(tmp_path / name)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    at=st.floats(0, 1, exclude_max=True),
    junk=st.binary(max_size=5),
    cut=st.booleans(),
)
def test_damaged_meshes_are_read_or_refused(
    form: str, at: float, junk: bytes, cut: bool, tmp_path_factory: Any
) -> None:
    suffix, raw = FORMS[form]
    place = int(at * len(raw))
    path = tmp_path_factory.mktemp("fuzz") / f"a.{suffix}"
    path.write_bytes(raw[:place] + junk + (b"" if cut else raw[place + len(junk) :]))
    with contextlib.suppress(InputError):
        mesh = read_data(path)
        assert np.isfinite(mesh.points).all()
        assert mesh.points.shape[1] == 3
        assert mesh.faces is None or mesh.faces.shape[1] == 3


# ---- the cache

KEYS = [(i, p) for i in range(3) for p in range(4)]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    write_meshes(tmp_path / "data", KEYS)
    return [tmp_path / "data" / f"id{i}_{p}.obj" for i, p in KEYS]


def expected() -> np.ndarray[Any, Any]:
    return np.stack([body(i, p) for i, p in KEYS]).astype(np.float32)


def test_conversion_maps_every_mesh_once(files: list[Path], tmp_path: Path) -> None:
    done: list[int] = []
    table = open_meshes(files, progress=done.append)
    assert sum(done) == len(files)
    np.testing.assert_array_equal(table.vertices, expected())
    np.testing.assert_array_equal(table.faces, FACES)
    assert isinstance(table.vertices, np.memmap)
    plain = np.load(table.path)
    assert (plain.dtype, plain.shape) == (np.float32, (12, 12, 3))
    done.clear()
    again = open_meshes(files, progress=done.append)
    assert done == []
    np.testing.assert_array_equal(again.vertices, table.vertices)
    kinds = sorted(path.suffix for path in (tmp_path / "data" / ".posebench").iterdir())
    assert kinds == [".json", ".npy", ".npy"]


@pytest.mark.parametrize("torn", [0, 5])
def test_stopped_conversion_goes_on(
    torn: int, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after seven meshes, perhaps in the middle of the eighth."""
    real, read = mesh_cache.read_data, list[str]()

    def stopped(path: Path) -> Any:
        if path == files[7]:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(mesh_cache, "read_data", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_meshes(files)
    (part,) = cache_folder(files[0].parent).iterdir()
    with part.open("ab") as stream:
        stream.write(b"x" * torn)

    def counted(path: Path) -> Any:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(mesh_cache, "read_data", counted)
    done: list[int] = []
    table = open_meshes(files, progress=done.append)
    assert done[0] == 7
    assert sum(done) == 12
    assert read == [files[0].name, *(path.name for path in files[7:])]
    np.testing.assert_array_equal(table.vertices, expected())


def test_changed_files_are_converted_again(files: list[Path]) -> None:
    open_meshes(files)
    files[4].write_text(PLAIN + "\n", encoding="utf-8")
    table = open_meshes(files)
    np.testing.assert_allclose(table.vertices[4], POINTS, atol=1e-7)
    assert len(list(table.path.parent.iterdir())) == 3, "the old conversion is gone"


@pytest.mark.parametrize("kept", [False, True], ids=["new time", "time of the old file"])
def test_a_file_replaced_by_one_of_equal_size_is_converted(kept: bool, files: list[Path]) -> None:
    """As from a second archive, which may even set the old file's time of change."""
    open_meshes(files)
    before = files[4].stat()
    text = files[4].read_text(encoding="utf-8").splitlines(keepends=True)
    text[2], text[3] = text[3], text[2]  # the same length, another mesh
    fresh = files[4].with_name("fresh")
    fresh.write_text("".join(text), encoding="utf-8")
    if kept:
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(files[4])
    assert files[4].stat().st_size == before.st_size
    assert (files[4].stat().st_mtime_ns == before.st_mtime_ns) == kept
    swapped = expected()[4][[0, 1, 3, 2, *range(4, 12)]]
    np.testing.assert_array_equal(open_meshes(files).vertices[4], swapped)


@pytest.mark.parametrize("damage", ["cut", "text", "shape"])
def test_damaged_cache_is_made_again(damage: str, files: list[Path]) -> None:
    path = open_meshes(files).path
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "text":
        path.write_text("mine", encoding="utf-8")
    else:
        np.save(path, np.zeros((3, 12, 3), np.float32))
    np.testing.assert_array_equal(open_meshes(files).vertices, expected())


WRONG: dict[str, tuple[str, str]] = {
    "vertex count": (obj_text(body(0, 1, 13)), "vertices, the others have"),
    "faces": (obj_text(POINTS, FACES[::-1]), "other faces than"),
    "fewer faces, as if cut off": (obj_text(POINTS, FACES[:-1]), "other faces than"),
    "no faces": (obj_text(POINTS, FACES[:0]), "no faces"),
    "cut in a number": (PLAIN[:-3], "needs 3 corners|other faces"),
    "cut before the faces": (PLAIN[:200], "no faces"),
    "millimetres": (obj_text(1000 * POINTS), "longest side .* metres .millimetres"),
    "inches": (obj_text(POINTS / 0.0254), "expected 0.5 to 3 metres"),
    "tiny": (obj_text(POINTS / 10), "expected 0.5 to 3 metres"),
}


@pytest.mark.parametrize("number", [0, 6])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_mesh_is_named(case: str, number: int, files: list[Path]) -> None:
    text, part = WRONG[case]
    files[number].write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=part) as caught:
        open_meshes(files)
    # Of two topologies the first mesh's counts as the right one, so it may blame the second.
    blamed = files[:2] if number == 0 else [files[number]]
    assert any(str(path) in str(caught.value) for path in blamed)
    assert not list(cache_folder(files[0].parent).glob("*.npy"))


def test_cache_elsewhere(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "cache"))
    table = open_meshes(files)
    assert table.path.is_relative_to(tmp_path / "cache")
    assert not (tmp_path / "data" / ".posebench").exists()


def test_folder_that_cannot_be_written(files: list[Path]) -> None:
    (files[0].parent / ".posebench").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="POSEBENCH_CACHE"):
        open_meshes(files)


def test_little_room_is_found_before_the_work(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="GB are free; name another folder in POSEBENCH_CACHE"):
        open_meshes(files)


def test_full_disk_keeps_what_is_done(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        open_meshes(files)
    monkeypatch.undo()
    done: list[int] = []
    np.testing.assert_array_equal(open_meshes(files, progress=done.append).vertices, expected())
    assert done == [12]


def test_two_processes_do_not_write_one_file(files: list[Path]) -> None:
    folder = cache_folder(files[0].parent)
    sizes = [[path.name, path.stat().st_size] for path in files]
    assert sizes
    folder.mkdir()
    locked: list[io.BufferedWriter] = []
    real = mesh_cache._lock

    def late(stream: Any, part: Path) -> None:
        locked.append(part.open("ab"))  # another process came first
        fcntl.flock(locked[0], fcntl.LOCK_EX)
        real(stream, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh_cache, "_lock", late)
        with pytest.raises(InputError, match="another process"):
            open_meshes(files)
    locked[0].close()
    np.testing.assert_array_equal(open_meshes(files).vertices, expected())
