"""Files that no mesh reader should swallow, each made by a function of its own.

Run as a program it gives each of them to ``posebench transfer`` in one process and prints what
happened as JSON, so that the process's peak memory covers all of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import signal
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posebench.benchmark.cli.app import main
from posebench.benchmark.data.body import load_body

SECONDS = 20
"""Longest that a refusal may take; most take milliseconds."""

Maker = Callable[[Path], Path]
BAD: dict[str, Maker] = {}


def body() -> tuple[np.ndarray, np.ndarray]:
    """A standing body of 800 vertices, metres, y up."""
    made = load_body(800)
    return made.rest[0].double().numpy(), made.faces.numpy()


def obj_text(points: np.ndarray, faces: np.ndarray) -> str:
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in points.tolist()]
    return "\n".join([*lines, *(f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()), ""])


def ply_text(points: np.ndarray, faces: np.ndarray) -> str:
    head = [
        "ply", "format ascii 1.0", f"element vertex {len(points)}", "property float x",
        "property float y", "property float z", f"element face {len(faces)}",
        "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    rows = [" ".join(map(repr, row)) for row in points.tolist()]
    return "\n".join([*head, *rows, *(f"3 {a} {b} {c}" for a, b, c in faces.tolist()), ""])


def ply_binary(points: np.ndarray, faces: np.ndarray) -> bytes:
    head = ply_text(points, faces).split("end_header\n")[0].replace("ascii", "binary_little_endian")
    table = np.zeros(len(faces), [("n", "u1"), ("f", "<i4", (3,))])
    table["n"], table["f"] = 3, faces
    return f"{head}end_header\n".encode() + points.astype("<f4").tobytes() + table.tobytes()


def pcd(points: np.ndarray, form: str = "binary", **header: object) -> bytes:
    told = {
        "VERSION": 0.7, "FIELDS": "x y z", "SIZE": "4 4 4", "TYPE": "F F F", "COUNT": "1 1 1",
        "WIDTH": len(points), "HEIGHT": 1, "POINTS": len(points), **header, "DATA": form,
    }  # fmt: skip
    text = "".join(f"{name} {value}\n" for name, value in told.items())
    return text.encode() + points.astype("<f4").tobytes()


def glb(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(count: int = 800, **more: object) -> dict[str, Any]:
    """The JSON of a GLB with one cloud of vertices as triangles."""
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 12 * 801}],
        "buffers": [{"byteLength": 12 * 801}],
        **more,
    }


def npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def encrypted(archive: bytes) -> bytes:
    """The same with the first entry of its directory marked as encrypted, which versions of Python
    write with other version numbers."""
    flags = archive.index(b"PK\1\2") + 8
    return archive[:flags] + b"\1" + archive[flags + 1 :]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def bad(name: str, ending: str) -> Callable[[Callable[[], bytes | str]], None]:
    """Register a function that makes a file's content."""

    def register(content: Callable[[], bytes | str]) -> None:
        def write(folder: Path) -> Path:
            path = folder / f"{name.replace(' ', '-').replace('/', '-')}{ending}"
            made = content()
            path.write_bytes(made.encode() if isinstance(made, str) else made)
            return path

        assert name not in BAD, name
        BAD[name] = write

    return register


def bad_file(name: str) -> Callable[[Maker], Maker]:
    """Register a function that makes a path."""

    def register(make: Maker) -> Maker:
        BAD[name] = make
        return make

    return register


POINTS, FACES = body()


def spoilt(value: float, row: int = 7) -> np.ndarray:
    points = POINTS.copy()
    points[row, 1] = value
    return points


def faces_with(corner: int) -> np.ndarray:
    faces = FACES.copy()
    faces[5, 1] = corner
    return faces


# ---- no file to speak of


bad_file("missing")(lambda folder: folder / "nowhere.obj")
bad_file("device without end")(lambda folder: linked(folder / "zero.obj", "/dev/zero"))
bad_file("name too long")(lambda folder: folder / f"{'n' * 300}.ply")


def linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


@bad_file("folder")
def make_folder(folder: Path) -> Path:
    path = folder / "folder.obj"
    path.mkdir()
    return path


@bad_file("pipe")
def make_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.ply")
    return folder / "pipe.ply"


@bad_file("links in a ring")
def make_ring(folder: Path) -> Path:
    linked(folder / "ring.obj", "gnir.obj")
    return linked(folder / "gnir.obj", "ring.obj")


