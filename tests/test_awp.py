"""Adversarial weight perturbation: where the gradient is taken, and that nothing of it stays."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from posebench.benchmark.cli.app import app
from posebench.benchmark.training.adversarial import Adversarial, attack_rows
from posebench.benchmark.training.awp import raised_weights
from posebench.benchmark.training.checkpoint import differences
from posebench.benchmark.training.loop import initial_network, train
from posebench.benchmark.training.pairs import Pairs
from posebench.benchmark.training.recipe import Recipe, adversarial_part
from posebench.benchmark.training.step import training_step
from posebench.benchmark.training.streams import pair_source
from posebench.errors import InputError
from posebench.rng import generator_for
from posebench.victims import PoseTransferNetwork
from tests.tiny_training import same_weights, tiny

pytestmark = pytest.mark.usefixtures("one_thread", "meshes_made_once")

RATE = 0.1


def recipe_with(awp: float | None, **changes: Any) -> Recipe:
    part = adversarial_part("npt", threat="point-5cm", after=0.0, awp=awp)
    return tiny("npt", adversarial=part, batch=4, **changes)


@pytest.fixture(scope="module")
def drawn(meshes_made_once: None) -> Pairs:
    recipe = recipe_with(None)
    return next(pair_source(recipe, "cpu")(recipe, generator_for(0, "pairs")))


def stepped(recipe: Recipe, drawn: Pairs) -> PoseTransferNetwork:
    """A fresh network after one step of plain gradient descent."""
    network = initial_network(recipe).train()
    descent = torch.optim.SGD(network.parameters(), lr=RATE)
    training_step(network, [descent], recipe, 0, drawn, generator_for(0, "step"))
    return network


def by_hand(recipe: Recipe, drawn: Pairs, gamma: float) -> PoseTransferNetwork:
    """The same in the paper's words: v is layer-wise, the step is taken from w by the gradient at
    w + v."""
    network = initial_network(recipe).train()
    assert recipe.adversarial is not None
    _, shown, _ = attack_rows(
        network, recipe.adversarial, drawn[:3], ids=torch.arange(4),
        attack=recipe.adversarial.made(0.0), seed=0, generator=generator_for(0, "step"),
    )  # fmt: skip

    def gradients(of: PoseTransferNetwork) -> list[Tensor | None]:
        output = of.transferred(shown, drawn[1], generator=generator_for(0))
        loss = ((output - drawn[2]) ** 2).sum() / drawn[2].numel()
        return list(torch.autograd.grad(loss, list(of.parameters()), allow_unused=True))

    moved, ups = copy.deepcopy(network), gradients(network)
    with torch.no_grad():
        for weight, up in zip(moved.parameters(), ups, strict=True):
            if weight.ndim > 1 and up is not None:
                length = math.sqrt(float((weight**2).sum()) / float((up**2).sum()))
                weight += gamma * length * up
    downs = gradients(moved)
    with torch.no_grad():
        for weight, down in zip(network.parameters(), downs, strict=True):
            weight -= 0 if down is None else RATE * down
    return network


def test_the_step_is_the_papers(drawn: Pairs) -> None:
    """From the plain weights, by the gradient where each layer is a tenth of its size higher up."""
    recipe = recipe_with(0.1, bf16=False)
    found, wanted, plain, begun = (
        {name: weight.detach() for name, weight in network.named_parameters()}
        for network in (
            stepped(recipe, drawn),
            by_hand(recipe, drawn, 0.1),
            stepped(recipe_with(None, bf16=False), drawn),
            initial_network(recipe),
        )
    )
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-5, atol=1e-7, msg=name)
    apart = sum(float((found[name] - plain[name]).norm()) for name in plain)
    step = sum(float((plain[name] - begun[name]).norm()) for name in plain)
    assert apart > 0.05 * step, "the gradient there is another one"


def test_a_size_of_zero_is_training_without_to_the_bit(drawn: Pairs) -> None:
    without, zero, some = (stepped(recipe_with(awp), drawn) for awp in (None, 0.0, 0.1))
    assert same_weights(zero, without)
    assert not same_weights(some, without)


def test_matrices_rise_by_their_share_and_come_back_whatever_happens() -> None:
    network = initial_network(tiny("npt-mp"))
    generator = generator_for(0, "gradients")
    for weight in network.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)
    matrix = next(name for name, weight in network.named_parameters() if weight.ndim > 1)
    network.get_parameter(matrix).grad = None
    before = copy.deepcopy(network)

    def look() -> None:
        with raised_weights(network, 0.02):
            for weight, was in zip(network.parameters(), before.parameters(), strict=True):
                moved = (weight - was).detach()
                if weight.ndim == 1 or weight.grad is None:
                    assert not moved.any()
                    continue
                assert float(moved.norm() / was.detach().norm()) == pytest.approx(0.02, rel=1e-3)
                along = float((moved * weight.grad).sum() / moved.norm() / weight.grad.norm())
                assert along == pytest.approx(1, abs=1e-3)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        look()
    assert same_weights(network, before)


def test_a_stopped_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise Stop

    recipe = recipe_with(0.02, steps=4)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "parts", report=stop, checkpoint_seconds=0.0)
    whole = train(recipe, tmp_path / "whole")
    assert same_weights(train(recipe, tmp_path / "parts").network, whole.network)
    with pytest.raises(InputError, match=r"awp: 0\.02 there, 0\.03 here"):
        train(recipe_with(0.03, steps=4), tmp_path / "parts")


def test_recipes_tell_it_and_older_ones_are_without() -> None:
    recipe = recipe_with(0.005)
    stored = json.loads(json.dumps(asdict(recipe)))
    assert stored["adversarial"]["awp"] == 0.005
    del stored["adversarial"]["awp"]
    assert differences(stored, recipe_with(None)) == []
    assert differences(stored, recipe) == ["awp: None there, 0.005 here"]


@pytest.mark.parametrize("awp", [-0.1, math.nan, math.inf])
def test_sizes_that_cannot_be_are_refused(awp: float) -> None:
    with pytest.raises(InputError, match="awp must be 0 or a positive number"):
        Adversarial(awp=awp)


def test_it_needs_attacked_rows() -> None:
    done = CliRunner().invoke(app, ["train", "--victim", "npt", "--awp", "0.01"])
    assert "--awp does not go with training without --adversarial or --threat" in str(
        done.exception or done.output
    )
    with pytest.raises(InputError, match="awp needs attacked rows"):
        replace(adversarial_part("npt"), awp=0.01, clean_share=1.0)


def test_the_last_weights_or_their_average(tmp_path: Path) -> None:
    """``average = 0`` ends with what the optimisers left; the rest of the run is the same."""
    kept = train(tiny("npt", average=0.0), tmp_path / "last")
    usual = train(tiny("npt"), tmp_path / "usual")
    assert kept.curve == usual.curve
    assert not same_weights(kept.network, usual.network)
    one = [train(tiny("npt", steps=1, average=a), tmp_path / str(a)).network for a in (None, 0.0)]
    begun = dict(initial_network(tiny("npt")).named_parameters())
    for mean, last, first in zip(
        one[0].parameters(), one[1].parameters(), begun.values(), strict=True
    ):
        torch.testing.assert_close(mean, first.lerp(last, 1 - 2 / 11), rtol=1e-5, atol=1e-8)
    with pytest.raises(InputError, match="average must be"):
        tiny("npt", average=1.0)
