"""Medians over subsets: which points the victim sees, what is made of its answers, and attacks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from posebench.attacks import FGM, pose_gradient
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import EOT_DRAWS, Evaluation
from posebench.benchmark.records.types import Cost
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.defenses import (
    DEFENSES,
    GaussianSmoothing,
    PartitionMedian,
    RadiusOutlierRemoval,
    SubsetMedian,
)
from posebench.errors import InputError
from posebench.interfaces import Budget, Defense
from posebench.rng import generator_for
from posebench.victims import Defended
from tests.toys import Toy, random_batch, random_points, small


def rows(cloud: Clouds, number: int) -> set[tuple[float, ...]]:
    return set(map(tuple, cloud.points[number][cloud.mask[number]].tolist()))


def test_subsets_are_so_many_different_points_all_alike_often() -> None:
    pose = random_batch((20, 6)).pose
    seen = torch.zeros(20)
    generator = generator_for(0)
    for _ in range(400):
        (view,) = SubsetMedian(8, 1).views(pose, generator=generator)
        assert view.points.shape == (2, 8, 3)
        assert [len(rows(view, n)) for n in (0, 1)] == [8, 3], "at most half of a small cloud"
        assert rows(view, 1) < rows(pose, 1)
        assert bool((view.points[~view.mask] == 0).all())
        seen += (pose.points[0][:, None] == view.points[0]).all(dim=2).any(dim=1) / 400
    torch.testing.assert_close(seen, torch.full((20,), 0.4), atol=0.1, rtol=0)
    for defense in (SubsetMedian(8, 1), PartitionMedian(3)):
        alone = defense(pose, generator=generator_for(5))
        (view, *_) = defense.views(pose, generator=generator_for(5))
        assert alone.points.shape == pose.points.shape
        assert all(rows(alone, n) == rows(view, n) for n in (0, 1))


@pytest.mark.parametrize("groups", [1, 3, 7])
def test_every_point_is_in_one_group_and_groups_are_equally_large(groups: int) -> None:
    pose = random_batch((20, 13)).pose
    views = list(PartitionMedian(groups).views(pose))
    assert len(views) == groups
    for number, count in enumerate((20, 13)):
        parts = [rows(view, number) for view in views]
        assert set().union(*parts) == rows(pose, number)
        sizes = sorted(map(len, parts))
        assert sum(sizes) == count, "no point in two groups"
        assert sizes[-1] - sizes[0] <= 1
    # A cloud's groups do not depend on the batch it is in.
    alone = Clouds.dense(pose.points[1:, :13])
    for view, own in zip(views, PartitionMedian(groups).views(alone), strict=True):
        assert rows(view, 1) == rows(own, 0)
        assert own.full
    assert len(list(PartitionMedian(25).views(pose))) == 13, "no group is empty"


def test_the_geometric_median_is_the_nearest_to_all_and_withstands_a_minority() -> None:
    outputs = random_points(5, 2, 4)
    found = SubsetMedian(centre="geometric").combined(outputs)

    def cost(at: torch.Tensor) -> float:
        return float((outputs - at).norm(dim=3).sum())

    for number in range(8):
        nudge = 0.01 * torch.randn(found.shape, generator=generator_for(number)).double()
        assert cost(found) < cost(found + nudge)
    far = outputs.clone()
    far[:2] += 1e6
    assert (SubsetMedian(centre="geometric").combined(far) - outputs.mean(dim=0)).abs().max() < 5
    far[0], far[1] = math.nan, math.inf
    found, rest = SubsetMedian(centre="geometric").combined(far), outputs[2:]
    assert ((found >= rest.amin(dim=0)) & (found <= rest.amax(dim=0))).all(), "NaN and inf are out"


def test_answers_of_a_wrapped_victim_are_combined_and_gradients_reach_every_group() -> None:
    batch = random_batch((20, 20))
    network = small("npt-mp")
    defense = PartitionMedian(5)
    found = Defended(network, defense)(batch.pose, batch.identity)
    each = [network(view, batch.identity).points for view in defense.views(batch.pose)]
    torch.testing.assert_close(found.points, torch.stack(each).median(dim=0).values)
    _, gradient = pose_gradient(Defended(network, defense), batch, batch.pose)
    for view in defense.views(batch.pose):
        chosen = (batch.pose.points[0][:, None] == view.points[0]).all(dim=2).any(dim=1)
        assert bool((gradient[0][chosen] != 0).any())
    through = Defended(network, SubsetMedian(5, 3), straight_through=True)
    bare = pose_gradient(network, batch, batch.pose)[1]
    straight = pose_gradient(through, batch, batch.pose, generator=generator_for(0))[1]
    assert straight.shape == bare.shape
    assert bool((straight != 0).any(dim=2).all()), "points outside the subsets, too"


@pytest.mark.parametrize(
    ("name", "access", "size"), [("npt", "straight-through", 2), ("npt-mp", "adaptive", 1)]
)
def test_runs_in_front_of_any_victim_and_costs_what_is_counted(
    name: str, access: str, size: int
) -> None:
    """npt needs equal counts: subsets reach it through the resampler."""
    network = initial_network(Recipe(name, size="tiny"))
    given = Evaluation(
        network, (FGM(Budget(0.02)),), SubsetMedian(16, 2), access, samples=2, vertices=800
    )
    (found,) = evaluate_all(given, Execution(size))
    assert found.cost == Cost(EOT_DRAWS, EOT_DRAWS)
    assert found.metrics.kept == pytest.approx(16 / 800)
    assert found.cell.wrappers == (("Defended", "EqualPoints") if name == "npt" else ("Defended",))


@pytest.mark.parametrize("defense", [SubsetMedian(5, 3), GaussianSmoothing(0.1, 3)])
def test_without_a_generator_views_differ_and_repeat(defense: Defense) -> None:
    batch = random_batch((20, 20))
    victim = Defended(Toy(lambda pose, identity: pose), defense)
    first, again = (victim.outputs(batch.pose, batch.identity) for _ in range(2))
    assert all(torch.equal(a.points, b.points) for a, b in zip(first, again, strict=True))
    assert len({float(each.points.sum()) for each in first}) == 3


def test_nan_of_one_output_is_not_the_median() -> None:
    outputs = random_points(5, 1, 4)
    spoilt = outputs.clone()
    spoilt[0] = torch.nan
    found = PartitionMedian(5).combined(spoilt)
    assert bool(found.isfinite().all())
    assert bool((found <= outputs.sort(dim=0).values[3]).all())


def test_radius_removal_keeps_the_points_that_open3d_keeps() -> None:
    open3d = pytest.importorskip("open3d")
    pose = random_batch((200,), width=200).pose
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(pose.points[0].numpy()))
    for neighbours, radius in ((1, 0.05), (2, 0.1), (5, 0.15)):
        _, expected = cloud.remove_radius_outlier(neighbours, radius)
        kept = RadiusOutlierRemoval(neighbours, radius)(pose).mask[0].nonzero()[:, 0].tolist()
        assert 0 < len(expected) < 200
        assert kept == list(expected)
    assert int(RadiusOutlierRemoval(5, 1e-6)(pose).counts) >= 1


def test_all_are_registered() -> None:
    assert {"subset-median", "partition-median", "radius"} <= set(DEFENSES)
    victim = Toy(lambda pose, identity: identity)
    assert Defended(victim, SubsetMedian()).spec.stochastic
    assert not Defended(victim, PartitionMedian()).spec.stochastic


@pytest.mark.parametrize(
    ("make", "bad", "part"),
    [
        (SubsetMedian, {"points": 0}, "points must be at least 1"),
        (SubsetMedian, {"draws": 0}, "draws must be at least 1"),
        (SubsetMedian, {"centre": "geometry"}, "did you mean 'geometric'"),
        (PartitionMedian, {"groups": 0}, "groups must be at least 1"),
        (RadiusOutlierRemoval, {"radius": 0.0}, "radius must be"),
        (RadiusOutlierRemoval, {"neighbours": 0}, "neighbours must be"),
    ],
)
def test_bad_settings_are_refused(make: Any, bad: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        make(**bad)