@bad_file("no permission")
def make_locked(folder: Path) -> Path:
    path = folder / "locked.obj"
    path.write_text(obj_text(POINTS, FACES))
    path.chmod(0)
    return path


@bad_file("larger than any mesh")
def make_large(folder: Path) -> Path:
    path = folder / "large.ply"
    path.touch()
    os.truncate(path, 2**40)  # sparse: takes no room
    return path


bad("no ending", "")(lambda: obj_text(POINTS, FACES))
bad("unknown ending", ".fbx")(lambda: b"Kaydara FBX Binary")
for kind in ("obj", "ply", "off", "stl", "glb", "npz", "npy", "xyz", "pcd"):
    bad(f"empty {kind}", f".{kind}")(lambda: b"")
    bad(f"noise as {kind}", f".{kind}")(lambda: np.random.default_rng(0).bytes(4000))
    bad(f"zeros as {kind}", f".{kind}")(lambda: bytes(4000))
    if kind != "xyz":
        bad(f"text as {kind}", f".{kind}")(lambda: "In the beginning was the word.\n" * 100)
bad("obj as ply", ".ply")(lambda: obj_text(POINTS, FACES))
bad("ply as obj", ".obj")(lambda: ply_text(POINTS, FACES))
bad("stl as glb", ".glb")(lambda: b"solid x\nfacet normal 0 0 1\n")

# ---- no body in it

for what, value in {"nan": np.nan, "infinity": -np.inf, "huge": 1e300, "float32": 3e38}.items():
    bad(f"obj with {what}", ".obj")(lambda v=value: obj_text(spoilt(v), FACES))
    bad(f"ply with {what}", ".ply")(lambda v=value: ply_text(spoilt(v), FACES))
