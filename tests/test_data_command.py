"""``posebench data`` and ``run`` on licensed data, as a user calls them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import write_weights
from tests.command_line import Cli, Outcome
from tests.forged_data import (
    VERTICES,
    body,
    obj_text,
    smpl_arrays,
    smpl_pickle,
    write_dfaust,
    write_meshes,
)


@pytest.fixture(autouse=True)
def no_data_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what ``--data`` sets is undone afterwards."""
    monkeypatch.setenv("POSEBENCH_DATA", "")


def assert_refused(outcome: Outcome, part: str) -> None:
    code, out, err = outcome
    assert (code, out) == (2, ""), outcome
    (line,) = err.splitlines()
    assert line.startswith("posebench: error: ")
    assert part in line


def test_from_a_model_to_a_record(cli: Cli, tmp_path: Path) -> None:
    """Make meshes from a forged pickle, check them, evaluate a network on them."""
    (tmp_path / "male.pkl").write_bytes(smpl_pickle(2, python2=True))
    make = ["data", "make", "smpl-npt", "--model", tmp_path / "male.pkl", "--out", tmp_path / "npt"]
    code, out, _ = cli(*make, "--identities", "16:30", "--poses", "600:606")
    assert (code, out.split(": ")[1]) == (0, "84 meshes written, 84 there\n")
    assert "0 meshes written" in cli(*make, "--identities", "16:30", "--poses", "600:606")[1]

    listed = "".join(
        f"id{16 + k}_60{k}.obj id20_60{k + 1}.obj id{16 + k}_60{k + 1}.obj\n" for k in range(4)
    )
    (tmp_path / "npt" / "unsupervised_list_obj.txt").write_text(listed, encoding="utf-8")
    code, out, err = cli("data", "check", tmp_path / "npt")
    assert (code, err) == (0, "")
    for part in (
        "SMPL-NPT",
        "84: 14 identities, 6 poses",
        "12, 6 faces",
        "23916 of 30 identities, from id0_0.obj to id29_799.obj",
        "4 pairs of",
        "pairs drawn by the protocol; ",
    ):
        assert part in out

    network = initial_network(Recipe("npt-mp", size="tiny"))
    write_weights(tmp_path / "w.safetensors", network, {"training": "clean"})
    run = ["run", "--victim", "npt-mp", "--weights", tmp_path / "w.safetensors", "--size", "tiny"]
    run += ["--task", "smpl-npt/unseen", "--samples", 4, "--out", tmp_path / "runs", "--json"]
    code, out, err = cli(*run, "--data", tmp_path / "npt")
    assert (code, err) == (0, "")
    cell = json.loads(out)[0]["cell"]
    assert (cell["task"], cell["vertices"], cell["samples"]) == ("smpl-npt/unseen", 12, 4)
    assert_refused(cli(*run, "--samples", 5, "--data", tmp_path / "npt"), "has 4 pairs, got 5")
    assert cli(*run, "--data", tmp_path)[1] == out, "found below a folder too"
    assert_refused(cli(*run, "--task", "smpl-npt/seen", "--data", tmp_path), "not on disk")


def test_check_of_each_kind(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "male.npz", **smpl_arrays())  # type: ignore[arg-type]
    code, out, _ = cli("data", "check", tmp_path / "male.npz")
    assert code == 0
    assert "SMPL model" in out
    assert "10 used" in out
    write_dfaust(tmp_path / "d", {"50002_hips": 3, "50004_run": 2}, scans=["50002_hips"])
    write_meshes(tmp_path / "smg", [(35, 0), (36, 0), (36, 1)], "id_{i}_pose_{p}.obj")
    code, out, _ = cli("data", "check", tmp_path)
    assert code == 0
    for part in (
        "SMG-3D",
        "1 of 1 identities, from id_35_pose_1.obj to id_35_pose_1.obj",
        "DFAUST",
        "2 of 2 people, 5 frames",
        "3 of 5 registrations",
        "5 frames read",
    ):
        assert part in out


def test_bad_paths_and_options(cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("data", "check", tmp_path / "none"), "no such file or folder")
    assert_refused(cli("data", "check", tmp_path), "no SMPL-NPT, SMG-3D, FAUST or DFAUST")
    (tmp_path / "id1_2.obj").write_text(obj_text(1000 * body(1, 2)), encoding="utf-8")
    assert_refused(cli("data", "check", tmp_path), "millimetres")
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert_refused(cli("data", "check", tmp_path / "model.pkl"), "names os.system")
    make = ["data", "make", "smpl-npt", "--model", tmp_path / "model.pkl", "--out", tmp_path / "x"]
    for option in ("--identities", "--poses"):
        for text in ("3", "5:5", "6:2", "0:801", "a:b", "-1:3", f"0:{'9' * 9999}"):
            assert_refused(cli(*make, f"{option}={text}"), f"{option} must be first:end")
    assert_refused(cli(*make), "names os.system")
    assert not (tmp_path / "x").exists()
    task = ["--victim", "npt", "--task", "faust/scans", "--out", tmp_path / "a.png"]
    assert_refused(cli("run", *task), "--data or in POSEBENCH_DATA")
    assert_refused(cli("run", *task, "--data", tmp_path / "none"), "no such folder")


def test_h5py_is_asked_for_where_it_is_needed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_meshes(tmp_path / "smg", [(35, 0)], "id_{i}_pose_{p}.obj")
    (tmp_path / "dfaust").mkdir()
    (tmp_path / "dfaust" / "registrations_f.hdf5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert cli("data", "check", tmp_path / "smg")[0] == 0
    assert_refused(cli("data", "check", tmp_path / "dfaust"), "this needs h5py: pip install h5py")


def test_check_takes_licensed_data(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are named as the refusal says, and keep their own vertices; checks have tests."""
    check = ["check", "--victim", "npt-mp", "--task", "smg-3d/seen"]
    check += ["--weights", tmp_path / "w.safetensors", "--samples", 2, "--iterations", 1]
    network = initial_network(Recipe("npt-mp", size="tiny"))
    write_weights(tmp_path / "w.safetensors", network, {})
    assert_refused(cli(*check), "name their folder with --data or in POSEBENCH_DATA")
    keys = [(i, p) for i in (35, 36) for p in (0, 179)]
    write_meshes(tmp_path / "smg", keys, "id_{i}_pose_{p}.obj")
    subjects: list[Subject] = []
    monkeypatch.setattr(
        "posebench.benchmark.checks.run.run_checks", lambda subject: subjects.append(subject) or []
    )
    code, _, err = cli(*check, "--data", tmp_path / "smg")
    assert code == 0, err
    assert [batch.pose.points.shape for batch in subjects[0].batches] == [(1, VERTICES, 3)] * 2


def test_pictures_of_licensed_data_need_the_data(cli: Cli, tmp_path: Path) -> None:
    task = ["--task", "faust/scans", "--out", tmp_path / "a.png"]
    assert_refused(cli("plot", "grid", "--victim", "npt", *task), "--data or in POSEBENCH_DATA")


def test_list_names_the_tasks(cli: Cli) -> None:
    assert "smpl-npt/unseen-bent" in cli("list")[1].replace("\n", " ")
