"""Attacks that drop or add points, universal perturbations, transfer, and attacks of users."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor
from typer.testing import CliRunner

from posebench.attacks import (
    ATTACKS,
    FGM,
    Add,
    Drop,
    Noise,
    Transfer,
    Universal,
    attack,
    make_attack,
    run_attack,
)
from posebench.attacks.universal import interpolated
from posebench.benchmark.cli.app import app
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.harness import evaluate, evaluate_all
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.records.types import Cost
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult, Batch, Budget, Victim
from posebench.objective import pmd
from posebench.rng import generator_for
from posebench.victims import load_network
from posebench.victims.wrappers import EqualPoints
from tests.toys import Cheat, Counting, Toy, random_batch, random_points


def masked_mean(pose: Clouds, identity: Clouds) -> Clouds:
    """Every output point is the mean of the pose: all that matters is which points are left."""
    points = pose.points * pose.mask[..., None]
    mean = points.sum(dim=1, keepdim=True) / pose.counts[:, None, None]
    return identity.replace(identity.points + mean)


def scaled_by_size(pose: Clouds, identity: Clouds) -> Clouds:
    """The identity blown up by the pose's spread, so that every point dropped or added counts."""
    spread = (pose.points.abs() * pose.mask[..., None]).sum(dim=(1, 2)) / pose.counts
    return identity.replace(identity.points * (10 - spread)[:, None, None])


def on_line() -> Batch:
    """Points at 1..20 on the x axis; the target is the identity displaced by their mean."""
    batch = random_batch((20, 20))
    x = torch.arange(1.0, 21.0, dtype=torch.float64)
    points = torch.stack([x, 0 * x, 0 * x], dim=1).expand(2, -1, -1).contiguous()
    moved = batch.identity.replace(batch.identity.points + torch.tensor([10.5, 0.0, 0.0]).double())
    return replace(batch, pose=Clouds.dense(points), target=moved)


@pytest.mark.parametrize("attack", ["drop", "noise"])
def test_drop_removes_as_many_points_as_allowed_and_moves_none(attack: str) -> None:
    batch = random_batch((20, 13))
    result = run_attack(make_attack(attack, Budget(0.3, "drop")), Toy(scaled_by_size), batch)
    assert result.pose.counts.tolist() == [14, 10]  # floor(0.3 n) go: 6 of 20 and 3 of 13
    kept = result.pose.mask
    assert torch.equal(result.pose.points[kept], batch.pose.points[kept])
    assert not (kept & ~batch.pose.mask).any()
    assert result.pose.points[~kept].eq(0).all()
    norms = perturbation_norms(batch.pose, result.pose)
    torch.testing.assert_close(norms["dropped"], torch.tensor([6 / 20, 3 / 13]).double())
    assert norms["l2"].eq(0).all()
    assert norms["added"].eq(0).all()


def test_drop_takes_the_points_whose_loss_shifts_the_output_most() -> None:
    """Uncentred error of a mean of points on a line: dropping one end moves it furthest.

    The target is off by a little, so that the first gradient says to which side.
    """
    batch = on_line()
    target = batch.target.replace(batch.target.points - torch.tensor([0.1, 0.0, 0.0]).double())
    batch = replace(batch, target=target)
    attack = Drop(Budget(0.25, "drop"), iterations=5, objective="mse")
    result = run_attack(attack, Toy(masked_mean), batch)
    assert result.pose.mask[0].tolist() == [False] * 5 + [True] * 15
    assert (result.forwards, result.backwards) == (6, 5)


@pytest.mark.parametrize("attack", ["add", "noise"])
def test_added_points_stay_in_the_box_and_old_ones_where_they_were(attack: str) -> None:
    batch = random_batch((20, 13))
    result = run_attack(make_attack(attack, Budget(0.3, "add")), Toy(scaled_by_size), batch)
    assert result.pose.counts.tolist() == [26, 16]
    assert torch.equal(result.pose.points[:, :20], batch.pose.points)
    for sample in range(2):
        new = result.pose.points[sample, 20:][result.pose.mask[sample, 20:]]
        old = batch.pose.points[sample][batch.pose.mask[sample]]
        assert (new >= old.amin(dim=0)).all()
        assert (new <= old.amax(dim=0)).all()