bad("binary ply with nan", ".ply")(lambda: ply_binary(spoilt(np.nan), FACES))
bad("one vertex", ".obj")(lambda: "v 0 1 0\n")
bad("one triangle", ".off")(lambda: "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
bad("all vertices in one place", ".obj")(lambda: obj_text(0 * POINTS + 1, FACES))
bad("all vertices at zero", ".xyz")(lambda: "0 0 0\n" * 800)
bad("nothing but nan", ".xyz")(lambda: "nan nan nan\n" * 800)
bad("centimetres", ".obj")(lambda: obj_text(100 * POINTS, FACES))
bad("millimetres", ".npy")(lambda: npy_header((800, 3)) + (1000 * POINTS).tobytes())
bad("a thimble", ".obj")(lambda: obj_text(0.01 * POINTS, FACES))
bad("z up", ".obj")(lambda: obj_text(POINTS[:, [0, 2, 1]], FACES))

# ---- obj


def obj_and(line: str) -> str:
    return obj_text(POINTS, FACES) + line + "\n"


bad("obj face out of range", ".obj")(lambda: obj_and("f 1 2 801"))
bad("obj face zero", ".obj")(lambda: obj_and("f 0 1 2"))
bad("obj face far back", ".obj")(lambda: obj_and("f -1 -2 -801"))
bad("obj face of two", ".obj")(lambda: obj_and("f 1 2"))
bad("obj face of words", ".obj")(lambda: obj_and("f a b c"))
bad("obj face beyond int64", ".obj")(lambda: obj_and(f"f 1 2 {10**19}"))
bad("obj face of many digits", ".obj")(lambda: obj_and(f"f 1 2 {'9' * 10_000}"))
bad("obj vertex of two", ".obj")(lambda: obj_and("v 1 2"))
bad("obj vertex of words", ".obj")(lambda: obj_and("v one two three"))
bad("obj line without end", ".obj")(lambda: "f" + " 1" * 2_000_000)
bad("obj cut off", ".obj")(lambda: obj_text(POINTS, FACES)[:9000] + "\nv 0.1")

# ---- ply


def ply_with(old: str, new: str) -> str:
    text = ply_text(POINTS, FACES)
    assert old in text
    return text.replace(old, new, 1)


for sort, text in {
    "count": f"vertex {10**12}",
    "negative count": "vertex -800",
    "count of digits": f"vertex {'9' * 5000}",
}.items():
    bad(f"ply {sort}", ".ply")(lambda t=text: ply_with("vertex 800", t))
bad("binary ply count", ".ply")(
    lambda: ply_binary(POINTS, FACES).replace(b"vertex 800", b"vertex 80000000000")
)
bad("ply without end", ".ply")(lambda: ply_with("end_header", "comment"))
bad("ply header of comments", ".ply")(lambda: "ply\n" + "comment\n" * 100_000)
bad("ply format", ".ply")(lambda: ply_with("ascii", "utf8"))
bad("ply without vertices", ".ply")(lambda: ply_with("element vertex", "element vortex"))
bad("ply without z", ".ply")(lambda: ply_with("float z", "float w"))
bad("ply type", ".ply")(lambda: ply_with("float x", "quaternion x"))
bad("ply x twice", ".ply")(lambda: ply_with("float y", "float x"))
bad("ply x as list", ".ply")(lambda: ply_with("float x", "list uchar float x"))
bad("ply property first", ".ply")(lambda: ply_with("element vertex", "property float q\nelement v"))
bad("ply list of float length", ".ply")(lambda: ply_with("list uchar", "list float"))
bad("ply cut off in its text", ".ply")(lambda: ply_text(POINTS, FACES)[:30_000])
bad("ply cut off in its vertices", ".ply")(lambda: ply_binary(POINTS, FACES)[:3000])
bad("ply cut off in its faces", ".ply")(lambda: ply_binary(POINTS, FACES)[:-5])
bad("ply face out of range", ".ply")(lambda: ply_binary(POINTS, faces_with(800)))
bad("ply face below zero", ".ply")(lambda: ply_text(POINTS, faces_with(-1)))
bad("ply list longer than the file", ".ply")(
    lambda: ply_binary(POINTS, FACES).replace(b"list uchar", b"list uint")
)
bad("ply list below zero", ".ply")(
    lambda: (
        ply_binary(POINTS, FACES[:1]).replace(b"list uchar", b"list char")[:-13]
        + struct.pack("<biii", -3, 0, 1, 2)
    )
)
bad("ply text list too short", ".ply")(lambda: ply_text(POINTS, FACES).rstrip()[:-8])

# ---- off and stl


def off_text(points: np.ndarray, faces: np.ndarray, counts: str | None = None) -> str:
    rows = [" ".join(map(repr, row)) for row in points.tolist()]
    told = counts or f"{len(points)} {len(faces)} 0"
    return "\n".join(["OFF", told, *rows, *(f"3 {a} {b} {c}" for a, b, c in faces.tolist()), ""])


bad("off count", ".off")(lambda: off_text(POINTS, FACES, f"{10**12} {10**12} 0"))
bad("off negative count", ".off")(lambda: off_text(POINTS, FACES, "-800 1500 0"))
bad("off cut off", ".off")(lambda: off_text(POINTS, FACES)[:4000])
bad("off face out of range", ".off")(lambda: off_text(POINTS, faces_with(800)))
bad("off with nan", ".off")(lambda: off_text(spoilt(np.nan), FACES))
bad("off of words", ".off")(lambda: "OFF\n" + "a b c\n" * 900)
bad("stl count", ".stl")(lambda: bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(5000))
bad("stl cut off", ".stl")(lambda: bytes(80) + struct.pack("<I", 100) + bytes(50 * 99))
bad("stl without triangles", ".stl")(lambda: bytes(80) + struct.pack("<I", 0))
bad("stl with nan", ".stl")(
    lambda: bytes(80) + struct.pack("<I", 400) + (b"\0\0\xc0\x7f" * 12 + b"\0\0") * 400
)
bad("text stl without triangles", ".stl")(lambda: "solid body\nendsolid body\n")
bad("text stl of words", ".stl")(
    lambda: "solid b\n" + "facet normal 0 0 1\nouter loop\nvertex a b c\n" * 400 + "endsolid b\n"
)

# ---- glb

DATA = np.concatenate([POINTS, POINTS[:1]]).astype("<f4").tobytes()


def accessor(**more: object) -> dict[str, Any]:
    return {"componentType": 5126, "count": 801, "type": "VEC3", **more}


bad("glb cut off", ".glb")(lambda: glb(gltf(), DATA)[:-2000])
bad("glb version", ".glb")(lambda: glb(gltf(), DATA).replace(b"glTF\2", b"glTF\1"))
bad("glb json", ".glb")(lambda: glb(b'{"asset": '))
bad("glb json list", ".glb")(lambda: glb([1, 2, 3]))
bad("glb json deep", ".glb")(lambda: glb(b"[" * 200_000))
bad("glb empty scene", ".glb")(lambda: glb({"asset": {"version": "2.0"}}))
bad("glb accessor count", ".glb")(lambda: glb(gltf(10**9), DATA))
bad("glb accessor below zero", ".glb")(lambda: glb(gltf(-801), DATA))
bad("glb accessor without data", ".glb")(lambda: glb(gltf(accessors=[accessor(count=10**9)]), DATA))
bad("glb accessor a little long", ".glb")(lambda: glb(gltf(2000), DATA))
bad("glb many views", ".glb")(
    lambda: glb(gltf(bufferViews=[{"buffer": 0, "byteLength": len(DATA)}] * 10_000), DATA)
)
bad("glb many primitives", ".glb")(
    lambda: glb(
        gltf(801, meshes=[{"primitives": [{"attributes": {"POSITION": 0}}] * 10_000}]), DATA
    )
)
bad("glb many nodes", ".glb")(
    lambda: glb(
        gltf(801, nodes=[{"mesh": 0}] * 50_000, scenes=[{"nodes": list(range(50_000))}]), DATA
    )
)
bad("glb ring of nodes", ".glb")(
    lambda: glb(gltf(801, nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}]), DATA)
)
bad("glb no such accessor", ".glb")(
    lambda: glb(gltf(meshes=[{"primitives": [{"attributes": {"POSITION": 7}}]}]), DATA)
)
bad("glb index out of range", ".glb")(
    lambda: glb(
        gltf(
            801,
            meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
            accessors=[
                accessor(bufferView=0),
                {"bufferView": 0, "componentType": 5125, "count": 801, "type": "SCALAR"},
            ],
        ),
        DATA,
    )
)
bad("glb compressed", ".glb")(
    lambda: glb(gltf(extensionsUsed=["KHR_draco_mesh_compression"]), DATA)
)
bad("glb scale", ".glb")(
    lambda: glb(gltf(801, nodes=[{"mesh": 0, "scale": [1e200, 1e200, 1e200]}]), DATA)
)

