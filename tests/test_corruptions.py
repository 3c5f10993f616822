"""Corruptions in closed form, tasks with distorted pose sources, and how victims meet them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.attacks import FGM, PGD
from posebench.benchmark.data import corruptions, depth_camera, scan
from posebench.benchmark.data.anny import Anny
from posebench.benchmark.data.corruptions import (
    CORRUPTIONS,
    add_global,
    add_local,
    bounding_ball,
    drop_global,
    drop_local,
    jitter,
    rotate,
    scale,
)
from posebench.benchmark.data.datasets import load_task, parse_task
from posebench.benchmark.data.distortion import FIRST, kinds, parse_distortion
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.harness import Execution, evaluate, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.reports.pictures import draw_rows
from posebench.benchmark.reports.sample_picture import sample_panels
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Attack, Budget
from posebench.rng import generator_for
from tests.toys import Toy, random_points

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent
POINTS = random_points(1700)
LEVELS = [name for kind in CORRUPTIONS for name in (f"{kind}@1", f"{kind}@5")]
DISTORTIONS = ["scan@0", "scan@5", "noise@0.02", *LEVELS]


def distances(points: Tensor) -> Tensor:
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


# ---- closed forms


def test_jitter_has_its_standard_deviation() -> None:
    moved = jitter(POINTS, 0.03, generator_for(0)) - POINTS
    assert float(moved.std()) == pytest.approx(0.03, rel=0.05)
    assert float(moved.mean()) == pytest.approx(0, abs=0.002)


def test_rotation_is_rigid_about_the_origin_and_bounded() -> None:
    angles = []
    for seed in range(40):
        turned = rotate(POINTS[:50], 30.0, generator_for(seed))
        torch.testing.assert_close(distances(turned), distances(POINTS[:50]))
        frame = rotate(torch.eye(3).double(), 30.0, generator_for(seed))  # rows: images of axes
        torch.testing.assert_close(POINTS[:50] @ frame, turned)
        assert torch.linalg.det(frame) == pytest.approx(1)
        # R = Rz Ry Rx: its angles about the axes.
        angles.append(
            [
                math.atan2(frame[1, 2], frame[2, 2]),
                -math.asin(frame[0, 2]),
                math.atan2(frame[0, 1], frame[0, 0]),
            ]
        )
    degrees = np.rad2deg(angles)
    assert np.abs(degrees).max() <= 30
    assert np.abs(degrees).max(axis=0).min() > 20
    assert degrees.min() < 0 < degrees.max()


def test_scale_has_one_factor_for_each_axis() -> None:
    factors = []
    for seed in range(40):
        ratio = scale(POINTS, 1.5, generator_for(seed)) / POINTS
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
        factors.append(ratio[0])
    found = torch.stack(factors)
    assert found.min() >= 1 / 1.5
    assert found.max() <= 1.5
    assert found.max() > 1.3
    assert found.min() < 0.8


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1700])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.75])
def test_counts_are_exact(count: int, share: float) -> None:
    points = POINTS[:count]
    changed = round(share * count)
    for seed in range(3):
        for drop in (drop_global, drop_local):
            if drop is drop_local and share > 0.5:
                continue
            kept = drop(points, share, generator_for(seed))
            assert len(kept) == count - changed
            number = {tuple(row): i for i, row in enumerate(points.tolist())}
            index = [number[tuple(row)] for row in kept.tolist()]
            assert index == sorted(set(index)), "some of the points, in their order"
        for add in (add_global, add_local):
            more = add(points, share, generator_for(seed))
            assert len(more) == count + changed
            assert torch.equal(more[:count], points)
            centre, radius = bounding_ball(points)
            assert ((more - centre).norm(dim=1) <= radius * (1 + 1e-12)).all()


def test_local_drops_are_balls_around_points() -> None:
    """On a line, what a cluster takes lies together: at most seven gaps in what is left."""
    line = torch.zeros(500, 3).double()
    line[:, 0] = torch.arange(500)
    for seed in range(10):
        kept = drop_local(line, 0.3, generator_for(seed))[:, 0]
        assert int((kept.diff() > 1).sum()) <= 7
        scattered = drop_global(line, 0.3, generator_for(seed))[:, 0]
        assert int((scattered.diff() > 1).sum()) > 50


def test_local_additions_are_clusters_and_global_ones_fill_the_ball() -> None:
    centre, radius = bounding_ball(POINTS)
    added = add_global(POINTS, 1.0, generator_for(1))[1700:]
    length = (added - centre).norm(dim=1) / radius
    # Uniform in a ball: the cube of the distance is uniform.
    share = (length**3).sort().values
    torch.testing.assert_close(share, torch.linspace(0, 1, 1700).double(), atol=0.05, rtol=0)
    clusters = add_local(POINTS, 0.5, generator_for(1))[1700:]
    near = distances(clusters).kthvalue(20, dim=1).values.median()
    assert near < distances(added[:850]).kthvalue(20, dim=1).values.median() / 2


def test_severities_grow() -> None:
    for name, corruption in CORRUPTIONS.items():
        assert list(corruption.levels) == sorted(set(corruption.levels)), name


# ---- clouds


@pytest.mark.parametrize("name", [name for name in DISTORTIONS if "scan" not in name])
def test_padding_is_left_out_of_everything(name: str) -> None:
    """Clouds of a padded batch come out as each of them alone."""
    distortion = parse_distortion(name)
    raw = random_points(3, 60, dtype=torch.float32)
    mask = torch.rand(3, 60, generator=generator_for(4)) < 0.7
    none = torch.zeros(3, 0, 3, dtype=torch.int64)
    ids = torch.arange(3)
    together = distortion(Clouds.padded(raw, mask), none, distortion.generators(0, ids))
    for i in range(3):
        cloud = Clouds.dense(raw[i][mask[i]][None])
        (generator,) = distortion.generators(0, ids[[i]])
        alone = distortion(cloud, none[[i]], [generator])
        assert torch.equal(together.points[i][together.mask[i]], alone.points[0])
    assert bool((together.points[~together.mask] == 0).all())


def test_clouds_from_a_list() -> None:
    parts = [random_points(3), random_points(5)]
    clouds = Clouds.from_list(parts)
    assert clouds.counts.tolist() == [3, 5]
    assert not clouds.full
    assert torch.equal(clouds.points[0, :3], parts[0])
    assert bool((clouds.points[0, 3:] == 0).all())
    assert Clouds.from_list([parts[0], parts[0]]).full
    for bad in ([], [parts[0], parts[0][:0]]):
        with pytest.raises(InputError, match="at least one point"):
            Clouds.from_list(bad)


# ---- tasks


@pytest.mark.parametrize("name", DISTORTIONS)
def test_pairs_are_those_of_seen_and_do_not_depend_on_the_batch(name: str) -> None:
    clean = load_task("anny/seen", samples=4, vertices=800)
    task = load_task(f"anny/{name}", samples=4, vertices=800)
    assert torch.equal(task.triples, clean.triples)
    ids = torch.tensor([3, 1])
    batch, expected = task.batch(ids), clean.batch(ids)
    alone = task.batch(ids[1:])
    assert torch.equal(batch.pose.points[1], alone.pose.points[0])
    assert torch.equal(batch.target.points[1], alone.target.points[0])
    assert not torch.equal(batch.pose.points[0], batch.pose.points[1])
    assert torch.equal(batch.identity.points, expected.identity.points)
    assert batch.pose.full
    assert (batch.pose.points.shape[1] == 800) == task.keeps_count
    if "rotate" not in name:
        assert torch.equal(batch.target.points, expected.target.points)


def test_truth_turns_with_the_pose() -> None:
    """The rotation found between clean and turned pose source takes the clean truth to the new."""
    ids = torch.arange(2)
    clean, task = (load_task(f"anny/{n}", samples=2, vertices=800) for n in ("seen", "rotate@5"))
    before, after = clean.batch(ids), task.batch(ids)
    rotation = torch.linalg.lstsq(before.pose.points, after.pose.points).solution
    assert (rotation - torch.eye(3)).abs().amax() > 0.1
    expected = centred(Clouds.dense(before.target.points @ rotation))
    torch.testing.assert_close(after.target.points, expected.points, atol=1e-5, rtol=0)
    trivial = task.trivial_outputs(ids)
    expected = centred(Clouds.dense(clean.trivial_outputs(ids)["copy-pose"].points @ rotation))
    torch.testing.assert_close(trivial["copy-pose"].points, expected.points, atol=1e-5, rtol=0)
    assert torch.equal(
        trivial["copy-identity"].points, clean.trivial_outputs(ids)["copy-identity"].points
    )


def test_scan_task_is_a_centred_scan_of_the_pose_mesh() -> None:
    ids = torch.arange(2)
    clean, scan = (
        load_task(f"anny/{name}", samples=2, vertices=800).batch(ids).pose.points
        for name in ("seen", "scan@0")
    )
    for mesh, points in zip(clean, scan, strict=True):
        # No farther than a triangle is large, and 2 cm that the centre may be off.
        assert torch.cdist(points, mesh).amin(dim=1).max() < 0.1
        assert torch.cdist(mesh, points).amin(dim=1).median() < 0.05


def test_fingerprints_tell_distortions_apart_and_leave_clean_ones_alone() -> None:
    names = ["seen", *DISTORTIONS, "scan@1", "noise@0.01"]
    prints = {load_task(f"anny/{n}", samples=2, vertices=800).fingerprint for n in names}
    assert len(prints) == len(names)
    path = next((ROOT / "leaderboards/records/anny-seen/npt-compact-clean").glob("clean-*.json"))
    cell = json.loads(path.read_text(encoding="utf-8"))["cell"]
    task = load_task(cell["task"], samples=cell["samples"], vertices=cell["vertices"])
    assert task.fingerprint == cell["fingerprint"]


def test_fingerprints_of_committed_records_hold() -> None:
    """One record of each distorted task: what was measured is still what is loaded."""
    folders = sorted((ROOT / "leaderboards" / "records").glob("anny-*@*"))
    assert len(folders) > 20
    for folder in folders:
        cell = json.loads(next(folder.rglob("*.json")).read_text(encoding="utf-8"))["cell"]
        task = load_task(cell["task"], samples=cell["samples"], vertices=cell["vertices"])
        assert task.fingerprint == cell["fingerprint"], cell["task"]


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, n) for kind, told in FIRST.items() for n in range(len(told))]
)
def test_every_constant_is_part_of_the_fingerprint(
    kind: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, first = FIRST[kind][number]
    task = load_task(f"anny/{kind}@1", samples=2, vertices=800)
    other = tuple(2 * value for value in first) if isinstance(first, tuple) else 2 * first  # type: ignore[operator]
    monkeypatch.setattr(module, name, other)
    changed = load_task(f"anny/{kind}@1", samples=2, vertices=800)
    assert changed.fingerprint != task.fingerprint


def test_no_constant_is_forgotten() -> None:
    """Every number in capitals decides points and is told, or is listed here with its reason."""
    told = {name for rows in FIRST.values() for _, name, _ in rows}
    always = {"CAMERAS", "DISTANCE", "HEIGHTS", "WIDTH", "HEIGHT", "FOCAL", "SEVERITIES"}
    none = {"NEAREST", "LABELS", "BODY", "FLYING", "FLOOR", "OUTLIER", "CORRUPTIONS"}
    none |= {"POINTCLOUD_C"}  # a refusal, and names
    for module in (scan, depth_camera, corruptions):
        names = {name for name in vars(module) if name.isupper()}
        assert names <= told | always | none


def test_other_versions_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_task("anny/jitter@1", samples=1, vertices=800).fingerprint
    monkeypatch.setitem(CORRUPTIONS._entries, "jitter", replace(CORRUPTIONS["jitter"], version=2))
    assert load_task("anny/jitter@1", samples=1, vertices=800).fingerprint != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("anny/scan@6", "unknown severity '6' of scan: known are scan@0, .* scan@5"),
        ("anny/scan@03", "unknown severity"),
        ("anny/scan@", "unknown severity ''"),
        ("anny/scan", "unknown severity '' of scan"),
        ("anny/noise", "such as noise@0.02"),
        ("anny/scam", "known are .* anny/scan@LEVEL, anny/seen"),
        ("anny/jitter@0", "known are jitter@1, .* jitter@5"),
        ("anny/jitter@1.5", "unknown severity"),
        ("anny/jiter@1", "did you mean 'jitter'"),
        ("anny/noise@x", "standard deviation in metres"),
        ("anny/noise@nan", "standard deviation in metres"),
        ("anny/noise@0", "above 0"),
        ("anny/noise@2", "at most 1"),
        ("anny/noise@0.020", "write noise@0.02"),
        ("anny/seen@1", "unknown distortion 'seen'"),
        ("smpl/scan@1", "unknown task"),
    ],
)
def test_names_are_read_strictly(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_task(name)


def test_every_kind_has_a_task() -> None:
    for kind in kinds():
        split, distortion = Anny().split_of(f"anny/{kind}@1")
        assert (split, distortion and distortion.kind) == ("anny/seen", kind)


# ---- victims


@pytest.mark.parametrize(
    ("victim", "task", "wrapped"),
    [
        ("npt", "anny/drop-local@3", True),
        ("gct", "anny/add-global@3", True),
        ("npt", "anny/jitter@3", False),
        ("npt", "anny/scan@5", False),
        ("npt-mp", "anny/drop-local@3", False),
        ("posemae", "anny/add-local@3", False),
    ],
)
def test_victims_that_need_equal_counts_are_wrapped_and_the_record_says_so(
    victim: str, task: str, wrapped: bool
) -> None:
    network = initial_network(Recipe(victim, size="tiny"))
    record = evaluate(network, task=task, samples=1, vertices=800)
    assert record.cell.wrappers == (("EqualPoints",) if wrapped else ())
    assert record.cell.victim == victim
    assert set(record.metrics.trivial) == {"copy-pose", "copy-identity", "mean-mesh"}


@pytest.mark.parametrize("attack", [FGM(Budget(0.02)), PGD(Budget(0.02), iterations=2)], ids=type)
@pytest.mark.parametrize("task", ["anny/drop-local@3", "anny/add-local@5"])
def test_attacks_have_the_budget_of_the_points_there_are(task: str, attack: Attack) -> None:
    network = initial_network(Recipe("npt", size="tiny"))
    results = [
        evaluate_all(
            Evaluation(network, (attack,), task=task, samples=3, vertices=800), Execution(size)
        )[0]
        for size in (1, 3)
    ]
    points = 800 - 240 if "drop" in task else 800 + 400
    found = results[0].metrics.attack
    assert found is not None
    assert found.radius == pytest.approx(0.02 * math.sqrt(3 * points))
    assert found.norms["rms"].max <= 0.02 * (1 + 1e-6)
    for name in ("pmd", "clean_pmd", "noise_pmd"):
        one, three = (each.metrics.summaries[name].per_sample for each in results)
        np.testing.assert_allclose(one, three, rtol=1e-4)


def test_a_surrogate_is_wrapped_too() -> None:
    victim, surrogate = (initial_network(Recipe(v, size="tiny")) for v in ("npt-mp", "npt"))
    record = evaluate(
        victim,
        attack=FGM(Budget(0.02)),
        access=Surrogate(surrogate),
        task="anny/drop-global@1",
        samples=1,
        vertices=800,
    )
    assert str(record.cell.access) == "transfer from npt"
    assert record.cell.wrappers == ()


def test_flag_of_distorted_tasks() -> None:
    copying = Toy(lambda pose, identity: identity)
    for task, flag in (("anny/seen", "under-trained"), ("anny/noise@0.01", "near-trivial")):
        assert evaluate(copying, task=task, samples=1, vertices=800).flags == (flag,)


def test_picture_of_a_scan(tmp_path: Path) -> None:
    network = initial_network(Recipe("npt", size="tiny"))
    attack = FGM(Budget(0.02))
    for task in ("anny/scan@1", "anny/drop-local@1", "anny/seen"):
        panels = sample_panels(network, attack, task=task, sample=0, vertices=800)
        assert [panel.faces is None for panel in panels[:3]] == [task != "anny/seen"] * 2 + [False]
        draw_rows([("npt", panels)], tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
