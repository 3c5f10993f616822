"""Statistical outlier removal: exact agreement with open3d and with plain formulas."""

from __future__ import annotations

import sys

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.data.datasets import load_task
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES, SOR
from posebench.defenses.sor import (
    Convention,
    neighbour_distances_pairs,
    neighbour_distances_tree,
)
from posebench.errors import InputError
from posebench.rng import generator_for

SETTINGS = [(20, 2.0), (16, 1.0), (2, 1.1)]
CONVENTIONS: tuple[Convention, ...] = ("open3d", "pcl", "ifdefense")


def random_points(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, 3, generator=generator_for(seed, "points"))


def bodies() -> Clouds:
    """Two bodies of 6,890 points under Gaussian noise (2 mm: regular and outlying distances)."""
    pose = load_task("anny/wide", samples=2, vertices=6890).batch(torch.arange(2)).pose
    return pose.replace(pose.points + 0.002 / 0.3 * random_points(2, 6890))


def ragged(counts: list[int], width: int, seed: int = 0) -> Clouds:
    mask = torch.arange(width) < torch.tensor(counts)[:, None]
    return Clouds.padded(random_points(len(counts), width, seed=seed), mask)


def plain_kept(
    points: NDArray[np.float64], k: int, ratio: float, convention: Convention
) -> NDArray[np.bool_]:
    """The three conventions written out with sorted rows of a full distance table."""
    table = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    np.fill_diagonal(table, 0.0)
    rows = np.sort(table, axis=1)
    if convention == "open3d":
        score = rows[:, :k].sum(1) / k
    elif convention == "pcl":
        score = rows[:, 1 : k + 1].sum(1) / k
    else:
        score = (rows[:, 1 : k + 1] ** 2).sum(1) / k
    mean = score.sum() / len(score)
    spread = np.sqrt(((score - mean) ** 2).sum() / (len(score) - 1))
    kept: NDArray[np.bool_] = score <= mean + ratio * spread
    return kept & (score > 0) if convention == "open3d" else kept


@pytest.mark.parametrize(("k", "ratio"), SETTINGS)
def test_open3d_convention_keeps_exactly_what_open3d_keeps(k: int, ratio: float) -> None:
    open3d = pytest.importorskip("open3d", reason="the reference is open3d (the open3d extra)")
    clouds = torch.cat([bodies().points, random_points(1, 6890, seed=1)])
    kept = SOR(k, ratio, "open3d").kept(Clouds.dense(clouds))
    for points, ours in zip(clouds, kept, strict=True):
        cloud = open3d.geometry.PointCloud(
            open3d.utility.Vector3dVector(points.double().numpy().copy())
        )
        _, index = cloud.remove_statistical_outlier(nb_neighbors=k, std_ratio=ratio)
        assert 0 < len(index) < len(points), "the case must remove something"
        assert torch.nonzero(ours).flatten().tolist() == sorted(index)


@pytest.mark.parametrize(("k", "ratio"), SETTINGS)
def test_pcl_equals_open3d_with_one_more_neighbour(k: int, ratio: float) -> None:
    clouds = bodies()
    pcl = SOR(k, ratio, "pcl").kept(clouds)
    assert torch.equal(pcl, SOR(k + 1, ratio, "open3d").kept(clouds))
    assert not torch.equal(pcl, SOR(k, ratio, "open3d").kept(clouds)), "k is counted differently"


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(8, 90),
    k=st.integers(2, 7),
    ratio=st.floats(0.2, 3.0),
)
def test_conventions_against_plain_formula(
    convention: Convention, seed: int, count: int, k: int, ratio: float
) -> None:
    clouds = ragged([count, 90], 90, seed)
    kept = SOR(k, ratio, convention).kept(clouds)
    for points, mask, ours in zip(clouds.points, clouds.mask, kept, strict=True):
        expected = plain_kept(points[mask].double().numpy(), k, ratio, convention)
        assert ours[mask].tolist() == expected.tolist()
        assert not ours[~mask].any()


def test_default_is_ifdefense_with_the_credited_parameters() -> None:
    assert DEFENSES["sor"]() == SOR(2, 1.1, "ifdefense")
    clouds = bodies()
    expected = [plain_kept(p[:900].double().numpy(), 2, 1.1, "ifdefense") for p in clouds.points]
    kept = SOR().kept(Clouds.dense(clouds.points[:, :900]))
    assert kept.tolist() == [e.tolist() for e in expected]


def test_open3d_convention_drops_coincident_points_and_the_others_keep_them() -> None:
    points = torch.cat([random_points(1, 60), torch.zeros(1, 5, 3)], dim=1)
    for convention, stay in (("open3d", False), ("pcl", True), ("ifdefense", True)):
        kept = SOR(4, 2.0, convention).kept(Clouds.dense(points))  # type: ignore[arg-type]
        assert kept[0, 60:].tolist() == [stay] * 5


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_order_batch_and_padding_do_not_matter(convention: Convention) -> None:
    defence = SOR(5, 1.0, convention)
    clouds = ragged([120, 70, 200], 200)
    together = defence.kept(clouds)
    order = torch.randperm(200, generator=generator_for(0))
    shuffled = Clouds.padded(clouds.points[:, order], clouds.mask[:, order])
    assert torch.equal(defence.kept(shuffled), together[:, order])
    for i, count in enumerate((120, 70, 200)):
        alone = defence.kept(Clouds.dense(clouds.points[i : i + 1, :count]))
        assert torch.equal(alone[0], together[i, :count])
        assert not together[i, count:].any()


