"""The pose floor: it is a body in a pose, inside the budget, and as large as is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.data.anny import Anny, PoseTransferTask
from posebench.benchmark.evaluation.pose_floor import pose_floor
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.store import read_records
from posebench.benchmark.records.studies import Floor, FloorStudy, read_study, write_study
from posebench.benchmark.reports.floor_table import floor_table
from posebench.benchmark.reports.published import COMMITTED, published
from posebench.benchmark.reports.robust_training import new_poses_table, robust_table
from posebench.threats import HEADLINE

IDS = torch.arange(2)


@pytest.fixture(scope="module")
def task() -> PoseTransferTask:
    return Anny().load("anny/seen", samples=2, vertices=800)


def clean_sources(task: PoseTransferTask) -> torch.Tensor:
    """Pose sources in the body's own order, not centred."""
    from posebench.benchmark.data.body import pose_body

    return pose_body(task.body, task.triples[IDS, 2], task.body.poses["seen"][task.triples[IDS, 3]])


def test_found_sources_lie_in_the_budget_and_errors_are_those_of_an_exact_answer(
    task: PoseTransferTask,
) -> None:
    """With the giver as identity the exact answer is the source itself, so the error can be told
    from the source alone; no move of points by r can make it more than r^2 / 3 and its spread."""
    radius = 0.03
    own = PoseTransferTask(task.name, task.body, task.triples[:, [2, 1, 2, 3]], task.split)
    errors, sources = pose_floor(own, IDS, radius, starts=2, steps=40)
    moved = sources - clean_sources(task)
    assert float(moved.norm(dim=2).max()) <= radius * (1 + 1e-6)
    centred = moved - moved.mean(dim=1, keepdim=True)
    torch.testing.assert_close(errors, centred.square().mean(dim=(1, 2)), rtol=1e-4, atol=0)
    assert (errors <= radius**2 / 3).all()
    assert (errors >= 0.2 * radius**2 / 3).all()


def test_the_floor_grows_with_the_budget_and_with_the_search(task: PoseTransferTask) -> None:
    near, far = (pose_floor(task, IDS, r, starts=2, steps=20)[0] for r in (0.01, 0.02))
    assert (far > 3 * near).all()
    longer = pose_floor(task, IDS, 0.02, starts=2, steps=40)[0]
    assert (longer >= far).all()


def test_a_pair_does_not_depend_on_its_batch(task: PoseTransferTask) -> None:
    both = pose_floor(task, IDS, 0.02, starts=1, steps=10)[0]
    alone = pose_floor(task, IDS[1:], 0.02, starts=1, steps=10)[0]
    torch.testing.assert_close(alone[0], both[1], rtol=1e-4, atol=0)


def test_floors_are_written_read_and_tabled(tmp_path: Path) -> None:
    floor = Floor("point-2cm", "f" * 64, (1e-4, 2e-4))
    study, path = FloorStudy("posebench/floor/1", (floor,), environment("cpu")), tmp_path / "a.json"
    write_study(path, study)
    assert read_study(FloorStudy, path) == study
    assert not file_problems(path)
    write_study(path, replace(study, floors=()))
    assert [each.field for each in file_problems(path)] == ["floors"]
    assert floor_table([floor])[-1].startswith("| point-2cm | 2 | 1.5 [")
    assert floor_table([]) == ["-"]
    assert read_study(FloorStudy, tmp_path / "none.json") is None


def test_the_floor_stands_above_the_networks_of_the_robust_table() -> None:
    floor = Floor("point-5cm", "f" * 64, (1e-4, 2e-4))
    assert robust_table([], [floor])[2].startswith("| exact transfer (pose floor) | - | 2 | 0 |")
    assert robust_table([]) == ["-"]


def test_multiples_are_of_the_same_pairs_alone() -> None:
    records = [
        record
        for training in ("clean", "robust")
        for record in read_records(COMMITTED / "anny-seen" / f"npt-compact-{training}")
    ]

    def multiples() -> list[str]:
        (row,) = [line for line in robust_table(records) if line.startswith("| npt | robust |")]
        return [cell.strip() for cell in row.split("|")[5:10:2]]

    near, far = (published("npt", name, training="robust") for name in HEADLINE)
    clean = published("npt", HEADLINE[0]).metrics.clean["pmd_aligned"].mean
    worst = [each.metrics.attacked["pmd_aligned"].mean / clean for each in (near, far)]
    assert multiples()[1:] == [f"{value:.2f}" for value in worst]
    other = replace(far, cell=replace(far.cell, fingerprint="0" * 64))
    records = [other if record == far else record for record in records]
    assert multiples()[1:] == [f"{worst[0]:.2f}", "-"]


def test_new_poses_are_told_by_their_task_and_attack() -> None:
    """As a reader would look them up in the committed records."""
    records = [
        record
        for training in ("clean", "robust")
        for task in ("seen", "unseen")
        for record in read_records(COMMITTED / f"anny-{task}" / f"npt-compact-{training}")
    ]
    rows = {line.split("|")[2].strip(): line for line in new_poses_table(records)[2:5]}
    assert [cell.strip() for cell in rows["adversarial"].split("|")[3:10]] == ["-"] * 7
    means = {}
    for record in records:
        attack = record.cell.attack
        if record.cell.task == "anny/unseen" and attack and "VertexAdam" in attack.settings:
            means[record.cell.weights.training, attack.eps] = record.metrics
    unit = means["clean", 0.02].clean["pmd_aligned"].mean
    for training in ("clean", "robust"):
        cells = [cell.strip() for cell in rows[training].split("|")[3:10]]
        near, far = (means[training, eps].attacked["pmd_aligned"].mean for eps in (0.02, 0.05))
        assert cells[0] == "16"
        assert cells[4:7:2] == [f"{near / unit:.2f}", f"{far / unit:.2f}"]
        assert cells[3].startswith(f"{1e4 * near:.1f} [")
    assert new_poses_table([]) == ["-"]
