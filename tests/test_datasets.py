"""Licensed data as test tasks, on forged miniatures: recognition, lists, protocol, scans."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.attacks import FGM
from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.data.datasets import (
    DATASETS,
    load_task,
    parse_task,
    task_families,
    task_names,
    task_vertices,
)
from posebench.benchmark.data.dfaust import find_dfaust
from posebench.benchmark.data.folder_task import DatasetTask
from posebench.benchmark.data.layouts import SMG_3D, SMPL_NPT, MeshFolder, find_meshes, read_list
from posebench.benchmark.data.licensed import split_pairs
from posebench.benchmark.data.names import TASK_LINES
from posebench.benchmark.data.task import Dataset, PairTask, TaskName
from posebench.benchmark.evaluation.harness import evaluate, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.records.form import record_to_json
from posebench.benchmark.records.store import record_problems, write_record
from posebench.benchmark.records.types import Weights
from posebench.benchmark.reports.sample_picture import sample_panels
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Budget
from tests.forged_data import (
    FACES,
    VERTICES,
    body,
    obj_text,
    ply_bytes,
    write_dfaust,
    write_meshes,
)
from tests.toys import Toy

SAMPLES = 5
TRAIN = [(0, 200), (3, 599), (15, 321)]
IDS = torch.arange(SAMPLES)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that POSEBENCH_DATA names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("POSEBENCH_DATA", str(folder))
    return folder


def protocol_keys(split: str) -> list[tuple[int, int]]:
    """Meshes that the first pairs of a SMPL-NPT split need."""
    empty = MeshFolder("smpl-npt", {}, {}, {})
    pairs, _ = split_pairs(f"smpl-npt/{split}", empty, SMPL_NPT.splits[split])
    return sorted({k for p in pairs[:SAMPLES] for k in (p.identity, p.giver, p.truth)})  # type: ignore[misc]


def npt(folder: Path, split: str = "unseen", name: str = "id{i}_{p}.obj") -> None:
    write_meshes(folder, [*protocol_keys(split), *TRAIN], name)


def task(name: str = "smpl-npt/unseen", samples: int = SAMPLES) -> DatasetTask:
    found = load_task(name, samples=samples)
    assert isinstance(found, DatasetTask)
    return found


def mesh(key: tuple[Any, ...], vertices: int = VERTICES) -> Tensor:
    """A forged mesh as the protocol centres it."""
    points = torch.from_numpy(body(*key, vertices)).float()[None]
    return centred(Clouds.dense(points)).points[0]


# ---- the protocol


def test_batch_is_the_meshes_on_disk(data: Path) -> None:
    """Same points as the files, centred, in shuffles that put identity and truth in one order."""
    npt(data)
    pairs = task()
    batch = pairs.batch(IDS)
    assert len(pairs) == SAMPLES
    for row, pair in enumerate(pairs.pairs):
        order = pairs.orders(IDS, "identity-order")[row]
        pose_order = pairs.orders(IDS, "pose-order")[row]
        torch.testing.assert_close(batch.identity.points[row], mesh(pair.identity)[order])
        torch.testing.assert_close(batch.target.points[row], mesh(pair.truth)[order])
        torch.testing.assert_close(batch.pose.points[row], mesh(pair.giver)[pose_order])
        assert not order.equal(pose_order)
        # Faces name the same corners as before.
        torch.testing.assert_close(
            batch.identity.points[row][batch.faces[row]], mesh(pair.identity)[FACES]
        )
        assert pair.truth == (pair.identity[0], pair.giver[1])
        assert pair.identity[0] != pair.giver[0]


def test_batches_do_not_depend_on_their_company(data: Path) -> None:
    npt(data)
    whole, part = task().batch(IDS), task(samples=3).batch(torch.tensor([2]))
    for name in ("pose", "identity", "target"):
        assert getattr(whole, name).points[2].equal(getattr(part, name).points[0])
    assert whole.faces[2].equal(part.faces[0])


@pytest.mark.parametrize(
    ("split", "poses"),
    [("seen", range(200, 600)), ("unseen", range(600, 800)), ("unseen-bent", range(200))],
)
def test_drawn_lists_keep_to_the_split(split: str, poses: range) -> None:
    empty = MeshFolder("smpl-npt", {}, {}, {})
    pairs, listed = split_pairs(f"smpl-npt/{split}", empty, SMPL_NPT.splits[split])
    assert (len(pairs), listed) == (4096, None)
    for pair in pairs:
        assert {pair.identity[0], pair.giver[0]} <= set(range(16, 30))
        assert {pair.identity[1], pair.giver[1]} <= set(poses)
    assert {p.identity[0] for p in pairs} == {p.giver[0] for p in pairs} == set(range(16, 30))
    assert len({p.giver[1] for p in pairs}) == len(poses)


def test_trivial_answers(data: Path) -> None:
    npt(data)
    pairs = task()
    outputs = pairs.trivial_outputs(IDS)
    assert list(outputs) == ["copy-pose", "copy-identity", "mean-mesh"]
    mean = torch.stack([mesh(key) for key in TRAIN]).double().mean(dim=0).float()
    for row, pair in enumerate(pairs.pairs):
        order = pairs.orders(IDS, "identity-order")[row]
        torch.testing.assert_close(outputs["copy-pose"].points[row], mesh(pair.giver)[order])
        torch.testing.assert_close(outputs["copy-identity"].points[row], mesh(pair.identity)[order])
        torch.testing.assert_close(outputs["mean-mesh"].points[row], mean[order])


def test_no_mean_mesh_without_training_meshes(data: Path) -> None:
    write_meshes(data, protocol_keys("unseen"))
    assert list(task().trivial_outputs(IDS)) == ["copy-pose", "copy-identity"]


def test_fingerprint_is_of_the_samples_alone(data: Path, tmp_path: Path) -> None:
    """The other naming, another folder, more meshes: the same; other points: another."""
    npt(data)
    first = task().fingerprint
    assert first != task(samples=4).fingerprint
    shutil.rmtree(data)
    npt(data / "deep" / "er", name="{i}_{p}.obj")
    write_meshes(data / "deep" / "er", [(20, 5)], "{i}_{p}.obj")
    assert task().fingerprint == first
    key = task().pairs[0].truth
    moved = body(*key) + 0.001 * np.eye(VERTICES, 3)  # type: ignore[misc]
    path = data / "deep" / "er" / "{}_{}.obj".format(*key)
    path.write_text(obj_text(moved) + "\n", encoding="utf-8")
    assert task().fingerprint != first


def test_records_without_a_mean_mesh_are_valid(data: Path, tmp_path: Path) -> None:
    """What is written on data without training meshes passes the project's own validation."""
    write_meshes(data, protocol_keys("unseen"))
    network = initial_network(Recipe("npt", size="tiny"))
    options = {"task": "smpl-npt/unseen", "samples": SAMPLES, "vertices": VERTICES}
    weights = Weights("tiny", "given", None, network.settings(), "0" * 64)
    (record,) = evaluate_all(Evaluation(network, weights=weights, **options))
    assert set(record.metrics.trivial) == {"copy-pose", "copy-identity"}
    assert file_problems(write_record(tmp_path, record)) == []
    form = record_to_json(record)
    form["metrics"]["trivial"] = {}
    assert [problem.field for problem in record_problems(form)[1]] == ["metrics.trivial"]


