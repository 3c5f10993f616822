"""SMPL files: against a slow reference, in every form, and files that must be refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posebench.benchmark.data import smpl_pickle as closed
from posebench.benchmark.data.smpl import SmplModel, load_smpl, pose_smpl
from posebench.benchmark.data.smpl_npt import make_smpl_npt, npt_betas, npt_pose
from posebench.errors import InputError
from tests.forged_data import JOINTS, PARENTS, VERTICES, smpl_arrays, smpl_pickle


def reference(
    arrays: dict[str, NDArray[Any]], betas: NDArray[np.float64], pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """SMPL vertex by vertex in homogeneous coordinates."""
    shaped = arrays["v_template"] + arrays["shapedirs"] @ betas
    joints = arrays["J_regressor"] @ shaped
    turns = Rotation.from_rotvec(pose).as_matrix()
    corrective = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    rest = shaped + arrays["posedirs"] @ corrective
    world: list[NDArray[np.float64]] = []
    for k, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = turns[k]
        local[:3, 3] = joints[k] - (joints[parent] if k else 0)
        world.append(world[parent] @ local if k else local)
    result = np.zeros_like(rest)
    for v, point in enumerate(rest):
        for k in range(JOINTS):
            back = np.eye(4)
            back[:3, 3] = -joints[k]
            moved = world[k] @ back @ np.append(point, 1)
            result[v] += arrays["weights"][v, k] * moved[:3]
    return result


@pytest.fixture
def model(tmp_path: Path) -> SmplModel:
    np.savez(tmp_path / "model.npz", **smpl_arrays())  # type: ignore[arg-type]
    return load_smpl(tmp_path / "model.npz")


def test_posed_model_is_the_slow_reference(model: SmplModel) -> None:
    rng = np.random.default_rng(3)
    poses, betas = rng.normal(0, 0.7, (4, JOINTS, 3)), rng.uniform(-4, 4, 10)
    poses[0] = 0
    expected = np.stack([reference(smpl_arrays(), betas, pose) for pose in poses])
    found = pose_smpl(model, torch.from_numpy(betas), torch.from_numpy(poses))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


# ---- file forms

FORMS: dict[str, Callable[[], bytes]] = {
    "python 2, protocol 0": lambda: smpl_pickle(0, python2=True),
    "python 2, protocol 1": lambda: smpl_pickle(1, python2=True),
    "python 2, protocol 2": lambda: smpl_pickle(2, python2=True),
    **{
        f"python 3, protocol {protocol}": lambda protocol=protocol: smpl_pickle(  # type: ignore[misc]
            protocol, python2=False
        )
        for protocol in range(6)
    },
    "without chumpy": lambda: smpl_pickle(4, python2=False, chumpy=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_pickle_form_gives_the_same_model(
    form: str, model: SmplModel, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(FORMS[form]())
    found = load_smpl(tmp_path / "model.pkl")
    assert found.parents == model.parents == PARENTS
    for name in vars(model):
        if name != "parents":
            torch.testing.assert_close(getattr(found, name), getattr(model, name), rtol=0, atol=0)


def test_three_hundred_shapes_are_cut_to_ten(model: SmplModel, tmp_path: Path) -> None:
    arrays = smpl_arrays()
    more = np.ones((VERTICES, 3, 290))
    arrays["shapedirs"] = np.concatenate([arrays["shapedirs"], more], axis=2)
    np.savez(tmp_path / "more.npz", **arrays)  # type: ignore[arg-type]
    assert load_smpl(tmp_path / "more.npz").shape_directions.equal(model.shape_directions)


# ---- code


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> Any:
        return self.reduced


def hostile(command: str) -> dict[str, tuple[bytes, str]]:
    """Pickles that would run a shell command, and the global that each names."""
    system = f"{os.system.__module__}.system"
    line = command.encode()
    text = struct.pack("<I", len(line)) + line
    return {
        "reduce": (pickle.dumps(Call(os.system, command)), system),
        "nested": (pickle.dumps({**smpl_arrays(), "w": [Call(os.system, command)]}), system),
        "eval": (pickle.dumps(Call(eval, f"__import__('os').system({command!r})")), "eval"),
        "getattr": (pickle.dumps(Call(getattr, "a", "upper")), "builtins.getattr"),
        "instance": (b"(S'" + line + b"'\nios\nsystem\n.", "os.system"),
        "object": (b"(cos\nsystem\nS'" + line + b"'\no.", "os.system"),
        "newobj": (b"\x80\x02cos\nsystem\nX" + text + b"\x85\x81.", "os.system"),
        "stack global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93X" + text + b"\x85R.", "os.system"),
        "dotted": (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", "numpy.dtype.__init__"),
        "numpy load": (b"cnumpy\nload\n.", "numpy.load"),
        "like chumpy": (b"cchumpyx\nCh\n.", "chumpyx.Ch"),
    }


@pytest.mark.parametrize("case", hostile(""))
def test_code_is_refused_by_name_and_does_not_run(case: str, tmp_path: Path) -> None:
    raw, name = hostile(f"touch {tmp_path / 'ran'}")[case]
    path = tmp_path / "model.pkl"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=f"refused: the pickle names .*{name}") as caught:
        load_smpl(path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_even_allowed_names_are_never_called() -> None:
    """A chumpy object is inert whatever it says, and state can be set on nothing else."""
    made = closed.read_inert(b"cchumpy.ch\nrun\n(S'rm'\ntR.")
    assert isinstance(made, closed.Made)
    assert (made.call, made.args) == (closed.Name("chumpy.ch", "run"), ("rm",))
    for raw in (b"cnumpy\ndtype\n}b.", b"]}b.", b"S'a'\n(tR.", b"]cnumpy\ndtype\n\x81."):
        with pytest.raises(InputError, match="not a readable pickle"):
            closed.read_inert(raw)


def test_hostile_sizes_cost_no_memory() -> None:
    """A memo index of 4 billion, claimed lengths of 64 GiB."""
    claimed = struct.pack("<Q", 2**36)
    programs = [
        b"\x80\x04Nr\xff\xff\xff\xff.",
        b"\x80\x05\x96" + claimed + b"abc.",
        b"\x80\x04\x8e" + claimed + b"abc.",
    ]
    for raw in programs:
        tracemalloc.start()
        with contextlib.suppress(InputError):
            closed.read_inert(raw)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**24


def test_endless_pickle_is_given_up() -> None:
    with pytest.raises(InputError, match="more than 100000 pickle instructions"):
        closed.read_inert(b"N0" * closed.MAX_STEPS)


# ---- wrong files


def changed(**values: Any) -> dict[str, Any]:
    """The forged model with other arrays; None takes one away."""
    arrays: dict[str, Any] = {**smpl_arrays(), **values}
    return {key: value for key, value in arrays.items() if value is not None}


def with_nan() -> NDArray[np.float64]:
    points = smpl_arrays()["v_template"].copy()
    points[3, 1] = np.nan
    return points


TREE = smpl_arrays()["kintree_table"]
BAD_MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "no posedirs": (changed(posedirs=None), "posedirs missing"),
    "nothing": ({"a": np.zeros(3)}, "v_template, shapedirs"),
    "weights of other joints": (changed(weights=np.ones((VERTICES, 23))), "weights has shape"),
    "flat template": (changed(v_template=np.zeros(36)), "matrices"),
    "no vertices": (changed(v_template=np.zeros((0, 3))), "0 vertices"),
    "flat shapedirs": (changed(shapedirs=np.zeros((36, 10))), "shapedirs has shape"),
    "no shapes": (changed(shapedirs=np.zeros((VERTICES, 3, 0))), "shapedirs has shape"),
    "NaN": (changed(v_template=with_nan()), "v_template must hold finite"),
    "faces beyond": (changed(f=np.array([[0, 1, VERTICES]])), "vertices outside 0..11"),
    "faces of floats": (changed(f=np.zeros((2, 3))), "f must hold integers"),
    "quads": (changed(f=np.zeros((2, 4), int)), "f has shape"),
    "child before parent": (changed(kintree_table=TREE[:, ::-1].copy()), "parents first"),
    "text": (changed(weights=np.full((VERTICES, JOINTS), "a")), "weights"),
}


@pytest.mark.parametrize("suffix", ["npz", "pkl"])
@pytest.mark.parametrize("case", BAD_MODELS)
def test_wrong_arrays_are_named(case: str, suffix: str, tmp_path: Path) -> None:
    arrays, part = BAD_MODELS[case]
    path = tmp_path / f"model.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays, protocol=4))
    with pytest.raises(InputError, match=part) as caught:
        load_smpl(path)
    assert str(path) in str(caught.value)


def objects(path: Path) -> None:
    np.savez(path, **changed(f=np.array([Call(os.system, "false")], dtype=object)))


BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "absent": ("a.pkl", lambda p: None, "no such file"),
    "folder": ("a.pkl", lambda p: p.mkdir(), "no such file"),
    "other suffix": ("a.obj", lambda p: p.touch(), "ends in .npz or .pkl"),
    "empty pickle": ("a.pkl", lambda p: p.touch(), "not a readable pickle"),
    "cut pickle": ("a.pkl", lambda p: p.write_bytes(FORMS["without chumpy"]()[:900]), "readable"),
    "list": ("a.pkl", lambda p: p.write_bytes(pickle.dumps([1])), "holds list"),
    "numbers": (
        "a.pkl",
        lambda p: p.write_bytes(pickle.dumps(dict.fromkeys(smpl_arrays(), 3))),
        "v_template: holds int",
    ),
    "object array": (
        "a.pkl",
        lambda p: p.write_bytes(pickle.dumps(changed(f=np.array([None, 1], dtype=object)))),
        "f: an array of 'O8'",
    ),
    "vast sparse matrix": (
        "a.pkl",
        lambda p: p.write_bytes(
            smpl_pickle(2, python2=True, chumpy=False).replace(
                b"K\x18K\x0c\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
            )
        ),
        "J_regressor: a sparse matrix of 2147483647",
    ),
    "empty archive": ("a.npz", lambda p: p.touch(), "not a readable .npz"),
    "objects in an archive": ("a.npz", objects, "not a readable .npz without objects"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_wrong_files_end_in_one_line(case: str, tmp_path: Path) -> None:
    name, make, part = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(InputError, match=part) as caught:
        load_smpl(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


WHOLE = {form: make() for form, make in FORMS.items()}


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    form=st.sampled_from(sorted(WHOLE)),
    at=st.floats(0, 1, exclude_max=True),
    junk=st.binary(max_size=6),
    cut=st.booleans(),
)
def test_damaged_pickles_are_read_or_refused(
    form: str, at: float, junk: bytes, cut: bool, tmp_path_factory: Any
) -> None:
    raw = WHOLE[form]
    place = int(at * len(raw))
    damaged = raw[:place] + junk + (b"" if cut else raw[place + len(junk) :])
    path = tmp_path_factory.mktemp("fuzz") / "model.pkl"
    path.write_bytes(damaged)
    with contextlib.suppress(InputError):
        load_smpl(path)


# ---- SMPL-NPT


def test_pose_draws_follow_the_recipe() -> None:
    """First draws, ranges, shared draws, and the two families."""
    poses = np.rad2deg(np.stack([npt_pose(number) for number in range(800)]))
    bent, straight = poses[:400], poses[400:]
    first = random.Random(123)
    drawn = [first.uniform(-30, 30), first.uniform(-30, 30), first.uniform(-60, 0)]
    np.testing.assert_allclose([*poses[123, 16, 1:], poses[123, 18, 1]], drawn)
    np.testing.assert_array_equal(poses[:, 13], poses[:, 16])
    np.testing.assert_array_equal(poses[:, 14], poses[:, 17])
    np.testing.assert_array_equal(poses[:, 12], poses[:, 15])
    assert (poses[:, [3, 6, 9]] == poses[:, 3:4, :1]).all()
    assert (poses[:, [10, 11]] == 0).all()
    ranges = {(4, 0): (0, 100), (1, 2): (0, 40), (2, 2): (-40, 0), (20, 0): (-20, 20)}
    for (joint, axis), (low, high) in ranges.items():
        values = bent[:, joint, axis]
        assert low <= values.min() < low + 3 < high - 3 < values.max() <= high
    assert straight[:, 4, 0].max() <= 10 < 90 < bent[:, 4, 0].max()
    assert straight[:, 1, 2].max() <= 5
    for hip in (1, 2):
        assert -90 <= poses[:, hip, 0].min() < -85 < -5 < poses[:, hip, 0].max() <= 0
    assert poses[:, 18, 1].max() <= 0 <= poses[:, 19, 1].min()


def test_seeds_are_those_of_released_meshes() -> None:
    """Poses 643 and 664 turn the left foot as two meshes published beside the NPT code do.

    Measured on 17 sole and heel vertices of 13_643.obj and 14_664.obj in that repository, fitted
    with scipy: one foot's rotation to the other's. The fit is good to some degrees, because the
    two people differ; other seeds (numpy's generator: 12 degrees) do not come near.
    """
    feet = []
    for number in (643, 664):
        pose = npt_pose(number)
        foot = Rotation.identity()
        for joint in (0, 1, 4, 7):
            foot = foot * Rotation.from_rotvec(pose[joint])
        feet.append(foot)
    measured = Rotation.from_rotvec([-15.3, 10.5, -8.3], degrees=True)
    assert np.rad2deg((feet[0] * feet[1].inv() * measured.inv()).magnitude()) < 3


def test_betas_are_the_legacy_generator_s() -> None:
    """Against the well-known first numbers of numpy's seed 0; poses ignore the global state."""
    first = np.array([0.5488135, 0.71518937, 0.60276338])
    np.testing.assert_allclose(npt_betas(0)[:3], 8 * (first - 0.5), atol=1e-7)
    betas = np.stack([npt_betas(identity) for identity in range(30)])
    assert 3.8 < np.abs(betas).max() <= 4
    assert len({row.tobytes() for row in betas}) == 30
    pose = npt_pose(3)
    random.seed(5)
    np.testing.assert_array_equal(npt_pose(3), pose)


def test_made_meshes_are_the_reference_and_resume(model: SmplModel, tmp_path: Path) -> None:
    people, poses = range(15, 17), range(398, 402)
    done: list[int] = []
    made = make_smpl_npt(model, tmp_path, identities=people, poses=poses, progress=done.append)
    assert made == sum(done) == 8
    names = {f"id{i}_{p}.obj" for i in people for p in poses}
    assert {path.name for path in tmp_path.glob("*.obj")} == names
    lines = (tmp_path / "id16_399.obj").read_text(encoding="utf-8").splitlines()
    expected = reference(smpl_arrays(), npt_betas(16), npt_pose(399))
    assert lines[:VERTICES] == [f"v {x:f} {y:f} {z:f}" for x, y, z in expected]
    assert lines[VERTICES] == "f 1 2 3"
    before = {name: (tmp_path / name).read_bytes() for name in names}
    kept = (tmp_path / "id15_398.obj").stat().st_mtime_ns
    for name in ("id15_401.obj", "id16_398.obj"):
        (tmp_path / name).unlink()
    assert make_smpl_npt(model, tmp_path, identities=people, poses=poses) == 2
    assert before == {name: (tmp_path / name).read_bytes() for name in names}
    assert (tmp_path / "id15_398.obj").stat().st_mtime_ns == kept


def test_making_stops_before_the_disk_is_full(
    model: SmplModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="GB are free"):
        make_smpl_npt(model, tmp_path / "out", identities=range(1), poses=range(9))
    assert list((tmp_path / "out").iterdir()) == []
