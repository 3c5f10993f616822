"""Pairs of one's own: from arrays and files, with and without a truth, in records and commands."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import posebench
from posebench.attacks import FGM, Universal
from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.audit.verify import rerun_of, run_again
from posebench.benchmark.data.body import load_body, pose_body
from posebench.benchmark.data.datasets import load_task, parse_task
from posebench.benchmark.data.own_files import OwnFiles, opened, read_pairs, rows_of
from posebench.benchmark.data.own_pairs import OwnPairs
from posebench.benchmark.evaluation.settings import EvaluationSettings
from posebench.benchmark.evaluation.without_truth import crease_change, neighbours
from posebench.benchmark.gate.config import GateCell
from posebench.benchmark.gate.measure import measure_cell
from posebench.benchmark.records.form import record_to_json
from posebench.benchmark.records.store import read_record, record_problems, write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.objective import pmd
from posebench.victims import write_weights
from tests.bad_meshes import FACES, call, obj_text
from tests.toys import Cheat, Toy

pytestmark = pytest.mark.usefixtures("one_thread")


def posed(identity: int, pose: int) -> np.ndarray:
    body = load_body(800)
    found = pose_body(body, torch.tensor([identity]), body.poses["seen"][[pose]])
    return found[0].double().numpy()


GIVER, PERSON, TRUTH = posed(20, 30), posed(21, 60), posed(21, 30)
SCAN = GIVER[np.random.default_rng(0).permutation(800)[:600]]


def growing(pose: Clouds, identity: Clouds) -> Clouds:
    """The identity, grown by the pose's mean squared coordinate: what comes out is known."""
    return identity.replace(identity.points * factor(pose)[:, None, None])


def factor(pose: Clouds) -> torch.Tensor:
    return 1 + pose.points.square().mean(dim=(1, 2))


GROWING = Toy(growing)


@cache
def pairs(*, truth: bool = True, scan: bool = False) -> OwnPairs:
    targets = [TRUTH, PERSON] if truth else None
    poses = [SCAN if scan else GIVER, GIVER]
    return OwnPairs.of(poses, [PERSON, TRUTH], targets, faces=FACES)


# ---- the task


def test_batches_follow_the_protocol() -> None:
    """Centred boxes, both orders shuffled, the truth and the faces in the identity's order."""
    found = pairs()
    batch = found.batch(torch.arange(2))
    for cloud, meshes in ((batch.pose, (GIVER, GIVER)), (batch.identity, (PERSON, TRUTH))):
        for row, mesh in zip(cloud.points.double().numpy(), meshes, strict=True):
            low, high = row.min(axis=0), row.max(axis=0)
            np.testing.assert_allclose(low, -high, atol=1e-6)
            middle = (mesh.min(axis=0) + mesh.max(axis=0)) / 2
            assert not np.allclose(row, mesh - middle, atol=1e-3)
            wanted = (mesh - middle)[np.lexsort(mesh.T)]
            np.testing.assert_allclose(
                row[np.lexsort(row.round(5).T)].sum(), wanted.sum(), atol=1e-3
            )
    edges = np.linalg.norm(PERSON[FACES[:, 0]] - PERSON[FACES[:, 1]], axis=1)
    corners = batch.identity.points[0][batch.faces[0]]
    np.testing.assert_allclose((corners[:, 0] - corners[:, 1]).norm(dim=1), edges, atol=1e-5)
    moved = TRUTH - PERSON
    shift = (batch.target.points - batch.identity.points)[0].double().numpy()
    spread = [np.sort((each - each.mean(axis=0))[:, 1]) for each in (moved, shift)]
    np.testing.assert_allclose(spread[0], spread[1], atol=1e-5)


def test_scans_of_any_size_are_thinned_and_never_padded() -> None:
    found = replace(pairs(scan=True), points=500)
    assert (found.stacks, found.keeps_count, found.vertices) == (True, False, 800)
    assert found.batch(torch.arange(2)).pose.points.shape == (2, 500, 3)
    assert not pairs(scan=True).stacks
    assert pairs().keeps_count