def test_pictures_of_meshes_and_scans_on_disk(data: Path) -> None:
    faust(data)
    network = initial_network(Recipe("npt", size="tiny"))
    for name, faces in (("faust/registrations", True), ("faust/scans", False)):
        panels = sample_panels(network, FGM(Budget(0.02)), task=name, sample=1, vertices=1700)
        assert (panels[0].faces is not None) == faces
        assert len(panels[0].points) == VERTICES


def test_a_record_of_a_data_set(data: Path) -> None:
    """Through the harness as any other task; a victim that knows the truth scores zero."""
    npt(data)
    pairs = load_task("smpl-npt/unseen", samples=SAMPLES, vertices=VERTICES)
    assert isinstance(pairs, PairTask)
    copy = Toy(lambda pose, identity: identity)
    record = evaluate(copy, task="smpl-npt/unseen", samples=SAMPLES, vertices=VERTICES)
    assert record.cell.vertices == VERTICES
    assert record.cell.fingerprint == pairs.fingerprint
    trivial = record.metrics.trivial
    assert trivial["copy-identity"] == pytest.approx(record.metrics.clean_pmd.mean)
    assert len(set(trivial.values())) == 3


# ---- lists


LISTED = [((29, 752), (21, 779)), ((24, 618), (25, 780)), ((16, 616), (16, 638))]
LINES = "".join(f"id{i}_{p}.obj id{j}_{q}.obj id{i}_{q}.obj\n" for (i, p), (j, q) in LISTED)