@pytest.mark.parametrize("norm", ["drop", "add"])
def test_saliency_beats_chance(norm: str) -> None:
    """On a trained network, against the worst of 10 random choices."""
    victim, _ = load_network("npt-mp")
    batch = load_task("anny/seen", samples=2, vertices=800).batch(torch.arange(2))
    budget = Budget(0.1, "drop" if norm == "drop" else "add")

    def error(made: Attack, seed: int = 0) -> Tensor:
        result = run_attack(made, victim, batch, generator=generator_for(seed, "noise"))
        return pmd(victim(result.pose, batch.identity), batch.target).detach()

    chance = torch.stack([error(Noise(budget), seed) for seed in range(10)])
    assert (error(make_attack(norm, budget, 8)) > chance.amax(dim=0)).all()


@pytest.mark.parametrize("norm", ["drop", "add"])
def test_no_point_to_change_returns_the_clean_bits(norm: str) -> None:
    batch = random_batch((20, 13))
    budget = Budget(0.04, "drop" if norm == "drop" else "add")  # 0.8 of a point
    result = run_attack(make_attack(norm, budget), Toy(masked_mean), batch)
    assert torch.equal(result.pose.points, batch.pose.points)
    assert torch.equal(result.pose.mask, batch.pose.mask)


def test_the_library_holds_attacks_to_their_number_of_points() -> None:
    batch = random_batch((20, 13))

    def half(pose: Clouds) -> Clouds:
        return pose.keep((torch.arange(20) < 10).expand(2, 20))

    def twice(pose: Clouds) -> Clouds:
        return Clouds(torch.cat([pose.points] * 2, dim=1), torch.cat([pose.mask] * 2, dim=1))

    def moved(pose: Clouds) -> Clouds:
        return pose.replace(pose.points + 1.0)

    for budget, move, words in (
        (Budget(0.3, "drop"), half, "changed 10 points, its budget allows 6"),
        (Budget(0.3, "add"), twice, "changed 20 points, its budget allows 6"),
        (Budget(0.3, "drop"), twice, "may drop points, but added"),
        (Budget(0.3, "add"), half, "may add points"),
        (Budget(0.3, "l2"), half, "changed the shape or mask"),
    ):
        with pytest.raises(InputError, match=words):
            run_attack(Cheat(budget, move), Toy(masked_mean), batch)
    for norm in ("drop", "add"):
        budget = Budget(0.3, "drop" if norm == "drop" else "add")
        back = run_attack(Cheat(budget, moved), Toy(masked_mean), batch).pose
        assert torch.equal(back.points, batch.pose.points)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Drop(Budget(0.1)), "needs a budget of norm 'drop'"),
        (lambda: Add(Budget(0.1, "drop")), "needs a budget of norm 'add'"),
        (lambda: Drop(Budget(0.1, "drop"), iterations=0), "at least 1"),
        (lambda: Budget(1.0, "drop"), "share of points below 1"),
        (lambda: Budget(0.1, "add", "total"), "without a unit"),
        (lambda: run_attack(FGM(Budget(0.1, "drop")), Toy(masked_mean), random_batch()), "moves"),
        (lambda: run_attack(Universal(Budget(0.1)), Toy(masked_mean), random_batch()), "fitted"),
        (lambda: Universal(Budget(0.1), nodes=1), "at least 2"),
    ],
)
def test_bad_input_is_one_clear_error(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=words):
        make()


def test_the_harness_wraps_victims_that_need_equal_counts() -> None:
    network, _ = load_network("npt")
    record = evaluate(network, attack=Drop(Budget(0.05, "drop"), iterations=1), samples=2)
    assert record.cell.wrappers == (EqualPoints.__name__,)
    assert record.metrics.attack.radius == 85
    # Of two pairs: a drop that does not hurt is not kept.
    assert record.metrics.attack.norms["dropped"].max == pytest.approx(0.05)