def test_the_name_is_that_of_the_content() -> None:
    found = pairs()
    assert found.name == f"own/{found.fingerprint[:12]}"
    assert found.first(1).name == found.name
    assert found.first(1).fingerprint != found.fingerprint
    moved = OwnPairs.of([GIVER + 5, GIVER], [PERSON, TRUTH + 1], [TRUTH, PERSON], faces=FACES)
    assert moved.batch(torch.tensor([0])).pose.points.shape == (1, 800, 3)
    for other in (pairs(truth=False), pairs(scan=True), replace(found, points=100)):
        assert other.fingerprint != found.fingerprint
    assert parse_task(found.name).distorted
    with pytest.raises(InputError, match="unknown task 'own/mine'"):
        parse_task("own/mine")


def test_without_a_truth_the_target_is_undefined() -> None:
    found = pairs(truth=False)
    assert found.batch(torch.arange(2)).target.points.isnan().all()
    assert found.trivial_outputs(torch.arange(2)) == {}
    assert list(pairs().trivial_outputs(torch.arange(2))) == ["copy-identity"]


WRONG: dict[str, tuple[Callable[[], OwnPairs], str]] = {
    "lengths": (lambda: OwnPairs.of([GIVER], [PERSON, TRUTH]), "1 poses, 2 identities"),
    "none": (lambda: OwnPairs.of([], []), "there must be 1..4096, got 0"),
    "some targets": (
        lambda: OwnPairs.of([GIVER] * 2, [PERSON] * 2, [TRUTH, None]),
        "pair 1 has no target, others have",
    ),
    "flat": (lambda: OwnPairs.of([GIVER[:, :2]], [PERSON]), r"pair 0: points must be \(N, 3\)"),
    "infinite": (lambda: OwnPairs.of([GIVER / 0], [PERSON]), "pair 0: coordinates must be finite"),
    "faces": (lambda: OwnPairs.of([GIVER], [PERSON], faces=FACES + 1), "over its 800 vertices"),
    "millimetres": (lambda: OwnPairs.of([1000 * GIVER], [PERSON]), "with unit mm it would be"),
    "count": (
        lambda: OwnPairs.of([GIVER], [PERSON], [TRUTH[:700]]),
        "target pair 0 has 700 vertices",
    ),
    "order": (
        lambda: OwnPairs.of([GIVER], [PERSON], [TRUTH[::-1]], faces=FACES),
        "not in the identity's order",
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("name", WRONG)
def test_bad_arrays_are_refused(name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        make()


# ---- what is measured


def test_with_a_truth_the_record_is_as_of_any_task() -> None:
    """Every number from the formula, in float64."""
    found = pairs()
    record = posebench.evaluate(GROWING, data=found)
    batch = found.batch(torch.arange(2))
    wanted = pmd(growing(batch.pose, batch.identity), batch.target)
    np.testing.assert_allclose(record.metrics.clean_pmd.values, wanted, rtol=1e-5)
    untouched = pmd(batch.identity, batch.target).mean()
    assert record.metrics.trivial == {"copy-identity": pytest.approx(float(untouched), rel=1e-5)}
    assert (record.cell.task, record.cell.samples) == (found.name, 2)
    assert (record.cell.vertices, record.cell.fingerprint) == (800, found.fingerprint)
    assert record.metrics.truth
    assert record_problems(record_to_json(record))[1] == []


def untrue(**more: object) -> tuple[Record, OwnPairs]:
    found = pairs(truth=False, scan=True)
    attack = Cheat(Budget(0.5), lambda pose: pose.replace(1.1 * pose.points))
    return posebench.evaluate(GROWING, data=found, attack=attack), found


def test_without_a_truth_displacement_and_plausibility_are_exact() -> None:
    """The output grows: edges by the factor, angles not at all, and it moves by a known amount."""
    record, found = untrue()
    metrics, moved, edges = record.metrics, [], []
    for number in range(2):
        batch = found.batch(torch.tensor([number]))
        before, after = factor(batch.pose), 1 + 1.21 * batch.pose.points.square().mean()
        size = batch.identity.points.square().mean()
        moved.append(float((after - before) ** 2 * size))
        edges.append((float(before - 1), float(after - 1)))
    np.testing.assert_allclose(metrics.attacked["displacement"].values, moved, rtol=1e-3)
    np.testing.assert_allclose(
        metrics.clean["edge_change"].values, [e[0] for e in edges], rtol=1e-3
    )
    np.testing.assert_allclose(
        metrics.attacked["edge_change"].values, [e[1] for e in edges], rtol=1e-3
    )
    assert metrics.attacked["crease_change"].worst < 0.1
    assert metrics.attack is not None
    ratio = np.median(moved / metrics.attack.noise_pmd.values)
    assert metrics.attack.rates["gain_over_noise"] == pytest.approx(ratio, rel=1e-3)


def test_what_needs_a_truth_is_undefined() -> None:
    record, _ = untrue()
    metrics = record.metrics
    assert not metrics.truth
    assert math.isnan(metrics.pmd.mean) and math.isnan(metrics.clean_pmd.mean)  # noqa: PT018
    assert metrics.trivial == {}
    assert metrics.attack is not None
    defined = {name for name, rate in metrics.attack.rates.items() if not math.isnan(rate)}
    assert defined == {"gain_over_noise"}
    assert record.cell.attack is not None and record.cell.attack.metric == "displacement"  # noqa: PT018
    assert "under-trained" not in record.flags
    assert "near-trivial" not in record.flags
    assert "truth" in str(record)
    assert "none, so no error" in str(record)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("metrics.trivial", lambda form: form["metrics"].update(trivial={"copy-identity": 1.0})),
        ("cell.metric", lambda form: form["cell"].update(metric="pmd")),
        ("metrics.displacement", lambda form: form["metrics"].pop("displacement")),
        ("metrics.gain_over_noise", lambda form: form["metrics"].update(gain_over_noise=9.5)),
        ("metrics.asr@tau", lambda form: form["metrics"].update({"asr@tau": 0.5})),
    ],
)
def test_forged_records_without_a_truth_are_refused(
    field: str, change: Callable[[dict[str, dict[str, object]]], object]
) -> None:
    victim = initial_network(Recipe("npt-mp", size="tiny")).eval()
    record = posebench.evaluate(victim, data=pairs(truth=False), attack=FGM(Budget(0.02)))
    form = json.loads(json.dumps(record_to_json(record)))
    assert record_problems(form)[1] == []
    change(form)
    assert field in {problem.field for problem in record_problems(form)[1]}


def test_gradient_attacks_move_what_has_no_truth() -> None:
    """FGM starts where the distance from the victim's own output has no gradient."""
    victim = initial_network(Recipe("npt-mp", size="tiny")).eval()
    record = posebench.evaluate(victim, data=pairs(truth=False), attack=FGM(Budget(0.02)))
    assert record.metrics.attack is not None
    assert record.metrics.attack.norms["rms"].per_sample == pytest.approx([0.02] * 2, rel=1e-4)
    assert (record.metrics.attacked["displacement"].values > 0).all()
    nothing = posebench.evaluate(victim, data=pairs(truth=False), attack=FGM(Budget(0.0)))
    assert (nothing.metrics.attacked["displacement"].values == 0).all()


def test_what_needs_more_pairs_or_a_truth_says_so() -> None:
    with pytest.raises(InputError, match="fitted on 16 more pairs than the 2"):
        posebench.evaluate(GROWING, data=pairs(), attack=Universal(Budget(0.02)))
    with pytest.raises(InputError, match="own data have 2 pairs, got 3 samples"):
        posebench.evaluate(GROWING, data=pairs(), samples=3)


def test_creases_of_a_folded_sheet() -> None:
    """Two triangles that share an edge: flat, then folded by 90 degrees."""
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]])
    folded = flat.clone()
    folded[3] = torch.tensor([0.0, 0, 1])
    batch = replace(
        pairs().batch(torch.tensor([0])), identity=Clouds.dense(flat[None]), faces=faces[None]
    )
    assert [each.tolist() for each in neighbours(faces)] == [[0], [1]]
    assert float(crease_change(Clouds.dense(folded[None]), batch)) == pytest.approx(90, abs=1e-3)
    assert (
        float(
            crease_change(Clouds.dense(flat[None] @ torch.diag(torch.tensor([-1.0, 1, -1]))), batch)
        )
        == 0
    )


