"""The harness: eval mode, batch size, clean equals eps 0, and what a broken victim gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from posebench.attacks import FGM, run_attack
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.harness import Execution, evaluate, evaluate_all
from posebench.benchmark.evaluation.metrics import pmd
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Budget, VictimSpec
from posebench.objective import mse
from posebench.victims import VICTIMS, Defended

SPEC = VictimSpec("toy", "Toy", "none", stochastic=False, point_counts="free", masks=True)


@dataclass(frozen=True)
class Toy:
    """A victim made of a function of (pose, identity)."""

    function: Callable[[Clouds, Clouds], Clouds]
    spec: VictimSpec = SPEC

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.function(pose, identity)


def test_train_mode_does_not_leak_into_numbers_and_is_restored() -> None:
    network = initial_network(Recipe("posemae", size="tiny"))
    expected = evaluate(network.eval(), samples=2, vertices=800).metrics
    actual = evaluate(network.train(), samples=2, vertices=800).metrics
    assert actual == expected
    assert network.training


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("access", ["oblivious", "adaptive", "straight-through"])
def test_results_do_not_depend_on_batch_size(victim: str, access: str) -> None:
    network = initial_network(Recipe(victim, size="tiny"))
    one, many = (
        evaluate_all(
            Evaluation(network, (FGM(Budget(0.08)),), SOR(), access, samples=8, vertices=800),
            Execution(size),
        )[0].metrics.summaries
        for size in (1, 8)
    )
    for name in ("pmd", "clean_pmd", "noise_pmd", "edge_error"):
        np.testing.assert_allclose(one[name].per_sample, many[name].per_sample, rtol=1e-5)


def test_copying_the_identity_scores_as_its_trivial_baseline() -> None:
    record = evaluate(Toy(lambda pose, identity: identity), samples=4, vertices=800)
    metrics = record.metrics
    assert metrics.pmd.mean == pytest.approx(metrics.trivial["copy-identity"])
    assert "under-trained" in record.flags
    assert metrics.attacked["msvd"].mean == pytest.approx(3 * metrics.pmd.mean)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda pose, identity: Clouds.dense(identity.points[:, 1:]), "expected the identity's"),
        (lambda pose, identity: identity.replace(identity.points * torch.nan), "NaN or infinite"),
    ],
)
def test_broken_victims_get_one_clear_error(
    function: Callable[[Clouds, Clouds], Clouds], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(Toy(function), samples=2, vertices=800)


def test_sor_share_is_recorded_and_adaptive_differs_from_oblivious() -> None:
    network = initial_network(Recipe("npt-mp", size="tiny"))
    shares = []
    for access in ("oblivious", "adaptive"):
        record = evaluate(
            network,
            attack=FGM(Budget(0.05)),
            defense=SOR(),
            access=access,
            samples=2,
            vertices=800,
        )
        assert 0.7 < record.metrics.clean_kept < 1
        assert record.cell.wrappers[0] == "Defended"
        shares.append(record.metrics.pmd.per_sample)
    assert shares[0] != shares[1]


def test_straight_through_has_the_output_of_the_defence_and_the_gradient_of_the_bare_victim() -> (
    None
):
    batch = load_task("anny/seen", samples=2, vertices=800).batch(torch.arange(2))
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    kept, through = Defended(network, SOR()), Defended(network, SOR(), straight_through=True)
    points = batch.pose.points.clone().requires_grad_(True)
    output = through(batch.pose.replace(points), batch.identity)
    torch.testing.assert_close(output.points, kept(batch.pose, batch.identity).points)
    (actual,) = torch.autograd.grad(mse(output, batch.target).sum(), points)
    # The chain rule by hand: d loss / d output at the defended output, through the bare victim.
    slope = 2 * (output.points - batch.target.points).detach() / (3 * 800)
    bare = network(batch.pose.replace(points), batch.identity).points
    (expected,) = torch.autograd.grad((bare * slope).sum(), points)
    torch.testing.assert_close(actual, expected)
    removed = ~SOR()(batch.pose).mask
    assert bool(actual[removed].abs().sum() > 0), "removed points get a gradient too"


def test_transfer_evaluates_what_was_made_on_the_surrogate() -> None:
    victim, surrogate = (initial_network(Recipe(v, size="tiny")).eval() for v in ("npt", "npt-mp"))
    budget = Budget(0.05)
    record = evaluate(
        victim, attack=FGM(budget), access=Surrogate(surrogate), samples=2, vertices=800
    )
    assert str(record.cell.access) == "transfer from npt-mp"
    batch = load_task("anny/seen", samples=2, vertices=800).batch(torch.arange(2))
    pose = run_attack(FGM(budget), surrogate, batch).pose
    expected = pmd(victim(pose, batch.identity), batch)
    np.testing.assert_allclose(record.metrics.pmd.per_sample, expected.detach(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"access": "transfer"}, "go together"),
        ({"access": "straight-through"}, "needs a defence"),
    ],
)
def test_access_that_lacks_something_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(Toy(lambda pose, identity: pose), samples=1, vertices=800, **changes)