@pytest.mark.parametrize("norm", ["drop", "add"])
def test_sweeps_over_shares_of_points_cannot_fall(norm: str) -> None:
    network, _ = load_network("npt-mp")
    kind: Norm = "drop" if norm == "drop" else "add"
    attacks = tuple(make_attack(norm, Budget(eps, kind), 2) for eps in (0.0, 0.02, 0.05))
    records = evaluate_all(Evaluation(network, attacks, samples=2, vertices=800))
    values = [record.metrics.pmd.per_sample for record in records]
    assert values[0] == records[0].metrics.clean_pmd.per_sample
    for small, large in pairwise(values):  # a kept pose is measured in a cloud of another padding
        assert all(low <= high * (1 + 1e-5) for low, high in zip(small, large, strict=True))
    key = "dropped" if norm == "drop" else "added"
    assert records[0].metrics.attack.norms[key].max == 0
    assert records[2].metrics.attack.norms[key].max <= 0.05


def test_interpolation_is_exact_for_linear_fields() -> None:
    """u(x) = M x is trilinear, so the grid reproduces it between nodes, axes in order."""
    nodes = torch.linspace(-1.2, 1.2, 5, dtype=torch.float64)
    z, y, x = torch.meshgrid(nodes, nodes, nodes, indexing="ij")
    matrix = random_points(3)
    field = torch.einsum("ij,jzyx->izyx", matrix, torch.stack([x, y, z]))[None]
    points = random_points(2, 40).clamp(-1.2, 1.2)
    torch.testing.assert_close(interpolated(field, points), points @ matrix.T)


def shifted(pose: Clouds, identity: Clouds) -> Clouds:
    """The pose's points, so that the error is largest where all move away from the target."""
    return identity.replace(pose.points)


def test_universal_finds_the_one_direction_that_hurts_all() -> None:
    """Targets lie at -1 along z from each pose: a push along +z is best, for unseen pairs too."""
    batch = random_batch((400, 400), 400, points=400)
    down = torch.tensor([0.0, 0.0, -1.0]).double()
    batch = replace(batch, target=Clouds.dense(batch.pose.points + down))
    victim = Counting(Toy(shifted), [])
    made = Universal(Budget(0.1), iterations=3, objective="mse").fit(
        victim, [batch.select(slice(1))]
    )
    assert len(victim.seen) == 4
    result = run_attack(made, victim, batch)
    step = result.pose.points - batch.pose.points
    length = 0.1 * math.sqrt(3 * 400)
    assert (step.sum(dim=1)[:, 2] > 0.8 * length * math.sqrt(400)).all()  # the most there is
    assert step[..., :2].abs().max() < 1e-12
    assert (result.forwards, result.backwards) == (0, 0)


def test_universal_through_the_harness_beats_noise_and_refuses_too_many_samples() -> None:
    network, _ = load_network("npt-mp")
    made = Universal(Budget(0.05), iterations=2)
    record = evaluate(network, attack=made, samples=2, vertices=800)
    assert record.metrics.pmd.mean > record.metrics.clean_pmd.mean
    assert record.cost == Cost(0, 0, fit_backwards=3 * 16)
    with pytest.raises(InputError, match="at most 4080 samples"):
        evaluate(network, attack=made, samples=4081, vertices=800)


