"""Randomised defences, EOT against them, and how they are evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.spatial
import torch

from posebench.attacks import EOT, FGM, PGD, pose_gradient
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.measure import EVALUATION_DRAWS
from posebench.benchmark.evaluation.plan import EOT_DRAWS, Evaluation
from posebench.benchmark.records.types import Cost
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES, GaussianSmoothing, KNNMean, RandomDrop
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.objective import mse
from posebench.rng import generator_for
from posebench.victims import Defended
from tests.toys import Toy, made_defense, random_batch, random_points, small


@pytest.mark.parametrize("name", DEFENSES)
def test_defences_keep_padding_zero_and_follow_the_generator(name: str) -> None:
    pose = random_batch((20, 13)).pose
    defense = made_defense(name, steps=2)
    once, same = (defense(pose, generator=generator_for(1)) for _ in range(2))
    assert torch.equal(once.points, same.points)
    assert torch.equal(once.mask, same.mask)
    assert bool((once.points[~once.mask] == 0).all())
    assert bool((once.mask <= pose.mask).all())
    other = defense(pose, generator=generator_for(2))
    random = bool(getattr(defense, "stochastic", False))
    assert torch.equal(once.points, other.points) is not random


def test_drop_keeps_the_wanted_share_of_each_cloud_evenly() -> None:
    pose = random_batch((20, 13)).pose
    kept = torch.zeros(2, 20)
    generator = generator_for(0)
    for _ in range(400):
        mask = RandomDrop(0.5)(pose, generator=generator).mask
        assert mask.sum(dim=1).tolist() == [10, 6]
        kept += mask / 400
    torch.testing.assert_close(kept[0], torch.full((20,), 0.5), atol=0.12, rtol=0)
    assert RandomDrop(1e-9)(pose).counts.tolist() == [1, 1]


def test_smoothing_noise_has_its_size_and_the_median_of_votes_is_taken() -> None:
    pose = Clouds.dense(random_points(2, 5000))
    moved = GaussianSmoothing(0.03)(pose, generator=generator_for(0)).points - pose.points
    assert float(moved.std()) == pytest.approx(0.03, rel=0.05)
    batch, defense = random_batch((20, 20)), GaussianSmoothing(0.1, votes=3)
    network, generator = small("npt-mp"), generator_for(5)
    single = [
        network(defense(batch.pose, generator=generator), batch.identity).points for _ in range(3)
    ]
    combined = Defended(network, defense)(batch.pose, batch.identity, generator=generator_for(5))
    torch.testing.assert_close(combined.points, torch.stack(single).median(dim=0).values)


def test_knn_mean_is_the_mean_of_the_nearest() -> None:
    pose = random_batch((20, 13)).pose
    smoothed = KNNMean(4)(pose).points
    for row, count in enumerate((20, 13)):
        for i in range(count):
            distance = (pose.points[row, :count] - pose.points[row, i]).norm(dim=1)
            nearest = distance.argsort()[:4]
            expected = pose.points[row, nearest].mean(dim=0)
            torch.testing.assert_close(smoothed[row, i], expected)
    with pytest.raises(InputError, match="at least as many points"):
        KNNMean(14)(pose)


def test_knn_takes_the_nearest_of_a_whole_body_in_float32() -> None:
    """Distances by the expanded square name other neighbours for some of these points."""
    pose = load_task("anny/seen", samples=1, vertices=6890).batch(torch.arange(1)).pose
    points = pose.points[0].double()
    tree = scipy.spatial.cKDTree(points.numpy())
    nearest = torch.from_numpy(tree.query(points.numpy(), k=8)[1])
    expected = points[nearest].mean(dim=1).float()
    torch.testing.assert_close(KNNMean(8)(pose).points[0], expected, rtol=0, atol=1e-6)


def noisy(scale: float) -> Toy:
    """output = pose x (1 + scale x one draw of the generator): EOT is needed to see past it."""

    class Noisy(Toy):
        def __call__(self, pose: Clouds, identity: Clouds, *, generator: Any = None) -> Clouds:
            return identity.replace(pose.points * (1 + scale * torch.randn(1, generator=generator)))

    return Noisy(lambda pose, identity: pose)


def test_eot_averages_the_loss_over_fresh_draws_and_counts_are_told() -> None:
    batch, victim = random_batch((20, 20)), noisy(0.3)
    generator = generator_for(1)
    parts = [pose_gradient(victim, batch, batch.pose, generator=generator) for _ in range(6)]
    values, gradient = pose_gradient(EOT(victim, 6), batch, batch.pose, generator=generator_for(1))
    torch.testing.assert_close(values, torch.stack([v for v, _ in parts]).mean(dim=0))
    torch.testing.assert_close(gradient, torch.stack([g for _, g in parts]).mean(dim=0))
    assert len({float(v[0]) for v, _ in parts}) == 6, "every draw is a fresh one"


@pytest.mark.parametrize("name", ["drop", "smooth"])
def test_stochastic_systems_are_evaluated_alike_in_every_batch(name: str) -> None:
    network = initial_network(Recipe("npt-mp", size="tiny"))
    one, three = (
        evaluate_all(
            Evaluation(
                network, (FGM(Budget(0.02)),), DEFENSES[name](), "adaptive",
                samples=3, vertices=800,
            ),
            Execution(size),
        )[0]
        for size in (1, 3)
    )  # fmt: skip
    for key in ("pmd", "clean_pmd", "noise_pmd"):
        a, b = (record.metrics.summaries[key].per_sample for record in (one, three))
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert one.cell.draws == EVALUATION_DRAWS
    assert one.cost == Cost(EOT_DRAWS, EOT_DRAWS)


def test_a_random_surrogate_attacks_alike_in_every_batch() -> None:
    victim = initial_network(Recipe("npt-mp", size="tiny")).eval()
    surrogate = Defended(victim, RandomDrop())
    one, three = (
        evaluate_all(
            Evaluation(
                victim, (FGM(Budget(0.05)),), access="transfer", surrogate=Surrogate(surrogate),
                samples=3, vertices=800,
            ),
            Execution(size),
        )[0].metrics.pmd.per_sample
        for size in (1, 3)
    )  # fmt: skip
    np.testing.assert_allclose(one, three, rtol=1e-5)


def test_eot_is_stronger_than_one_draw_against_a_random_defence() -> None:
    batch = random_batch((40,) * 24, width=40, points=20)
    victim = Defended(small("npt-mp"), RandomDrop(0.3))

    def harm(seen: Any) -> float:
        attack = PGD(Budget(0.1), iterations=10, start=0.0)
        pose = attack(seen, batch, generator=generator_for(1)).pose
        draws = [victim(pose, batch.identity, generator=generator_for(s, "new")) for s in range(10)]
        return torch.stack([mse(each, batch.target) for each in draws]).mean().item()

    assert harm(EOT(victim, 10)) > harm(victim)


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (RandomDrop, {"keep": 0.0}),
        (RandomDrop, {"keep": 1.5}),
        (GaussianSmoothing, {"sigma": -1.0}),
        (GaussianSmoothing, {"votes": 0}),
        (KNNMean, {"neighbours": 0}),
    ],
)
def test_bad_settings_are_refused(make: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        make(**bad)