@pytest.mark.parametrize(
    ("split", "name", "place"),
    [
        ("unseen", "human_test_list", "."),
        ("unseen", "unsupervised_list_obj.txt", "list"),
        ("seen", "supervised_list_obj.txt", "list"),
    ],
)
def test_released_lists_come_first(split: str, name: str, place: str, data: Path) -> None:
    (data / place).mkdir(exist_ok=True)
    (data / place / name).write_text(LINES, encoding="utf-8")
    (data / "human_test_list").touch()  # of the two for 'unseen' NPT's own wins
    (data / place / name).write_text(LINES, encoding="utf-8")
    write_meshes(
        data / "npt-data", {k for (i, p), (j, q) in LISTED for k in ((i, p), (j, q), (i, q))}
    )
    pairs = task(f"smpl-npt/{split}", 3)
    assert [(pair.identity, pair.giver) for pair in pairs.pairs] == LISTED
    with pytest.raises(InputError, match=name + " has 3 pairs, got 4 samples"):
        task(f"smpl-npt/{split}", 4)


def test_smg_list_and_drawn_pairs(data: Path) -> None:
    keys = [(i, p) for i in (34, 35, 36) for p in (0, 179)]
    write_meshes(data / "SMG_3d_rotated", keys, SMG_3D.shown)
    pairs = task("smg-3d/seen", 8)
    assert {pair.identity[0] for pair in pairs.pairs} == {35, 36}
    assert "mean-mesh" in pairs.trivial_outputs(torch.arange(2))
    (data / "MG_list").mkdir()
    line = "id_36_pose_179.obj id_35_pose_0.obj id_36_pose_0.obj\n"
    (data / "MG_list" / "seen_pose_list.txt").write_text(line, encoding="utf-8")
    (pair,) = task("smg-3d/seen", 1).pairs
    assert (pair.identity, pair.giver, pair.truth) == ((36, 179), (35, 0), (36, 0))