def test_transfer_needs_a_surrogate_and_the_command_line_gives_one(tmp_path: Path) -> None:
    network, _ = load_network("npt-mp")
    with pytest.raises(InputError, match="needs access 'transfer'"):
        evaluate(network, attack=Transfer(Budget(0.05)), samples=1)
    words = "run --victim npt-mp --attack transfer --iterations 1 --samples 1 --eps 0.02 --json"
    result = CliRunner().invoke(app, [*words.split(), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert '"access": "transfer from gct"' in result.stdout


def test_a_decorated_class_is_an_attack() -> None:
    @attack("drift")
    class Drift:
        """Everything moves along x."""

        budget: Budget

        def __call__(
            self, victim: Victim, batch: Batch, *, generator: Generator | None = None
        ) -> AttackResult:
            pose = batch.pose.replace(batch.pose.points + torch.eye(3, dtype=torch.float64)[0])
            return AttackResult(pose)

    try:
        batch = random_batch((20, 13))
        result = run_attack(make_attack("drift", Budget(0.1)), Toy(masked_mean), batch)
        rms = perturbation_norms(batch.pose, result.pose)["rms"]
        torch.testing.assert_close(rms, torch.full_like(rms, 0.1))
        with pytest.raises(ValueError, match="registered twice"):
            attack("drift")(Drift)
    finally:
        ATTACKS._entries.pop("drift")


PLUGIN = """
from posebench import Budget, Clouds
from posebench.attacks import attack
from posebench.interfaces import AttackResult


@attack("drift")
class Drift:
    budget: Budget

    def __call__(self, victim, batch, *, generator=None):
        pose = batch.pose.replace(batch.pose.points + 1.0)
        return AttackResult(pose)


class Nothing:
    def __call__(self, pose, *, generator=None):
        return pose


def extent(output, batch):
    return output.points.abs().amax(dim=(1, 2))


class NoVictim:
    pass
"""

CRUMBLING = """
raise RuntimeError("out of mortar")
"""

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "posebench-drift"
version = "1.0"
[project.entry-points."posebench.attacks"]
drift = "posebench_drift:Drift"
crumbling-attack = "posebench_crumbling:Attack"
[project.entry-points."posebench.defenses"]
nothing = "posebench_drift:Nothing"
crumbling-defence = "posebench_crumbling:Defence"
[project.entry-points."posebench.metrics"]
extent = "posebench_drift:extent"
crumbling-metric = "posebench_crumbling:metric"
[project.entry-points."posebench.victims"]
no-victim = "posebench_drift:NoVictim"
[tool.setuptools]
py-modules = ["posebench_drift", "posebench_crumbling"]
"""


def test_a_package_installed_by_pip_brings_what_works_and_harms_nothing(tmp_path: Path) -> None:
    """Attack, defence and metric join; what cannot be imported is shown, and refused by name."""
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "posebench_drift.py").write_text(PLUGIN)
    (source / "posebench_crumbling.py").write_text(CRUMBLING)
    (source / "pyproject.toml").write_text(PROJECT)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run([*pip, *quiet, "--target", str(site), str(source)], check=True, cwd=tmp_path)

    def posebench(words: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "posebench.benchmark.cli.app", *words.split()],
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "400"},
            capture_output=True,
            text=True,
            check=False,
        )

    same = f"run --victim npt-mp --samples 1 --json --out {tmp_path}"
    done = posebench(f"{same} --attack drift --defense nothing")
    assert done.returncode == 0, done.stderr
    *_, record = json.loads(done.stdout)
    assert (record["cell"]["attack"], record["cell"]["defense"]) == ("drift", "nothing")
    assert record["metrics"]["extent"]["mean"] > 0
    assert "crumbling-metric" not in record["metrics"]
    listed = posebench("list")
    assert listed.returncode == 0, listed.stderr
    broken = [line for line in listed.stdout.splitlines() if "broken plug-in: " in line]
    assert len(broken) == 3, "victim, attack and defence; metrics are not listed"
    assert sum("'posebench-drift' cannot be used" in line for line in broken) == 3
    assert sum("RuntimeError: out of mortar" in line for line in broken) == 2
    assert sum("victim 'no-victim'" in line and "it has no spec" in line for line in broken) == 1
    refused = posebench(f"{same} --attack crumbling-attack")
    assert refused.returncode == 2
    assert "attack 'crumbling-attack' of package 'posebench-drift'" in refused.stderr
    assert "Traceback" not in refused.stderr