# ---- files


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Meshes, a scan in millimetres with -y up, lists with and without targets, tiny weights."""
    folder = tmp_path_factory.mktemp("mine")
    for name, points in (("pose", GIVER), ("me", PERSON), ("truth", TRUTH)):
        (folder / f"{name}.obj").write_text(obj_text(points, FACES))
    np.save(folder / "scan.npy", 1000 * SCAN * [1, -1, -1])
    (folder / "pairs.csv").write_text("pose,identity,target\npose.obj,me.obj,truth.obj\n")
    (folder / "free.csv").write_text(
        "pose, identity, pose_unit, pose_up\nscan.npy, me.obj, mm, -y\npose.obj, truth.obj,,\n"
    )
    victim = initial_network(Recipe("npt-mp", size="tiny")).eval()
    write_weights(folder / "tiny.safetensors", victim, {"training": "clean"})
    return folder


def test_columns_say_how_a_rows_files_lie(mine: Path) -> None:
    """The same content as arrays, so the same name."""
    found = read_pairs(mine / "free.csv")
    np.testing.assert_allclose(found.pairs[0].pose, placed(SCAN), atol=1e-6)
    assert not found.truth
    listed = rows_of(OwnFiles(str(mine / "free.csv"), pose_turn=90.0))
    assert [row.frames.pose_unit for row in listed] == ["mm", None]
    assert [row.frames.pose_turn for row in listed] == [90.0, 90.0]
    assert listed[1].where.endswith("free.csv line 3")
    arrays = OwnPairs.of([GIVER], [PERSON], [TRUTH], faces=FACES)
    assert read_pairs(mine / "pairs.csv").name == arrays.name


def placed(points: np.ndarray) -> np.ndarray:
    return points - (points.min(axis=0) + points.max(axis=0)) / 2


def test_a_folder_of_folders_is_the_same_data(mine: Path, tmp_path: Path) -> None:
    inner = tmp_path / "a"
    inner.mkdir()
    for name, source in (("pose", "pose"), ("identity", "me"), ("target", "truth")):
        (inner / f"{name}.obj").write_bytes((mine / f"{source}.obj").read_bytes())
    (inner / "notes.txt").write_text("not a mesh")
    assert read_pairs(tmp_path).name == read_pairs(mine).name
    (inner / "pose.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"pose.obj: there is pose.npy beside it"):
        read_pairs(tmp_path)


def test_a_file_that_changed_is_read_again(mine: Path, tmp_path: Path) -> None:
    for name in ("pose.obj", "me.obj", "truth.obj", "pairs.csv"):
        (tmp_path / name).write_bytes((mine / name).read_bytes())
    first = opened(OwnFiles(str(tmp_path)))
    assert opened(OwnFiles(str(tmp_path))) is first
    (tmp_path / "pose.obj").write_text(obj_text(TRUTH, FACES))
    assert opened(OwnFiles(str(tmp_path))).pairs.name != first.pairs.name


BAD_LISTS = {
    "pose,identity\n": "holds 0 pairs, expected rows below its header",
    "pose,body\na,b\n": "unknown column 'body'",
    "pose,target\na,b\n": "column 'identity' is missing",
    "pose,identity\npose.obj\n": "line 2: has not as many cells as the header",
    "pose,identity\n,me.obj\n": "line 2: pose is empty",
    "pose,identity,turn\npose.obj,me.obj,left\n": "turn must be degrees, not 'left'",
    "pose,identity\ngone.obj,me.obj\n": "cannot read .*gone.obj: No such file",
    "pose,identity,pose_crop\npose.obj,me.obj,walls\n": "crop 'walls': a step is box:",
    "pose,identity,target\npose.obj,me.obj,truth.obj\npose.obj,me.obj,\n": "pair 1 has no target",
}


@pytest.mark.parametrize("text", BAD_LISTS)
def test_bad_lists_end_in_one_line(text: str, mine: Path) -> None:
    (mine / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=BAD_LISTS[text]):
        read_pairs(mine / "bad.csv")


# ---- commands


@pytest.fixture
def ran(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``run`` with tiny weights, FGM and further words; what it printed."""
    monkeypatch.setenv("POSEBENCH_PAIRS", "")  # restored afterwards

    def run(*more: object) -> str:
        base = ["run", "--victim", "npt-mp", "--weights", mine / "tiny.safetensors"]
        done = call([str(w) for w in [*base, "--out", tmp_path / "runs", *more]])
        assert done["code"] == 0, done["err"]
        return str(done["out"]) + str(done["err"])

    return run