# ---- numpy

bad("npy pickled", ".npy")(lambda: npy_header((800, 3), "|O") + pickle.dumps([[0.0] * 3] * 800))
bad("npy shape", ".npy")(lambda: npy_header((10**12, 3)) + bytes(4000))
bad("npy shape overflows", ".npy")(lambda: npy_header((2**62, 2**62, 3)))
bad("npy negative shape", ".npy")(lambda: npy_header((-800, 3)) + POINTS.tobytes())
bad("npy cut off", ".npy")(lambda: npy_header((800, 3)) + POINTS.tobytes()[:-1])
bad("npy of text", ".npy")(lambda: npy_header((800, 3), "<U8") + bytes(800 * 3 * 32))
bad("npy complex", ".npy")(lambda: npy_header((800, 3), "<c16") + bytes(800 * 3 * 16))
bad("npy flat", ".npy")(lambda: npy_header((2400,)) + POINTS.tobytes())
bad("npy header of code", ".npy")(
    lambda: b"\x93NUMPY\1\0" + struct.pack("<H", 40) + b"__import__('os').system('touch ran')    "
)
bad("npy header deep", ".npy")(lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 9000) + b"(" * 9000)
bad("npz without points", ".npz")(lambda: npz(weights=POINTS))
bad("npz pickled", ".npz")(lambda: npz(points=np.array([{}] * 800, dtype=object)))
bad("npz faces of fractions", ".npz")(lambda: npz(points=POINTS, faces=FACES + 0.5))
bad("npz face out of range", ".npz")(lambda: npz(points=POINTS, faces=faces_with(800)))
bad("npz bomb", ".npz")(
    lambda: zipped({"points.npy": npy_header((50_000_000, 3), "|u1") + bytes(150_000_000)})
)
bad("npz nested bomb", ".npz")(lambda: zipped({"points.npy": zipped({"a": bytes(10_000_000)})}))
bad("npz of many members", ".npz")(lambda: zipped({f"a{i}": b"" for i in range(20_000)}))
bad("npz lzma", ".npz")(
    lambda: zipped({"points.npy": npy_header((800, 3)) + POINTS.tobytes()}, zipfile.ZIP_LZMA)
)
bad("npz cut off", ".npz")(lambda: npz(points=POINTS)[:-30])
bad("npz flipped", ".npz")(
    lambda: npz(points=POINTS).replace(POINTS.tobytes()[:8], b"\1" * 8, 1)  # the checksum sees it
)
bad("npz encrypted", ".npz")(lambda: encrypted(npz(points=POINTS)))

