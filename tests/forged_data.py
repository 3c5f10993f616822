"""Miniature licensed data, forged: the file forms are real, the bodies are twelve random points."""

from __future__ import annotations

import contextlib
import pickle
import struct
import sys
import types
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

VERTICES, JOINTS = 12, 24
FACES = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8], [8, 9, 10], [9, 10, 11]])
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def body(identity: int, pose: int, vertices: int = VERTICES) -> NDArray[np.float64]:
    """A mesh in metres that depends on who and on which pose, six decimals."""
    shape = np.random.default_rng([1, identity]).uniform(0.8, 1.2, (1, 3))
    rng = np.random.default_rng([2, pose])
    points = rng.uniform(-0.5, 0.5, (vertices, 3))
    points[:2] = [[0, -0.8, 0], [0, 0.8, 0]]
    return np.round(points * shape + [0.1, 0.2, 0.3], 6)


def obj_text(points: NDArray[np.float64], faces: NDArray[np.int64] = FACES) -> str:
    """As the release writes it."""
    lines = [f"v {x:f} {y:f} {z:f}\n" for x, y, z in points]
    return "".join([*lines, *(f"f {a} {b} {c}\n" for a, b, c in faces + 1)])


def ply_bytes(
    points: NDArray[np.float64], faces: NDArray[np.int64] | None = FACES, form: str = "ascii"
) -> bytes:
    """ASCII or binary, with a colour per vertex as scanners write it."""
    head = ["ply", f"format {form} 1.0", "comment forged", f"element vertex {len(points)}"]
    head += [f"property float {axis}" for axis in "xyz"] + ["property uchar red"]
    if faces is not None:
        head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    text = "\n".join([*head, "end_header\n"]).encode()
    rows = [] if faces is None else faces.tolist()
    if form == "ascii":
        lines = [f"{x:.9g} {y:.9g} {z:.9g} 7" for x, y, z in points]
        return text + "\n".join([*lines, *(f"3 {a} {b} {c}" for a, b, c in rows), ""]).encode()
    end = "<" if "little" in form else ">"
    return (
        text
        + b"".join(struct.pack(f"{end}3fB", *point, 7) for point in points)
        + b"".join(struct.pack(f"{end}B3i", 3, *row) for row in rows)
    )


def write_meshes(
    folder: Path, keys: Iterable[tuple[int, int]], name: str = "id{i}_{p}.obj"
) -> None:
    """OBJ files of these (identity, pose)."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, p in keys:
        (folder / name.format(i=i, p=p)).write_text(obj_text(body(i, p)), encoding="utf-8")


def smpl_arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    """A model of random numbers in the released shapes and types."""
    rng = np.random.default_rng(seed)
    regressor = rng.random((JOINTS, VERTICES)) * (rng.random((JOINTS, VERTICES)) < 0.5)
    regressor[:, 0] += 0.1
    weights = rng.random((VERTICES, JOINTS))
    parents = np.array(PARENTS).astype(np.uint32)  # the root's is 4294967295, as released
    return {
        "v_template": body(0, 0),
        "shapedirs": rng.normal(0, 0.01, (VERTICES, 3, 10)),
        "posedirs": rng.normal(0, 0.01, (VERTICES, 3, 9 * (JOINTS - 1))),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(JOINTS, dtype=np.uint32)]),
        "f": FACES.astype(np.uint32),
    }


class Ch:
    """Stands in for chumpy.ch.Ch."""

    def __init__(self, x: Any) -> None:
        self.x = x


class Select:
    """Stands in for chumpy.reordering.Select: some entries of another object."""

    def __init__(self, a: Any, idxs: Any, preferred_shape: Any) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


@contextlib.contextmanager
def chumpy_installed() -> Iterator[None]:
    """Pickled under chumpy's names, as long as this lasts."""
    names = {"chumpy": (), "chumpy.ch": (Ch,), "chumpy.reordering": (Select,)}
    for name, classes in names.items():
        module = types.ModuleType(name)
        for each in classes:
            each.__module__ = name
            setattr(module, each.__name__, each)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str."""

    def save_str2(self, raw: bytes) -> None:
        if getattr(self, "bin"):  # noqa: B009 (typeshed does not know it)
            self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)  # type: ignore[attr-defined]
        else:
            self.write(pickle.STRING + repr(raw)[1:].encode() + b"\n")  # type: ignore[attr-defined]
        self.memoize(raw)  # type: ignore[attr-defined]

    dispatch = {**pickle._Pickler.dispatch, bytes: save_str2}  # type: ignore[attr-defined]  # noqa: RUF012


def smpl_pickle(protocol: int, *, python2: bool, chumpy: bool = True) -> bytes:
    """The forged model as the released pickles are: chumpy objects and a sparse regressor."""
    content: dict[str, Any] = dict(smpl_arrays())
    content["J_regressor"] = sparse.csc_matrix(content["J_regressor"])
    content["bs_style"] = "lbs"
    if chumpy:
        content["v_template"] = Ch(content["v_template"])
        directions = content["shapedirs"]
        content["posedirs"] = Ch(np.asfortranarray(content["posedirs"]))
        idxs = np.arange(directions.size)
        content["shapedirs"] = Select(Ch(directions.ravel()), idxs, directions.shape)
    stream = BytesIO()
    with chumpy_installed():
        (Python2 if python2 else pickle.Pickler)(stream, protocol).dump(content)
    raw = stream.getvalue()
    if protocol < 4:  # what older versions called it
        raw = raw.replace(b"numpy._core.", b"numpy.core.").replace(
            b"sparse._csc\n", b"sparse.csc\n"
        )
    return raw


def write_dfaust(folder: Path, recordings: dict[str, int], scans: Iterable[str] = ()) -> None:
    """``registrations_m.hdf5`` with recordings of so many frames, and raw scans of some."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "registrations_m.hdf5", "w") as file:
        file["faces"] = FACES.astype(np.uint32)
        for name, frames in recordings.items():
            who = int(name[:5])
            first = sum(name.encode())
            meshes = np.stack([body(who, first + frame) for frame in range(frames)])
            file[name] = meshes.transpose(1, 2, 0).astype(np.float32)
    for name in scans:
        subject, _, sequence = name.partition("_")
        place = folder / "scans" / subject / sequence
        place.mkdir(parents=True)
        for frame in range(recordings[name]):
            points = body(int(subject), sum(name.encode()) + frame, 40)
            # Scan numbers start anywhere: only their order counts.
            path = place / f"{sequence}.{10 * frame + 3:06}.ply"
            path.write_bytes(ply_bytes(points, None, "binary_little_endian"))