def test_removed_points_lose_mask_bit_and_coordinates_and_nothing_else_changes() -> None:
    clouds = ragged([150, 90], 150)
    before = clouds.points.clone()
    cleaned = SOR(3, 0.5, "pcl")(clouds)
    assert cleaned.points.shape == before.shape
    assert torch.equal(clouds.points, before), "the input is not written to"
    removed = clouds.mask & ~cleaned.mask
    assert removed.any(dim=1).all()
    assert not (cleaned.mask & ~clouds.mask).any()
    assert not cleaned.full
    assert bool((cleaned.points[~cleaned.mask] == 0).all())
    assert torch.equal(cleaned.points[cleaned.mask], before[cleaned.mask])


def test_gradient_flows_through_kept_points_alone() -> None:
    points = random_points(1, 80).requires_grad_(True)
    cleaned = SOR(3, 0.5, "pcl")(Clouds.dense(points))
    (gradient,) = torch.autograd.grad(cleaned.points.sum(), points)
    assert torch.equal(gradient, cleaned.mask[..., None].expand(-1, -1, 3).float())


@pytest.mark.parametrize("count", [400, 4099])
def test_all_pairs_equal_kd_tree(count: int) -> None:
    points = random_points(count)
    mask = torch.ones(2, count + 5, dtype=torch.bool)
    mask[1, count:] = False  # padding, which must be nobody's neighbour
    points = torch.cat([points, points[:5] + 0.01])
    both = neighbour_distances_pairs(torch.stack([points, points]), mask, 6)
    assert (both[1, count:] == 0).all()
    whole = torch.from_numpy(neighbour_distances_tree(points.numpy(), 6))
    torch.testing.assert_close(both[0], whole, rtol=1e-13, atol=0)
    pairs, points = both[1, :count], points[:count]
    tree = torch.from_numpy(neighbour_distances_tree(points.numpy(), 6))
    assert pairs.dtype == tree.dtype == torch.float64
    torch.testing.assert_close(pairs, tree, rtol=1e-13, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_machines_without_scipy_keep_the_same_points(
    convention: Convention, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds = ragged([300, 2100], 2100)
    expected = SOR(4, 1.0, convention).kept(clouds)
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, "scipy.spatial")
    with pytest.raises(ModuleNotFoundError, match="scipy"):
        neighbour_distances_tree(clouds.points[0].numpy(), 4)
    assert torch.equal(SOR(4, 1.0, convention).kept(clouds), expected)


@pytest.mark.parametrize(("convention", "fewest"), [("open3d", 6), ("pcl", 7), ("ifdefense", 7)])
def test_too_few_points_are_refused(convention: Convention, fewest: int) -> None:
    SOR(6, 1.0, convention)(ragged([fewest, 20], 20))
    with pytest.raises(InputError, match=f"at least {fewest} points, got one of {fewest - 1}"):
        SOR(6, 1.0, convention)(ragged([20, fewest - 1], 20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1.1, "open3d"), "at least 2 neighbours"),
        ((0, 1.1, "pcl"), "at least 1 neighbours"),
        ((2, 0.0, "pcl"), "ratio"),
        ((2, float("nan"), "pcl"), "ratio"),
    ],
)
def test_bad_settings_are_refused(arguments: tuple[int, float, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SOR(*arguments)  # type: ignore[arg-type]


def test_unknown_convention_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would complain first
    with pytest.raises(InputError, match="convention must be one of open3d, pcl, ifdefense"):
        SOR(2, 1.1, "o3d")  # type: ignore[arg-type]


@pytest.mark.parametrize("twins", [1, 20, 200, 1000])
def test_open3d_convention_equals_open3d_where_points_coincide(twins: int) -> None:
    open3d = pytest.importorskip("open3d", reason="the open3d extra is not installed")
    points = bodies().points[:1].double()
    points[0, :twins] = points[0, 3000 : 3000 + twins]
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points[0].numpy()))
    _, expected = cloud.remove_statistical_outlier(nb_neighbors=2, std_ratio=1.1)
    kept = SOR(2, 1.1, "open3d").kept(Clouds.dense(points))[0]
    assert kept.nonzero().flatten().tolist() == list(expected)


def test_clouds_that_are_not_finite_are_refused() -> None:
    points = random_points(1, 30)
    points[0, 3, 1] = torch.nan
    with pytest.raises(InputError, match="SOR: coordinates must be finite"):
        SOR()(Clouds.dense(points))
