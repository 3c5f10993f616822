"""Anybody's network as a victim: layouts, gradients, misuse."""

from __future__ import annotations

from typing import Any, cast

import jaxtyping
import pytest
from torch import Tensor, nn

import posebench
from posebench.attacks import FGM
from posebench.benchmark.evaluation.harness import evaluate
from posebench.errors import InputError
from posebench.interfaces import Budget


class Network(nn.Module):
    """Channels first: identity plus a pooled code of the pose, and a dropout that must be off."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(3, 3, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, pose: Tensor, identity: Tensor) -> Tensor:
        assert pose.shape[1] == identity.shape[1] == 3
        return identity * (1 + self.drop(self.layer(pose).amax(dim=2, keepdim=True)))


def test_a_module_is_evaluated_and_attacked_like_a_built_in_victim() -> None:
    network = Network().train()
    victim = posebench.from_module(network, layout="b3n", name="mine")
    settings: dict[str, Any] = {"attack": FGM(Budget(0.05)), "samples": 3, "vertices": 800}
    record = evaluate(victim, **settings)
    assert record.cell.victim == "mine"
    assert record.metrics.pmd.mean > record.metrics.attack.noise_pmd.mean
    assert network.training
    assert network.layer.weight.grad is None
    assert all(parameter.requires_grad for parameter in network.parameters())

    def last(pose: Tensor, identity: Tensor) -> Tensor:
        return cast(Tensor, network(pose.mT, identity.mT).mT)

    network.eval()
    again = evaluate(posebench.from_module(last, name="mine"), **settings)
    for key in ("clean_pmd", "pmd", "noise_pmd"):
        expected = record.metrics.summaries[key].per_sample
        assert again.metrics.summaries[key].per_sample == pytest.approx(expected, rel=1e-5)


def test_misuse_is_told() -> None:
    wrong = posebench.from_module(lambda pose, identity: pose.tolist())
    with pytest.raises(InputError, match="own must return a tensor, not list"):
        evaluate(wrong, samples=1, vertices=800)
    short = posebench.from_module(lambda pose, identity: identity[:, 1:])
    with pytest.raises(InputError, match="expected the identity's"):
        evaluate(short, samples=1, vertices=800)


def test_unknown_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match="'bn3'"):
        posebench.from_module(Network(), layout=cast(Any, "b3"))