# ---- pcd and xyz

bad("pcd count", ".pcd")(lambda: pcd(POINTS, POINTS=10**12))
bad("pcd negative count", ".pcd")(lambda: pcd(POINTS, POINTS=-800))
bad("pcd cut off", ".pcd")(lambda: pcd(POINTS)[:-100])
bad("pcd field count", ".pcd")(lambda: pcd(POINTS, COUNT="1 1 1000000000"))
bad("pcd types", ".pcd")(lambda: pcd(POINTS, TYPE="Q Q Q"))
bad("pcd sizes", ".pcd")(lambda: pcd(POINTS, SIZE="4 4 3"))
bad("pcd objects", ".pcd")(lambda: pcd(POINTS, TYPE="O O O", SIZE="8 8 8"))
bad("pcd fields", ".pcd")(lambda: pcd(POINTS, FIELDS="a b c"))
bad("pcd data", ".pcd")(lambda: pcd(POINTS, "base64"))
bad("pcd text cut off", ".pcd")(lambda: pcd(POINTS[:0], "ascii", POINTS=800) + b"0 1 0\n" * 700)
bad("pcd compressed size", ".pcd")(
    lambda: (
        pcd(POINTS[:0], "binary_compressed", POINTS=800)
        + struct.pack("<II", 100, 2**32 - 1)
        + bytes(100)
    )
)
bad("pcd compressed damage", ".pcd")(
    lambda: (
        pcd(POINTS[:0], "binary_compressed", POINTS=800)
        + struct.pack("<II", 100, 9600)
        + b"\xff" * 100
    )
)
bad("pcd compressed bomb", ".pcd")(
    lambda: (
        pcd(POINTS[:0], "binary_compressed", POINTS=4_000_000)
        + struct.pack("<II", 545_000, 48_000_000)
        + b"\0\0"
        + b"\xe0\xff\0" * 182_000
    )
)
bad("xyz of two", ".xyz")(lambda: "1 2\n" * 800)
bad("xyz of words", ".xyz")(lambda: "Atom C 1.0 2.0 3.0\n" * 800)
bad("xyz of commas", ".xyz")(lambda: ",,,\n" * 800)

# ---- the program


def call(words: list[str]) -> dict[str, Any]:
    """Exit code and output of the entry point; code -1 for a traceback."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["posebench", *words]
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:  # noqa: BLE001 - what the test must see
            code = -1
            err.write(repr(error))
        finally:
            sys.argv = before
    return {"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}


def stop_hanging(*_: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} s")


def give_all(folder: Path) -> dict[str, Any]:
    """Every bad file as pose source and as identity of a transfer, and the peak memory in MB."""
    signal.signal(signal.SIGALRM, stop_hanging)
    good = folder / "good.obj"
    good.write_text(obj_text(POINTS, FACES))
    os.chdir(folder)
    outcomes = {}
    files = {name: make(folder) for name, make in BAD.items()}
    network = ("--victim", "ffptnet")  # fits of what is no body take their time
    words = ["--pose", str(good), "--identity", "nowhere.obj", "-o", "out.obj"]
    call(["transfer", *network, *words])  # warm up
    user = os.geteuid()
    for name, path in files.items():
        for role, other in (("pose", "identity"), ("identity", "pose")):
            if name == "no permission" and user == 0:
                folder.chmod(0o777)
                os.seteuid(65534)  # the superuser may read everything
            words = [f"--{role}={path}", f"--{other}={good}", "--out=out.obj"]
            signal.alarm(SECONDS)
            outcomes[f"{name} as {role}"] = call(["transfer", *network, *words])
            signal.alarm(0)
            os.seteuid(user)
    left = [path.name for path in folder.iterdir() if path.name in ("out.obj", "ran")]
    return {"outcomes": outcomes, "megabytes": peak_megabytes(), "left": left}


def peak_megabytes() -> float:
    """Most memory this process had: on Linux VmHWM, since ru_maxrss begins with the parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(give_all(Path(sys.argv[1]))))  # noqa: T201 - its output is the result