BAD_LISTS = {
    "empty": ("\n \n", "no pairs"),
    "two names": ("id16_600.obj id17_601.obj\n", "line 1: expected 'identity pose truth'"),
    "four names": (LINES + LINES.splitlines()[0] + " id1_1.obj\n", "line 4: expected"),
    "other names": (LINES + "a.obj b.obj c.obj\n", "line 4: expected"),
    "smg names": ("id_1_pose_2.obj id_2_pose_3.obj id_1_pose_3.obj", "such as id16_7.obj"),
    "another truth": ("id16_600.obj id17_601.obj id16_600.obj", "line 1: the truth must be"),
    "vast numbers": (f"id16_{'9' * 5000}.obj id17_1.obj id16_1.obj", "line 1: expected"),
    "not text": ("\udcff", "not a readable list"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_list_is_named_with_its_line(case: str, tmp_path: Path) -> None:
    text, part = BAD_LISTS[case]
    path = tmp_path / "human_test_list"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=part) as caught:
        read_list(path, SMPL_NPT)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_naming_a_missing_mesh(data: Path) -> None:
    npt(data)
    (data / "human_test_list").write_text(LINES, encoding="utf-8")
    with pytest.raises(InputError, match=r"human_test_list names .* first is id16_616\.obj"):
        task(samples=3)


# ---- recognition and bad input


def test_recognition_of_everything_below_a_folder(tmp_path: Path) -> None:
    write_meshes(tmp_path / "NPT" / "npt-data", [(0, 0), (0, 700)])
    write_meshes(tmp_path / "small", [(0, 1)])
    write_meshes(tmp_path / "SMG", [(1, 1)], SMG_3D.shown)
    registrations = tmp_path / "FAUST" / "training"
    write_meshes(registrations, [(0, 1)])  # the processed form: ten people, ten poses
    write_meshes(tmp_path / ".hidden", [(0, 7), (0, 8), (0, 999)])
    write_meshes(tmp_path / "a" / "b" / "too-deep", [(0, p) for p in range(20)])
    found = {folder.dataset: folder for folder in find_meshes(tmp_path)}
    assert set(found) == {"smpl-npt", "smg-3d", "faust"}
    assert list(found["smpl-npt"].files) == [(0, 0), (0, 700)]
    assert list(found["faust"].files) == [(0, 1)]


def test_one_mesh_twice(data: Path) -> None:
    npt(data)
    shutil.copy(data / "id15_321.obj", data / "15_321.obj")
    with pytest.raises(InputError, match="the same mesh: keep one"):
        task()


def cut_mesh(data: Path) -> None:
    path = data / "id15_321.obj"
    path.write_bytes(path.read_bytes()[:-4])


def in_millimetres(data: Path) -> None:
    (data / "id15_321.obj").write_text(obj_text(1000 * body(15, 321)), encoding="utf-8")


BAD_DATA: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "nothing there": ("smpl-npt/seen", lambda d: shutil.rmtree(d), "no such folder"),
    "not that data set": ("smg-3d/seen", lambda d: None, "no SMG-3D meshes such as id_1_pose_2"),
    "no dfaust": ("dfaust/scans", lambda d: None, "no registrations_m.hdf5"),
    "other split's meshes": ("smpl-npt/seen", lambda d: None, "need .* not on disk"),
    "cut mesh": ("smpl-npt/unseen", cut_mesh, "id15_321.obj: line 18: a face needs 3 corners"),
    "millimetres": ("smpl-npt/unseen", in_millimetres, "id15_321.obj: longest side .*millimetres"),
    "no such task": ("smpl-npt/unsen", lambda d: None, "did you mean 'smpl-npt/unseen'"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_end_in_one_line(case: str, data: Path) -> None:
    name, spoil, part = BAD_DATA[case]
    npt(data)
    spoil(data)
    with pytest.raises(InputError, match=part) as caught:
        task(name)
    assert "\n" not in str(caught.value)


def test_no_folder_named_and_wrong_counts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npt(data)
    with pytest.raises(InputError, match=r"12 vertices, not 1700: ask for vertices=12"):
        load_task("smpl-npt/unseen", samples=1, vertices=1700)
    assert task_vertices("smpl-npt/unseen", 1700, samples=1) == VERTICES
    for samples in (0, 4097):
        with pytest.raises(InputError, match=r"samples must be 1\.\.4096"):
            task(samples=samples)
    monkeypatch.delenv("POSEBENCH_DATA")
    for name in set(task_names(on_disk=True)) - {"own/pairs"}:
        with pytest.raises(InputError, match="--data or in POSEBENCH_DATA"):
            task(name)


# ---- FAUST


def faust(folder: Path, scans: bool = True) -> None:
    """``training/registrations`` and ``training/scans`` of ten people in ten poses."""
    for part in ("registrations", "scans"):
        (folder / "training" / part).mkdir(parents=True)
    for number in range(100):
        key = divmod(number, 10)
        registered = ply_bytes(body(*key), form="binary_little_endian")
        path = folder / "training" / "registrations" / f"tr_reg_{number:03}.ply"
        path.write_bytes(registered)
        if scans:
            scan = ply_bytes(body(*key, 40), None, "binary_big_endian")
            (folder / "training" / "scans" / f"tr_scan_{number:03}.ply").write_bytes(scan)


def test_faust_registrations_and_scans(data: Path) -> None:
    """The same pairs; a scan gives as many of its points as the identity has, each once."""
    faust(data)
    meshes, scanned = task("faust/registrations"), task("faust/scans")
    assert meshes.pairs == scanned.pairs
    assert list(meshes.trivial_outputs(IDS)) == ["copy-pose", "copy-identity"]
    assert meshes.fingerprint != scanned.fingerprint
    a, b = meshes.batch(IDS), scanned.batch(IDS)
    torch.testing.assert_close(a.target.points, b.target.points)
    assert b.pose.points.shape == (SAMPLES, VERTICES, 3)
    for row, pair in enumerate(scanned.pairs):
        scan = torch.from_numpy(body(*pair.giver, 40)).float()  # type: ignore[misc]
        drawn = b.pose.points[row]
        # The first point is some scan point; then all are, each another.
        moved = [drawn - drawn[0] + first for first in scan]
        nearest = [(points[:, None] - scan).norm(dim=2).min(dim=1) for points in moved]
        (chosen,) = [near.indices for near in nearest if near.values.max() < 1e-5]
        assert len(set(chosen.tolist())) == VERTICES
    assert not b.pose.points[0].equal(b.pose.points[1])


def test_faust_scan_that_is_missing_small_or_too_large(data: Path) -> None:
    faust(data)
    pairs = task("faust/scans")
    i, p = pairs.pairs[0].giver
    path = data / "training" / "scans" / f"tr_scan_{10 * int(i) + int(p):03}.ply"
    for points, part in (
        (body(0, 0, 11), "11 points, fewer than 12"),
        (900 * body(0, 0, 40), "metres"),
    ):
        path.write_bytes(ply_bytes(points, None))
        with pytest.raises(InputError, match=part):
            pairs.batch(IDS)
    path.unlink()
    with pytest.raises(InputError, match="the raw scan of registration"):
        task("faust/scans")


# ---- DFAUST

RECORDINGS = {"50002_hips": 3, "50002_jumping_jacks": 4, "50007_hips": 2}


def test_dfaust_pairs_stay_with_one_person(data: Path) -> None:
    write_dfaust(data, RECORDINGS, scans=["50002_hips", "50007_hips"])
    pairs = task("dfaust/registrations", 20)
    for pair in pairs.pairs:
        assert pair.giver == pair.truth
        assert pair.identity[0] == pair.truth[0]
        if pair.truth[0] == "50002":
            assert pair.identity[1] != pair.truth[1]
    assert {pair.truth[:2] for pair in pairs.pairs} == {
        tuple(name.split("_", 1)) for name in RECORDINGS
    }
    assert list(pairs.trivial_outputs(IDS)) == ["copy-identity"]
    subject, sequence, frame = pairs.pairs[1].truth
    number = sum(f"{subject}_{sequence}".encode()) + int(frame)
    order = pairs.orders(IDS, "identity-order")[1]
    found = pairs.batch(IDS).target.points[1]
    torch.testing.assert_close(found, mesh((int(subject), number))[order])
    scanned = task("dfaust/scans", 20)
    assert {pair.truth[1] for pair in scanned.pairs} == {"hips"}
    batch = scanned.batch(torch.arange(20))
    assert batch.pose.points.shape == batch.target.points.shape == (20, VERTICES, 3)
    for key, path in scanned.scans.items():
        frame = int(path.name.split(".")[1])
        assert frame == 10 * int(key[2]) + 3, "scans are paired by their order"


def without_faces(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["faces"]


def other_shape(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["50009_hips"] = np.zeros((3, 12, 5))


def faces_of_others(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["faces"][0] = 12


def linked(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["50009_hips"] = h5py.ExternalLink("/etc/passwd", "/hips")


def of_text(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["50009_hips"] = "text"


def scaled(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for name in RECORDINGS:
            file[name][:] *= 1000


def no_recordings(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for name in RECORDINGS:
            del file[name]


def one_scan_less(path: Path) -> None:
    next((path.parent / "scans" / "50002" / "hips").iterdir()).unlink()


BAD_HDF5: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda p: p.write_text("mine", encoding="utf-8"), "not a readable HDF5 file"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:900]), "not a readable HDF5 file"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "no such file"),
    "no faces": (without_faces, "no data set 'faces'"),
    "faces beyond": (faces_of_others, "faces over other vertices than 0..11"),
    "not (V, 3, T)": (other_shape, "50009_hips has shape"),
    "link to another file": (linked, "no data set '50009_hips' in it"),
    "text inside": (of_text, "'50009_hips' holds no numbers"),
    "no recordings": (no_recordings, "named like 50002_hips"),
    "millimetres": (scaled, "longest side .*millimetres"),
    "a scan missing": (one_scan_less, "2 scans for 3 registrations"),
}


@pytest.mark.parametrize("case", BAD_HDF5)
def test_bad_dfaust_is_named(case: str, data: Path) -> None:
    spoil, part = BAD_HDF5[case]
    write_dfaust(data, RECORDINGS, scans=["50002_hips"])
    spoil(data / "registrations_m.hdf5")
    with pytest.raises(InputError, match=part) as caught:
        task("dfaust/scans").batch(IDS)
    assert "\n" not in str(caught.value)
    assert str(data) in str(caught.value)


def test_damaged_hdf5_is_read_or_refused(tmp_path: Path) -> None:
    write_dfaust(tmp_path, RECORDINGS)
    path = tmp_path / "registrations_m.hdf5"
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        at = int(rng.integers(len(raw)))
        path.write_bytes(raw[:at] + rng.bytes(4) + raw[at + 4 :])
        try:
            data = find_dfaust(tmp_path)
            assert data is not None
            data.vertices([(*key, 0) for key in data.recordings])
        except InputError:
            refused += 1
    assert 0 < refused < 60


def test_every_data_set_keeps_the_contract() -> None:
    """Names parse to themselves under their own key; nothing is read for that."""
    assert list(DATASETS) == ["anny", "smpl-npt", "smg-3d", "faust", "dfaust", "own"]
    for key, dataset in DATASETS.items():
        assert isinstance(dataset, Dataset)
        assert dataset.tasks()
        for name in dataset.tasks():
            assert name.startswith(f"{key}/")
            parsed = dataset.parse(name)
            assert (parsed.name, parsed.trivial) == (name, name)
            assert parsed.distorted == (key == "own" or name.endswith("/scans"))
        for name in (f"{key}/none", f"{key}/", key):
            with pytest.raises(InputError, match=f"unknown task {name!r}.*{dataset.tasks()[0]}"):
                parse_task(name)
    assert set(task_names(on_disk=True)) | set(task_names(on_disk=False)) == set(task_names())
    with pytest.raises(InputError, match="unknown task 'fause/scans': did you mean 'faust/scans'"):
        parse_task("fause/scans")
    assert parse_task("anny/scan@3") == TaskName("anny/scan@3", True, "anny/seen")
    assert parse_task("anny/rotate@3") == TaskName("anny/rotate@3", True, "anny/rotate@3")


def test_faces_over_the_pose_source(data: Path) -> None:
    """Between the same corners as over the giver's mesh; none over a scan."""
    faust(data)
    found = task("faust/registrations")
    corners = found.pose_faces(IDS)
    assert corners is not None
    batch = found.batch(IDS)
    for row, pair in enumerate(found.pairs):
        expected = mesh(pair.giver)[FACES]
        torch.testing.assert_close(batch.pose.points[row][corners[row]], expected)
    assert task("faust/scans").pose_faces(IDS) is None
    clean, noisy = (load_task(f"anny/{n}", samples=1, vertices=800) for n in ("seen", "noise@0.1"))
    assert clean.pose_faces(IDS[:1]) is not None
    assert noisy.pose_faces(IDS[:1]) is None


def test_the_listed_names_are_the_tasks_there_are() -> None:
    """Listing must not load the data sets, so the names stand twice."""
    families = {name.partition("@")[0] for name in task_families()}
    listed = {name.partition("@")[0] for name in TASK_LINES}
    assert listed == {*task_names(), *families}