def test_run_with_a_truth_is_validated_verified_and_reported(
    mine: Path, tmp_path: Path, ran: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ran("--pairs", mine / "pairs.csv", "--attack", "none")
    assert "1 pairs, identities of 800 vertices, with targets" in text
    assert "copy-identity" in text
    (path,) = (tmp_path / "runs").rglob("*.json")
    record = read_record(path)
    assert record.cell.task == read_pairs(mine).name
    assert file_problems(path) == []
    again = rerun_of(record, weights=mine / "tiny.safetensors", device="cpu")
    assert all(each.holds and each.off == 0 for each in run_again(again))
    monkeypatch.setenv("POSEBENCH_PAIRS", str(mine / "free.csv"))
    with pytest.raises(InputError, match=f"{record.cell.task} are other pairs than those of"):
        load_task(record.cell.task, samples=1)
    monkeypatch.delenv("POSEBENCH_PAIRS")
    with pytest.raises(InputError, match="name them with --pairs or in POSEBENCH_PAIRS"):
        load_task(record.cell.task, samples=1)


def test_run_without_a_truth_prints_what_can_be_known(
    mine: Path, tmp_path: Path, ran: Callable[..., str]
) -> None:
    text = ran("--pairs", mine / "free.csv", "--eps", 0.02, "--attack", "fgm")
    for part in ("without targets, so no error is measured", "displaced", "creases", "no truth"):
        assert part in text
    assert "without any skill" not in text
    (path,) = (tmp_path / "runs").rglob("*.json")
    record = read_record(path)
    assert file_problems(path) == []
    again = rerun_of(record, weights=mine / "tiny.safetensors", device="cpu")
    assert all(each.holds and each.off == 0 for each in run_again(again))
    reported = call(["report", "--records", str(tmp_path / "runs"), "--out", str(tmp_path / "t")])
    assert "1 have none" in reported["err"]
    write_record(tmp_path / "runs", posebench.evaluate(GROWING, data=pairs()))
    assert (
        call(["report", "--records", str(tmp_path / "runs"), "--out", str(tmp_path / "t")])["code"]
        == 0
    )
    assert (
        "Not shown: 1 records of pairs without a truth" in (tmp_path / "t/results.md").read_text()
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--pose-unit", "mm"], "--pose-unit needs --pairs"),
        (["run", "--crop-picture", "a.png"], "--crop-picture needs --pairs"),
        (["run", "--pairs", "MINE", "--task", "anny/wide"], "--pairs and --task: name one"),
        (["run", "--pairs", "MINE", "--samples", "2"], "has 1 pairs, got 2 samples"),
        (["run", "--pairs", "MINE", "--crop-picture", "a.png"], "needs a --pose-crop"),
        (["run", "--pairs", "MINE", "--unit", "cm"], "with --pose-unit m it would be"),
        (
            ["run", "--pairs", "MINE/free.csv", "--eps", "0:0.02:3", "--plot", "a.png"],
            "needs target",
        ),
        (["check", "--pairs", "MINE/free.csv", "--samples", "2"], "checks need the right answer"),
        (["run", "--task", "own/0123456789ab"], "are pairs of somebody's own files"),
    ],
)
def test_bad_options_end_in_one_line(
    words: list[str], message: str, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_PAIRS", "")
    monkeypatch.chdir(tmp_path)
    more = ["--victim", "npt-mp", "--weights", str(mine / "tiny.safetensors")]
    done = call([*(word.replace("MINE", str(mine)) for word in words), *more])
    assert done["code"] == 2, done
    assert message in done["err"]
    assert "Traceback" not in done["err"]


def test_a_gate_needs_targets_and_says_so(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = EvaluationSettings("npt-mp", attack="fgm", eps=(0.02,), task="own/pairs", samples=2)
    cell = GateCell(asked)
    monkeypatch.setenv("POSEBENCH_PAIRS", str(mine / "pairs.csv"))
    one = replace(cell, evaluation=replace(cell.evaluation, samples=1))
    assert np.isfinite(measure_cell(one, GROWING, [0]).pmd).all()
    monkeypatch.setenv("POSEBENCH_PAIRS", str(mine / "free.csv"))
    with pytest.raises(InputError, match="these pairs have no targets"):
        measure_cell(cell, GROWING, [0])


def test_sweeps_run_on_own_pairs(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_PAIRS", "")
    (tmp_path / "grid.toml").write_text(
        f'weights = ["{mine / "tiny.safetensors"}"]\nvictims = ["npt-mp"]\ntasks = ["own/pairs"]\n'
        'attacks = ["none", "fgm"]\neps = "0.02"\nsamples = 2\n[[grid]]\n'
    )
    words = ["sweep", str(tmp_path / "grid.toml"), "--pairs", str(mine / "free.csv")]
    done = call([*words, "--out", str(tmp_path / "runs")])
    assert done["code"] == 0, done["err"]
    records = [read_record(path) for path in (tmp_path / "runs").rglob("*.json")]
    assert {record.cell.task for record in records} == {read_pairs(mine / "free.csv").name}
    again = call([*words, "--out", str(tmp_path / "runs"), "--overwrite", "never"])
    assert "2 of the sweep's records exist" in again["err"]


def test_the_pages_commands_run(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command line of the page, with tiny weights and one step, and its Python."""
    monkeypatch.setenv("POSEBENCH_PAIRS", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(mine)
    x, z = np.random.default_rng(0).uniform(-0.7, 0.7, (2, 2000))
    ground = np.stack([x, np.full(2000, GIVER[:, 1].min()), z], axis=1)
    np.save(mine / "room.npy", np.concatenate([GIVER, ground]))
    (mine / "room.csv").write_text("pose,identity\nroom.npy,me.obj\n")
    page = (Path(__file__).parent.parent / "docs/own-data.md").read_text(encoding="utf-8")
    lines = [
        line for part in page.split("```sh\n")[1:] for line in part.split("```")[0].splitlines()
    ]
    assert len(lines) == 2
    for line in lines:
        more = ["--weights", "mine/tiny.safetensors", "--iterations", "1"]
        more += [] if "--attack" in line else ["--attack", "pgd"]
        done = call([*shlex.split(line)[1:], *more])
        assert done["code"] == 0, done["err"]
    assert (tmp_path / "crop.png").read_bytes().startswith(b"\x89PNG")
    victim = posebench.load_victim("npt-mp", weights=mine / "tiny.safetensors")
    monkeypatch.setattr(posebench, "load_victim", lambda name: victim)
    code = page.split("```python\n")[1].split("```")[0]
    exec(compile(code, "own-data.md", "exec"), {})
    assert "clean PMD" in capsys.readouterr().out
