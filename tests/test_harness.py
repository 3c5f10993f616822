"""The harness: eval mode, batch size, clean equals eps 0, and what a broken victim gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Generator

from posebench.attacks import FGM
from posebench.benchmark.harness import evaluate
from posebench.benchmark.training import Recipe, initial_network
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Budget, VictimSpec

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
    expected = evaluate(network.eval(), samples=2, vertices=800)["metrics"]
    actual = evaluate(network.train(), samples=2, vertices=800)["metrics"]
    assert actual == expected
    assert network.training


@pytest.mark.parametrize("access", ["oblivious", "adaptive"])
def test_results_do_not_depend_on_batch_size(access: str) -> None:
    network = initial_network(Recipe("npt", size="tiny"))
    one, three = (
        evaluate(
            network,
            attack=FGM(Budget(0.02)),
            defense=SOR(),
            access=access,
            samples=3,
            vertices=800,
            batch_size=size,
        )["metrics"]
        for size in (1, 3)
    )
    for name in ("pmd", "clean_pmd", "noise_pmd", "edge_error"):
        np.testing.assert_allclose(one[name]["per_sample"], three[name]["per_sample"], rtol=1e-5)


def test_copying_the_identity_scores_as_its_trivial_baseline() -> None:
    record = evaluate(Toy(lambda pose, identity: identity), samples=4, vertices=800)
    metrics = record["metrics"]
    assert metrics["pmd"]["mean"] == pytest.approx(metrics["trivial"]["copy-identity"])
    assert "under-trained" in record["flags"]
    assert metrics["msvd"]["mean"] == pytest.approx(3 * metrics["pmd"]["mean"])


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
        assert 0.7 < record["metrics"]["clean_kept"] < 1
        assert record["cell"]["wrappers"][0] == "Defended"
        shares.append(record["metrics"]["pmd"]["per_sample"])
    assert shares[0] != shares[1]
