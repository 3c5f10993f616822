"""Certificates: exact where they can be counted, and no attack leaves an interval."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from torch import Tensor

from posebench.attacks import Noise, Sparse, run_attack
from posebench.attacks.gradient import pose_gradient
from posebench.benchmark.cli.app import main
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.certify import Asked, Certified, certified_pair, certify
from posebench.benchmark.evaluation.sources import Source
from posebench.benchmark.records.types import Weights
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.defenses import GaussianSmoothing, KNNMean, PartitionMedian, SubsetMedian
from posebench.defenses.certificates import (
    certified_error,
    drawn_interval,
    gaussian_share,
    partition_interval,
    touched_share,
)
from posebench.defenses.subsets import partition
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget, Victim
from posebench.objective import aligned
from posebench.rng import generator_for
from posebench.victims import Defended
from posebench.victims.weights import shipped_path
from tests.toys import random_batch, random_points, small

GROUPS = 9


def test_the_interval_is_the_worst_of_all_that_few_outputs_can_do() -> None:
    """Against brute force: every choice of j outputs, each at either far end."""
    outputs = random_points(7, 1, 3)
    for moved in range(5):
        low, high = partition_interval(outputs, moved)
        ends = []
        for chosen in itertools.combinations(range(7), moved):
            for far in (-1e9, 1e9):
                changed = outputs.clone()
                changed[list(chosen)] = far
                ends.append(PartitionMedian(7).combined(changed))
        extremes = torch.stack(ends)
        if moved > 3:
            assert bool((low == -math.inf).all() and (high == math.inf).all())
            assert extremes.abs().max() == 1e9, "and indeed nothing holds"
        else:
            assert torch.equal(low, extremes.amin(dim=0))
            assert torch.equal(high, extremes.amax(dim=0))


def test_the_share_of_touched_subsets_is_hypergeometric() -> None:
    for n, k, j in ((1700, 64, 8), (1700, 64, 17), (20, 5, 3), (10, 10, 1), (10, 4, 0)):
        expected = 1 - hypergeom(n, j, k).pmf(0)
        assert touched_share(n, k, j) == pytest.approx(expected, abs=1e-12)
    assert touched_share(1700, 64, 17) < 0.5 < touched_share(1700, 64, 18)
    every = list(itertools.combinations(range(8), 3))
    touched = [s for s in every if {2, 5} & set(s)]
    assert touched_share(8, 3, 2) == len(touched) / len(every)
    with pytest.raises(InputError, match="no subsets"):
        touched_share(5, 6, 1)


def test_limits_from_draws_hold_as_often_as_they_say() -> None:
    """Draws of a known distribution: the quantiles 0.3 and 0.7 lie inside, of 4,000 coordinates
    all, and at a lax alpha not all of them."""
    draws = torch.rand((300, 1, 4000, 3), generator=generator_for(0), dtype=torch.float64)
    low, high = drawn_interval(draws, 0.2, alpha=1e-3)
    assert bool((low <= 0.3).all() and (high >= 0.7).all())
    assert 0.15 < low.mean() < 0.25, "and are not far off"
    lax_low, _ = drawn_interval(draws, 0.2, alpha=0.999)
    assert low.mean() < lax_low.mean() < 0.3
    few = drawn_interval(draws[:5], 0.2)
    assert bool((few[0] == -math.inf).all())
    assert bool((drawn_interval(draws, 0.5)[0] == -math.inf).all())


def test_gaussian_shares_are_the_lemmas_percentiles() -> None:
    """Exact where the output is linear along the shift: the median moves by the radius."""
    assert gaussian_share(0.02, 0.02) == pytest.approx(0.841344746 - 0.5)
    noise = 0.02 * torch.randn((20_000, 1, 1, 3), generator=generator_for(1)).double()
    low, high = drawn_interval(noise, gaussian_share(0.01, 0.02), alpha=1e-3)
    torch.testing.assert_close(low, torch.full_like(low, -0.01), atol=1.5e-3, rtol=0)
    torch.testing.assert_close(high, torch.full_like(high, 0.01), atol=1.5e-3, rtol=0)
    assert bool((low <= -0.01).all() and (high >= 0.01).all())


def test_the_certified_error_is_no_less_than_that_of_any_output_inside() -> None:
    batch = random_batch((20, 20))
    low = batch.target.points - 0.1 * torch.rand(batch.target.points.shape).double()
    high = low + 0.2
    bound = certified_error((low, high), batch.target)
    for number in range(50):
        ends = torch.rand(low.shape, generator=generator_for(number)) < 0.5
        output = batch.target.replace(torch.where(ends, low, high))
        assert bool((aligned(output, batch.target) <= bound).all())
    exact = batch.target.points + random_points(2, 20, seed=9)
    single = certified_error((exact, exact), batch.target)
    torch.testing.assert_close(single, aligned(batch.target.replace(exact), batch.target))
    assert torch.isinf(certified_error((low, high + math.inf), batch.target)).all()


# ---- no attack leaves its interval


def moved_by(change: Callable[[Tensor, Tensor], Tensor], batch: Batch, moved: int) -> Clouds:
    """The pose with one point in each of the first groups moved: the most that few points touch."""
    chosen = partition(batch.pose.points.shape[1], GROUPS)[:moved, 0]
    points = batch.pose.points.clone()
    points[:, chosen] = change(points, chosen)[:, chosen]
    return batch.pose.replace(points)


def knows_the_partition(victim: Victim, batch: Batch, moved: int) -> Clouds:
    """Gradient ascent on one point in each of so many groups, unbounded."""
    pose = batch.pose
    for _ in range(15):
        _, gradient = pose_gradient(victim, batch, pose, objective=aligned)
        step = 0.3 * gradient / gradient.norm(dim=2, keepdim=True).clamp_min(1e-30)
        pose = moved_by(lambda p, c, at=pose, s=step: at.points + s, batch, moved)
    return pose


ATTACKS: dict[str, Callable[[Victim, Batch, int], Clouds]] = {
    "sparse": lambda victim, batch, moved: run_attack(
        Sparse(Budget(moved / 40, "sparse"), 8, 1, 4, "aligned"), victim, batch,
        generator=generator_for(0),
    ).pose,
    "random": lambda victim, batch, moved: run_attack(
        Noise(Budget(moved / 40, "sparse")), victim, batch, generator=generator_for(1)
    ).pose,
    "knows the partition": knows_the_partition,
    "far": lambda victim, batch, moved: moved_by(lambda p, c: p + 100, batch, moved),
    "overflows": lambda victim, batch, moved: moved_by(lambda p, c: p + 1e200, batch, moved),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["npt-mp", "npt"])
def test_no_attack_leaves_its_interval(name: str, attack: str) -> None:
    batch = random_batch((40,) * 2, width=40, points=12 if name == "npt-mp" else 40)
    victim = Defended(small(name), PartitionMedian(GROUPS))
    with torch.no_grad():
        outputs = torch.stack([each.points for each in victim.outputs(batch.pose, batch.identity)])
    changed = False
    for moved in (1, 2, 4):
        low, high = partition_interval(outputs, moved)
        pose = ATTACKS[attack](victim, batch, moved)
        assert 0 < int((pose.points != batch.pose.points).any(dim=2).sum(dim=1).max()) <= moved
        with torch.no_grad():
            found = victim(pose, batch.identity)
        assert bool((found.points >= low - 1e-9).all())
        assert bool((found.points <= high + 1e-9).all())
        bound = certified_error((low, high), batch.target)
        assert bool((aligned(found, batch.target) <= bound + 1e-9).all())
        # Not for want of strength: with one more point than is allowed for, it gets out.
        tight = partition_interval(outputs, moved - 1)
        changed |= bool(((found.points < tight[0]) | (found.points > tight[1])).any())
    assert changed or attack in ("random", "sparse")


def test_the_ideal_median_keeps_its_interval_under_a_sparse_attack() -> None:
    """Against the median over all 4,845 subsets of 4 of 20 points, each computed."""
    batch = random_batch((20,), points=6)
    network = small("npt-mp")
    every = torch.tensor(list(itertools.combinations(range(20), 4)))

    def ideal(points: Tensor) -> Tensor:
        rows = Clouds.dense(points[0][every])
        identity = Clouds.dense(batch.identity.points.expand(len(every), -1, -1))
        with torch.no_grad():
            return network(rows, identity).points.median(dim=0).values

    with torch.no_grad():
        drawn = torch.stack([
            each.points
            for each in Defended(network, SubsetMedian(4, 400)).outputs(
                batch.pose, batch.identity, generator=generator_for(2)
            )
        ])  # fmt: skip
    low, high = drawn_interval(drawn, touched_share(20, 4, 2))
    moved = batch.pose.points.clone()
    moved[:, 3], moved[:, 11] = 5.0, -5.0
    for points in (batch.pose.points, moved):
        found = ideal(points)
        assert bool((found >= low[0]).all() and (found <= high[0]).all())
    assert not torch.equal(ideal(moved), ideal(batch.pose.points))


# ---- on pairs, and as a command


@pytest.fixture(scope="module")
def certified() -> Certified:
    source = Source(initial_network(Recipe("npt-mp", size="tiny")).eval(), Weights())
    pairs = load_task("anny/seen", samples=2, vertices=800)
    return certify(source, pairs, Asked(PartitionMedian(5), (0.0, 1.0, 2.0, 3.0)))


def test_bounds_grow_from_the_clean_error_and_end(certified: Certified) -> None:
    rows = np.array(certified.bounds)
    assert rows.shape == (4, 2)
    np.testing.assert_allclose(rows[0], certified.clean.per_sample, rtol=1e-3)
    assert (np.diff(rows[:3], axis=0) >= 0).all()
    assert np.isinf(rows[3]).all(), "three of five groups: nothing is guaranteed"
    assert certified.kind == "deterministic"
    assert math.isinf(certified.median(3))
    assert certified.trivial.mean > 0


def test_statistical_certificates_on_a_pair() -> None:
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    batch = load_task("anny/seen", samples=1, vertices=800).batch(torch.arange(1))
    subsets = certified_pair(network, batch, Asked(SubsetMedian(16), (0.0, 2.0, 40.0), 150))
    assert subsets[0] < subsets[1] < math.inf
    assert subsets[2] == math.inf
    smooth = certified_pair(network, batch, Asked(GaussianSmoothing(0.05), (0.01, 0.03), 150))
    assert 0 < smooth[0] <= smooth[1] < math.inf


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Asked(KNNMean(), (1.0,)), "KNNMean has no certificate"),
        (lambda: Asked(PartitionMedian(centre="geometric"), (1.0,)), "coordinate-wise"),
        (lambda: Asked(SubsetMedian(), (1.0,), 0), "draws must be"),
        (lambda: partition_interval(torch.zeros(3, 1, 1, 3), -1), "points must be"),
        (lambda: drawn_interval(torch.zeros(3, 1, 1, 3), 0.1, alpha=0.0), "alpha"),
        (lambda: gaussian_share(0.1, 0.0), "sigma"),
    ],
)
def test_bad_requests_are_refused(make: Any, part: str) -> None:
    with pytest.raises(InputError, match=part):
        make()


WEIGHTS = shipped_path("npt", "compact")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["posebench", "certify", *map(str, words)])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err

    return call


def test_the_command_prints_writes_and_draws(command: Any, tmp_path: Path) -> None:
    out, plot = tmp_path / "certified.json", tmp_path / "certified.png"
    words = ["--victim", "npt-mp", "--points", 2, "--groups", 5, "--samples", 1]
    code, printed, errors = command(*words, "--device", "cpu", "--out", out, "--plot", plot)
    assert code == 0, errors
    assert "certain: no output of this very defence errs more" in " ".join(printed.split())
    (first, *_) = json.loads(out.read_text())["certificates"]
    assert first["defense"] == "PartitionMedian(groups=5, centre='coordinate')"
    assert first["allowed"] == [0.0, 1.0, 2.0]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--points", -1], "points must be 0 or more"),
        (["--draws", 5], "--draws does not go with defence 'partition-median'"),
        (["--defense", "subset-median", "--groups", 5], "--groups does not go with"),
        (["--defense", "smooth", "--radius", 0], "radius must be positive"),
        (["--defense", "sor"], "SOR has no certificate"),
        (["--plot", "a.txt"], "must end in"),
        (["--victim", "dt", "--samples", 1], "dt cannot answer for picked points"),
        (["--size", "huge"], "unknown size 'huge'"),
        (["--weights", WEIGHTS, "--size", "huge"], "unknown size 'huge'"),
    ],
)
def test_the_command_refuses_in_one_line(words: list[Any], part: str, command: Any) -> None:
    code, printed, errors = command("--victim", "npt", *words)
    assert (code, printed) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("posebench: error: ")
    assert part in line
